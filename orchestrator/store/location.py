"""Where a store is, and the only way to open one: the daemon, the commands and the library name it by their settings.

Another kind of store plugs in here: `location_of` chooses, and nothing above knows that a store is a file.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from typing_extensions import override

from orchestrator.config import PROJECT_FILE, default_socket_path
from orchestrator.domain.errors import UsageError
from orchestrator.ports.reads import Reader, StoreLocation
from orchestrator.store import connect, ownership
from orchestrator.store.mark import no_store, read_mark
from orchestrator.store.sqlite_reader import StoreReader

if TYPE_CHECKING:
    import asyncio

    from orchestrator.config import Settings
    from orchestrator.ports.reads import Reads
    from orchestrator.ports.store import Store
    from orchestrator.store.database import Start
    from orchestrator.store.maintenance import SpaceUsage, StoreFacts
    from orchestrator.store.postgres.server_location import PostgresLocation

T = TypeVar("T")
_KNOCK_S: Final = 2.0


def location_of(settings: Settings) -> StoreLocation:
    """Where the store of *settings* is; nothing need be there yet. Raises UsageError for a driver that is missing."""
    if settings.database.url is None:
        return file_location_of(settings)
    return server_location_of(settings.database.url, settings)


def file_location_of(settings: Settings) -> SqliteLocation:
    """The file of *settings*, also where an address stands for it."""
    return SqliteLocation(settings.database.path)


def server_location_of(url: str, settings: Settings) -> PostgresLocation:
    """The store in the database at *url*. Raises UsageError where the extra for it is not installed."""
    try:
        from orchestrator.store.postgres.server_location import PostgresLocation
    except ImportError as exc:
        message = "a database on a PostgreSQL server needs packages that are not installed"
        hint = "pip install 'batch-orchestrator[postgres]'"
        raise UsageError(message, cause=str(exc), hint=hint) from exc
    return PostgresLocation(url, settings.database)


@contextmanager
def open_reader(settings: Settings) -> Iterator[Reads]:
    """Read the store of *settings*, whoever owns it: one snapshot for the whole block.

    Raises NoSuchThing if there is none, StoreError if it is not ours.
    """
    with location_of(settings).open_reader() as reads:
        yield reads


async def open_store(  # noqa: PLR0913 - what a store is opened with
    settings: Settings,
    *,
    now: datetime,
    sandbox: bool,
    adopt: bool = False,
    own: Callable[[Path], ownership.Lock] = ownership.Lock.take,
    start: Start[Any] | None = None,
    shared: Mapping[str, Any] = MappingProxyType({}),
) -> Store:
    """Own the store of *settings*, made or migrated if need be; with a URL: use it as others do. `aclose` ends that.

    adopt: a person takes a copy, or a store that was moved, into use. own: takes the lock of a file; start: where its
    steps run (simulations bring their own); shared: arguments of `PostgresStore.open` that a fleet has. Raises
    StoreOwned, StoreError; GuardRefused for a copy that nobody adopted.
    """
    if settings.database.url is not None:
        server = server_location_of(settings.database.url, settings).server
        from orchestrator.store.postgres.postgres_store import PostgresStore

        return await PostgresStore.open(server, now=now, sandbox=sandbox, adopt=adopt, start=start, **shared)
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
    def is_shared(self) -> bool:
        return False

    @property
    @override
    def exists(self) -> bool:
        return self._path.exists()

    @property
    @override
    def can_be_adopted(self) -> bool:
        return self.exists or ownership.beside(self._path, ".mark").exists()

    @property
    @override
    def has_engine(self) -> bool:
        """True if one listens on the socket. Sends nothing."""
        return answers(self.socket)

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
    def is_gone(self) -> bool:
        """Whether a store was here that sent batches, and its file is gone."""
        return not self.exists and (marked := read_mark(self._path)) is not None and marked.intents > 0

    @property
    @override
    def socket(self) -> Path:
        return default_socket_path(self._path, os.environ)

    @override
    def engine_sockets(self) -> tuple[Path, ...]:
        return (self.socket,)

    @property
    @override
    def token_file(self) -> Path:
        return ownership.beside(self._path, ".token")

    @override
    def logged_out_file(self, port: int) -> Path:
        return ownership.beside(self._path, ".logged-out")

    @property
    def sandbox_journal(self) -> Path:
        """Where the sandbox of this store keeps its batches."""
        return self._path.with_name(f"{self._path.name}.sandbox.jsonl")

    @property
    @override
    def files(self) -> tuple[str, ...]:
        """The file, its log, its lock."""
        return tuple(f"{self._path}{ending}" for ending in ("", "-wal", "-shm", ".lock"))

    @override
    def require(self) -> None:
        if not self.exists:
            raise no_store(self._path)

    @override
    @contextmanager
    def open_reader(self) -> Iterator[Reads]:
        with connect.translating_errors(), StoreReader.open(self._path) as reads:
            yield reads

    def lock(self) -> ownership.Lock:
        """Keep engines away for a block. Blocks for up to two seconds; raises StoreOwned."""
        return ownership.Lock.take(self._path)

    def back_up(self, target: Path) -> int:
        """Copy the store, which may be in use, to *target*; its size in bytes. Raises GuardRefused, OutputError."""
        from orchestrator.store.maintenance import back_up

        return back_up(self._path, target)

    @override
    def audit(self) -> list[str]:
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

    @override
    def migrate(self, *, now: datetime, sandbox: bool) -> tuple[int, int]:
        from orchestrator.store.migrate import prepare

        with self.lock():
            before = self.check_up(thoroughly=False).schema
            prepare(self._path, now=now, sandbox=sandbox)
        return before, self.check_up(thoroughly=False).schema


class DirectReader(Reader):
    """Reads a store that another process may own: each look opens it anew, in a thread, so that nobody is kept."""

    def __init__(self, location: StoreLocation) -> None:
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


def answers(path: Path) -> bool:
    """Whether somebody listens on the socket at *path*; nothing is sent."""
    knocking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    knocking.settimeout(_KNOCK_S)
    try:
        knocking.connect(os.fspath(path))
    except OSError:
        return False
    else:
        return True
    finally:
        knocking.close()


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
