"""Reading at any time: the store of this machine, whoever owns it, or a server; and whether an engine works on it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from orchestrator.config import default_socket_path
from orchestrator.domain.errors import NoSuchThing
from orchestrator.store.connect import translating_errors
from orchestrator.store.read import StoreReader

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.config import Settings
    from orchestrator.domain.model import Job
    from orchestrator.ports.reads import Reads, RemoteReads

T = TypeVar("T")
_KNOCK_S: Final = 2.0


class NowReader(Protocol):
    """See `ports.reads.RemoteReader`; it can also be used without a loop."""

    async def read(self, look: Callable[[RemoteReads], T]) -> T:
        """Run *look* away from the loop."""
        ...

    def read_now(self, look: Callable[[RemoteReads], T]) -> T:
        """The same, here and now."""
        ...


@contextmanager
def open_reads(options: GlobalOptions, settings: Settings | None = None) -> Iterator[RemoteReads]:
    """What this command is about: a store, in one snapshot, or a server. Raises NoSuchThing if there is none."""
    server = options.remote()
    if server is not None:
        from orchestrator.cli.elsewhere import looking_at

        with looking_at(options, server) as reads:
            yield reads
        return
    path = (options.settings() if settings is None else settings).database.path
    if not path.exists() and not options.sandbox and (other := _sandbox_store(options)) is not None:
        raise NoSuchThing(f"there is no store at {path}", hint=f"your sandbox jobs are in {other}: add --sandbox")
    with translating_errors(), StoreReader.open(path) as reads:
        yield reads


def reader_for(options: GlobalOptions, settings: Settings) -> NowReader:
    """For a command that has looked, and looks again."""
    server = options.remote()
    if server is None:
        return FileReader(settings.database.path)
    from orchestrator.cli.elsewhere import reader_at

    return reader_at(options, server, has_answered=True)


def is_sandbox_store(options: GlobalOptions) -> bool:
    """Whether what this command does is play: what --sandbox says, or the server. Raises UsageError if they differ."""
    if options.remote() is None:
        return options.sandbox
    with open_reads(options) as reads:
        return reads.meta().sandbox


def _sandbox_store(options: GlobalOptions) -> Path | None:
    from dataclasses import replace

    path = replace(options, sandbox=True).settings().database.path
    return path if options.db is None and path.exists() else None


class FileReader:
    """See `NowReader`: each look opens the file, in a thread, so that an engine beside it is not kept."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self, look: Callable[[Reads], T]) -> T:
        """Run *look* on one committed snapshot."""
        import asyncio

        return await asyncio.to_thread(self.read_now, look)

    def read_now(self, look: Callable[[Reads], T]) -> T:
        """The same, here and now."""
        with translating_errors(), StoreReader.open(self._path) as reads:
            return look(reads)


def job_or_newest(reads: RemoteReads, ref: str | None) -> Job:
    """The job that *ref* means; without one, the newest that is not over, else the newest. Raises NoSuchThing."""
    if ref is not None:
        return reads.find(ref)
    unfinished = reads.unfinished()
    return unfinished[-1] if unfinished else reads.find("@last")


def engine_is_running(options: GlobalOptions, settings: Settings) -> bool:
    """True if an engine listens on the socket of this store, or a server is meant."""
    return True if options.remote() is not None else engine_socket_answers(settings)


def engine_socket_answers(settings: Settings) -> bool:
    """True if an engine listens on the socket of the store of these settings. Sends nothing."""
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
