"""Reading the store at any time, whoever owns it; and finding out whether an engine runs beside us."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from orchestrator.config import default_socket_path
from orchestrator.domain.errors import NoSuchThing
from orchestrator.store.opening import speaking_our_errors
from orchestrator.store.read import StoreReader

if TYPE_CHECKING:
    from orchestrator.cli.options import Ask
    from orchestrator.config import Settings
    from orchestrator.domain.model import Job
    from orchestrator.ports.commands import Reads

T = TypeVar("T")
_KNOCK_S: Final = 2.0


@contextmanager
def reading(ask: Ask, settings: Settings | None = None) -> Iterator[StoreReader]:
    """The store of this command, in one snapshot. Raises NoSuchThing if there is none, StoreError."""
    path = (ask.settings() if settings is None else settings).database.path
    if not path.exists() and not ask.sandbox and (other := _sandbox_store(ask)) is not None:
        raise NoSuchThing(f"there is no store at {path}", hint=f"your sandbox jobs are in {other}: add --sandbox")
    with speaking_our_errors(), StoreReader.open(path) as reads:
        yield reads


def _sandbox_store(ask: Ask) -> Path | None:
    from dataclasses import replace

    path = replace(ask, sandbox=True).settings().database.path
    return path if ask.db is None and path.exists() else None


class FileReader:
    """See `ports.commands.Reader`: each look opens the file, in a thread, so that an engine beside it is not kept."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self, look: Callable[[Reads], T]) -> T:
        """Run *look* on one committed snapshot."""
        import asyncio

        return await asyncio.to_thread(self.read_now, look)

    def read_now(self, look: Callable[[Reads], T]) -> T:
        """The same, here and now."""
        with speaking_our_errors(), StoreReader.open(self._path) as reads:
            return look(reads)


def chosen_job(reads: StoreReader, ref: str | None) -> Job:
    """The job that *ref* means; without one, the newest that is not over, else the newest. Raises NoSuchThing."""
    if ref is not None:
        return reads.find(ref)
    unfinished = reads.unfinished()
    return unfinished[-1] if unfinished else reads.find("@last")


def engine_runs(settings: Settings) -> bool:
    """True if an engine listens on the socket of this store. Sends nothing."""
    knocking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    knocking.settimeout(_KNOCK_S)
    try:
        knocking.connect(os.fspath(default_socket_path(settings.database.path, os.environ)))
    except OSError:
        return False
    else:
        return True
    finally:
        knocking.close()
