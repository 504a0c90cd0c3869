"""Where a store is, and the only way to open one: the daemon, the commands and the library name it by their settings.

Another kind of store plugs in here: `location_of` chooses, and nothing above knows that a store is a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from orchestrator.config import PROJECT_FILE, default_socket_path
from orchestrator.ports.reads import Reader, StoreLocation
from orchestrator.store import connect, ownership
from orchestrator.store.mark import no_store, read_mark
from orchestrator.store.read import StoreReader

if TYPE_CHECKING:
    import asyncio

    from orchestrator.config import Settings
    from orchestrator.ports.reads import Reads
    from orchestrator.ports.store import Store
    from orchestrator.store.connection import Start
    from orchestrator.store.maintenance import SpaceUsage, StoreFacts

T = TypeVar("T")


def location_of(settings: Settings) -> SqliteLocation:
    """Where the store of *settings* is; nothing need be there yet."""
    return SqliteLocation(settings.database.path)


@contextmanager
def open_reader(settings: Settings) -> Iterator[Reads]:
    """Read the store of *settings*, whoever owns it: one snapshot for the whole block.

    Raises NoSuchThing if there is none, StoreError if it is not ours.
    """
    with location_of(settings).open_reader() as reads:
        yield reads


async def open_store(
    settings: Settings,
    *,
    now: datetime,
    sandbox: bool,
    adopt: bool = False,
    own: Callable[[Path], ownership.Lock] = ownership.Lock.take,
    start: Start | None = None,
) -> Store:
    """Own the store of *settings*, made or migrated if need be. Closing it gives it back.

    adopt: a person takes a copy, or a store that was moved, into use. own: takes the lock; start: where SQLite runs
    (simulations bring their own). Raises StoreOwned, StoreError; GuardRefused for a copy that nobody adopted.
    """
    from orchestrator.store.connection import Thread
    from orchestrator.store.identity import Trust
    from orchestrator.store.sqlite_store import SqliteStore

    path = settings.database.path
    is_planted = settings.origins.get("database.path") == PROJECT_FILE
    trust = Trust.ADOPTED if adopt else Trust.PLANTED if is_planted else Trust.OWN
    lock = await _locked(own, path)
    try:
        return await SqliteStore.open(
            path, lock=lock, now=now, sandbox=sandbox, start=Thread.start if start is None else start, trust=trust
        )
    except BaseException:
        lock.release()
        raise


class SqliteLocation(StoreLocation):
    """The file of a store, with what lies beside it. Nothing is opened before it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        """The path, as it was given."""
        return str(self._path)

    @property
    @override
    def name(self) -> str:
        return self._path.name

    @property
    @override
    def size_bytes(self) -> int:
        return _size(self._path)

    @property
    @override
    def log_bytes(self) -> int:
        return _size(ownership.beside(self._path, "-wal"))

    @property
    @override
    def folder(self) -> Path:
        return next(parent for parent in self._path.parents if parent.exists())

    @property
    def exists(self) -> bool:
        """Whether there is a store."""
        return self._path.exists()

    @property
    def is_gone(self) -> bool:
        """Whether a store was here that sent batches, and its file is gone."""
        return not self.exists and (marked := read_mark(self._path)) is not None and marked.intents > 0

    @property
    def can_be_adopted(self) -> bool:
        """Whether there is a store, or the mark of one that is gone."""
        return self.exists or ownership.beside(self._path, ".mark").exists()

    @property
    def socket(self) -> Path:
        """Where the engine that owns this store listens. Raises UsageError."""
        return default_socket_path(self._path, os.environ)

    @property
    def token_file(self) -> Path:
        """Where a daemon on this store keeps a token of its own making."""
        return ownership.beside(self._path, ".token")

    @property
    def logged_out_file(self) -> Path:
        """Where a daemon on this store remembers which logins were ended."""
        return ownership.beside(self._path, ".logged-out")

    @property
    def sandbox_journal(self) -> Path:
        """Where the sandbox of this store keeps its batches."""
        return self._path.with_name(f"{self._path.name}.sandbox.jsonl")

    @property
    def files(self) -> tuple[str, ...]:
        """What nobody may write over: the file, its log, its lock."""
        return tuple(f"{self._path}{ending}" for ending in ("", "-wal", "-shm", ".lock"))

    def require(self) -> None:
        """Raise NoSuchThing if there is no store."""
        if not self.exists:
            raise no_store(self._path)

    @contextmanager
    def open_reader(self) -> Iterator[Reads]:
        """As the function of that name."""
        with connect.translating_errors(), StoreReader.open(self._path) as reads:
            yield reads

    def lock(self) -> ownership.Lock:
        """Keep engines away for a block. Blocks for up to two seconds; raises StoreOwned."""
        return ownership.Lock.take(self._path)

    def back_up(self, target: Path) -> int:
        """Copy the store, which may be in use, to *target*; its size in bytes. Raises GuardRefused, OutputError."""
        from orchestrator.store.maintenance import back_up

        return back_up(self._path, target)

    def audit(self) -> list[str]:
        """Read all of the store, which may be in use: what is wrong with it. Raises StoreError."""
        from orchestrator.store.maintenance import audit

        return audit(self._path)

    def check_up(self, *, thoroughly: bool) -> StoreFacts:
        """A look at the file, which may be in use; *thoroughly*: at all of it. Raises StoreError."""
        from orchestrator.store.maintenance import check_up

        return check_up(self._path, thoroughly=thoroughly)

    def space(self) -> SpaceUsage:
        """How much space it takes, and how much is free in it and beside it. Raises StoreError."""
        from orchestrator.store.maintenance import space_of

        return space_of(self._path)

    def compact(self) -> None:
        """Give free space back to the disk. The caller holds the lock. Raises StoreError."""
        from orchestrator.store.maintenance import compact

        compact(self._path)

    def migrate(self, *, now: datetime, sandbox: bool) -> tuple[int, int]:
        """Bring its schema forward; the versions before and after. Raises StoreOwned, StoreError."""
        from orchestrator.store.migrate import prepare

        with self.lock():
            before = self.check_up(thoroughly=False).schema
            prepare(self._path, now=now, sandbox=sandbox)
        return before, self.check_up(thoroughly=False).schema


class DirectReader(Reader):
    """Reads a store that another process may own: each look opens it anew, in a thread, so that nobody is kept."""

    def __init__(self, location: SqliteLocation) -> None:
        self._location = location

    @override
    async def read(self, look: Callable[[Reads], T]) -> T:
        import asyncio

        return await asyncio.to_thread(self.read_now, look)

    def read_now(self, look: Callable[[Reads], T]) -> T:
        """The same, in the caller's thread."""
        with self._location.open_reader() as reads:
            return look(reads)


async def _locked(own: Callable[[Path], ownership.Lock], path: Path) -> ownership.Lock:
    """Take the lock in a thread, which may wait two seconds. If we are cancelled meanwhile it is given back."""
    import asyncio

    taking = asyncio.ensure_future(asyncio.to_thread(own, path))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        taking.add_done_callback(_give_back)
        raise


def _give_back(taking: asyncio.Future[ownership.Lock]) -> None:
    if not taking.cancelled() and taking.exception() is None:
        taking.result().release()


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
