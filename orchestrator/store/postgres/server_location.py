"""Where a store on a PostgreSQL server is, and what daemons of this machine keep beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from typing_extensions import override

from orchestrator.config import DatabaseSection, check_socket_path, database_folder, database_sockets
from orchestrator.domain import errors
from orchestrator.domain.urls import without_password
from orchestrator.ports.reads import Reads, StoreLocation
from orchestrator.ports.server_facts import ServerFacts
from orchestrator.store.audit import contradictions
from orchestrator.store.location import answers
from orchestrator.store.mark import no_store
from orchestrator.store.moved import refuse_moved
from orchestrator.store.moving import MoveReport
from orchestrator.store.postgres.cluster import SEEN_LATELY
from orchestrator.store.postgres.link import Mode, PostgresAddress, PostgresConnection, Raw, Role
from orchestrator.store.postgres.migrate_postgres import (
    SERVER_SCHEMA_VERSION,
    check_version,
    prepare_server,
    version_of,
)
from orchestrator.store.postgres.server_checkup import look_at, schema_of
from orchestrator.store.postgres.server_errors import translating
from orchestrator.store.read import SqlReads
from orchestrator.store.sql_connection import SqlConnection

T = TypeVar("T")
_EXISTS: Final = (
    "SELECT to_regclass('orchestrator.meta') IS NOT NULL AND to_regclass('orchestrator.schema_migration') IS NOT NULL"
)
_SIZE: Final = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class
 WHERE relnamespace = to_regnamespace('orchestrator') AND relkind = 'r'
"""
#: A command's row takes no units.
_HAS_ENGINE: Final = f"SELECT EXISTS (SELECT 1 FROM orchestrator.daemon WHERE queue_id IS NOT NULL AND {SEEN_LATELY})"  # noqa: S608 - text of ours


class PostgresLocation(StoreLocation):
    """A database on a server: shared by every process that knows its address. Nothing is asked before it is needed."""

    def __init__(self, url: str, database: DatabaseSection) -> None:
        self._url = url
        self._database = database
        self._shown = without_password(url)

    def __str__(self) -> str:
        """The address, without its password."""
        return self._shown

    @cached_property
    def server(self) -> PostgresAddress:
        """The way there. Raises UsageError for an address or a password file that cannot be used."""
        return PostgresAddress.of(self._url, password=self._database.password())

    def knock(self) -> None:
        """Connect once: an error names what is wrong with the address, the login or the database. Raises StoreError."""
        self.server.connect(Role.LOOKS).close()

    @property
    @override
    def name(self) -> str:
        return urlsplit(self._url).path.lstrip("/") or "the user's own database"

    @property
    @override
    def is_shared(self) -> bool:
        return True

    @property
    @override
    def exists(self) -> bool:
        return self._ask(_has_store)

    @property
    @override
    def can_be_adopted(self) -> bool:
        return self.exists

    @property
    @override
    def has_engine(self) -> bool:
        """True if one listens on this machine, or has said within 20 seconds that it works on the store."""
        return any(map(answers, self.engine_sockets())) or self._ask(
            lambda c: _has_store(c) and bool(_value(c, _HAS_ENGINE))
        )

    @property
    @override
    def size_bytes(self) -> int:
        return int(self._ask(lambda c: _value(c, _SIZE)))

    @property
    @override
    def log_bytes(self) -> int:
        return 0

    @property
    @override
    def folder(self) -> None:
        return None

    @property
    @override
    def socket(self) -> Path:
        folder, prefix = database_sockets(self._url, os.environ)
        path = folder / f"{prefix}-{os.getpid()}.sock"
        check_socket_path(path)
        return path

    @override
    def engine_sockets(self) -> Sequence[Path]:
        folder, prefix = database_sockets(self._url, os.environ)
        found = sorted(folder.glob(f"{prefix}-*.sock"), key=_made_at, reverse=True)
        return [path for path in found if answers(path) or not _is_left_over(path)]

    @property
    @override
    def token_file(self) -> Path:
        return database_folder(self._url, os.environ) / "token"

    @override
    def logged_out_file(self, port: int) -> Path:
        """One for each port: daemons side by side would write over each other's. What is ended is in the store, too."""
        return database_folder(self._url, os.environ) / f"logged-out-{port}"

    @property
    @override
    def files(self) -> Sequence[str]:
        return ()

    @override
    def require(self) -> None:
        if not self.exists:
            raise self._no_store()

    @override
    @contextmanager
    def open_reader(self) -> Iterator[Reads]:
        with self._snapshot(Role.LOOKS) as c:
            self._check_readable(c)
            yield SqlReads(c)

    def _check_readable(self, c: SqlConnection) -> None:
        if not _has_store(c):
            raise self._no_store()
        check_version(c, str(self))
        if version_of(c) < SERVER_SCHEMA_VERSION:
            raise errors.StoreError(
                f"{self} was written by an earlier version of this program (schema {version_of(c)})",
                hint="an engine of this version brings it forward, or `orchestrator db migrate`",
            )
        refuse_moved(c, str(self))

    @override
    def audit(self) -> list[str]:
        return self._ask(_audited, Role.BULK)

    @override
    def migrate(self, *, now: datetime, sandbox: bool) -> tuple[int, int]:
        with closing(self.server.connect(Role.WRITER)) as raw, translating(str(self.server)):
            before = schema_of(raw)
            prepare_server(raw, str(self), now=now, sandbox=sandbox)
            return before or 0, version_of(raw)

    def take_in(self, path: Path, *, now: datetime, sandbox: bool) -> MoveReport:
        """Move the store at *path* here. Raises NoSuchThing, StoreOwned, GuardRefused, StoreError."""
        from orchestrator.store.postgres.moving_stores import move_to_server

        if not path.exists():
            raise no_store(path)
        return move_to_server(path, self.server, str(self), now=now, sandbox=sandbox)

    def give_out(self, path: Path, *, now: datetime) -> MoveReport:
        """The other way. Raises NoSuchThing, StoreOwned, GuardRefused, StoreError."""
        from orchestrator.store.postgres.moving_stores import move_to_file

        self.require()
        return move_to_file(self.server, str(self), path, now=now)

    def look_over(self, queue: Callable[[Raw], Sequence[str]] | None) -> ServerFacts:
        """How the server fares. queue: what its queue's tables lack. Raises StoreError if it cannot be reached."""
        return look_at(self.server, queue)

    def _ask(self, step: Callable[[SqlConnection], T], role: Role = Role.LOOKS) -> T:
        with self._snapshot(role) as c:
            return step(c)

    @contextmanager
    def _snapshot(self, role: Role) -> Iterator[SqlConnection]:
        """One committed state, on a connection of its own."""
        with translating(str(self.server)), closing(PostgresConnection(self.server.connect(role), None)) as connection:
            connection.raw.execute(Mode.SNAPSHOT.encode(), prepare=False)
            yield connection

    def _no_store(self) -> errors.NoSuchThing:
        return errors.NoSuchThing(
            f"there is no store at {self}", hint="orchestrator run INPUT makes one; --db names another"
        )


def _value(c: SqlConnection, sql: str) -> int:
    ((found,),) = c.execute(sql).fetchall()
    return int(found)


def _has_store(c: SqlConnection) -> bool:
    return bool(_value(c, _EXISTS))


def _audited(c: SqlConnection) -> list[str]:
    """References cannot be wrong here: the server holds every one."""
    c.execute("SET LOCAL statement_timeout = 0")  # it takes as long as it takes
    return list(contradictions(c))


def _made_at(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _is_left_over(path: Path) -> bool:
    """Whether the process that made the socket is gone; then the file goes, too."""
    try:
        os.kill(int(path.stem.rpartition("-")[2]), 0)
    except ProcessLookupError:
        path.unlink(missing_ok=True)
        return True
    except (PermissionError, ValueError):
        return False
    return False
