"""The way to a PostgreSQL server: its connections, which speak as SQLite's do, and are opened again after a loss.

What a connection is told when it is opened keeps a daemon that stands still, or is cut off, from holding up the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import psycopg
from psycopg import conninfo
from typing_extensions import override

from orchestrator.domain import errors
from orchestrator.domain.ids import BatchId
from orchestrator.ports.dispatch import UnitKind
from orchestrator.store.postgres import dialect, server_errors
from orchestrator.store.postgres.cluster import PlaceGuard
from orchestrator.store.postgres.server_values import ADAPTERS
from orchestrator.store.sql_connection import Rows, SqlConnection, Values
from orchestrator.store.sql_rows import slices
from orchestrator.store.sql_text import Query

T = TypeVar("T")
Raw = psycopg.Connection[tuple[Any, ...]]
#: Enqueues a unit in the transaction of the connection: of which kind, which batch, how urgent.
Due = Callable[[Raw, UnitKind, int, int], None]
#: Hears for how long, in seconds, a step has waited for the turn; called on the thread of the step.
Waited = Callable[[float], None]
Step = Callable[[SqlConnection], T]

#: The advisory lock of who writes events; "ORCH" in ASCII.
TURN_LOCK: Final = 0x4F524348
#: The schema that holds all of a store.
SCHEMA: Final = "orchestrator"
#: The newest event, asked for on the way to the COMMIT.
_NEWEST: Final = "SELECT id, at FROM event ORDER BY id DESC LIMIT 1"
#: A step is tried so often where the server finds that it cannot be ordered with others.
_TRIES: Final = 5
#: Rows of a stream that are fetched at once, and rows that one statement of arrays inserts.
_FETCHED: Final = 1000
_INSERTED: Final = 5000
_TYPES: Final = """
SELECT attname, format_type(kind, NULL), kind::bigint
  FROM (SELECT attname, CASE typbasetype WHEN 0 THEN atttypid ELSE typbasetype END AS kind
          FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
         WHERE attrelid = %s::regclass AND attnum > 0) AS columns
"""


class Role(StrEnum):
    """What a connection is for; a daemon has one of each."""

    WRITER = "writer"  #: steps in the turn
    FREE_WRITER = "free writer"  #: bulk steps, beside everybody's turn
    READER = "reader"
    BULK = "bulk"
    LOOKS = "looks"


WRITERS: Final = frozenset({Role.WRITER, Role.FREE_WRITER})


class Mode(StrEnum):
    """How a step begins: with the turn, beside others, or on a snapshot. Each is one round trip."""

    # READ COMMITTED: a snapshot would be from before the wait for the lock.
    TURN = f"BEGIN; SELECT pg_advisory_xact_lock({TURN_LOCK})"
    FREE = "BEGIN"
    SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


#: Of every connection: jit would compile a trigger's statement anew each time (25 ms); a long answer is broken off.
_SETTINGS: Final = MappingProxyType(
    {"jit": "off", "statement_timeout": "1min", "synchronous_commit": "on", "search_path": SCHEMA}
)
#: By these is seen whether what a connection is told reaches the server: a pooler may leave it out.
_SEEN: Final = ("search_path", "jit", "statement_timeout")
_KEPT: Final = "SELECT " + ", ".join(f"current_setting('{name}')" for name in _SEEN)
#: A daemon that is stopped in the middle of a step must not hold the turn.
_WRITER_SETTINGS: Final = MappingProxyType({"statement_timeout": "30s", "idle_in_transaction_session_timeout": "5s"})
#: A page is read in the order of an index, and ends at its limit. A planner that takes a batch for a few rows, as until
#: a large import is analysed, would read and sort all of it for each page (233 ms for 100,000 requests, not 0.1).
_READER_SETTINGS: Final = MappingProxyType({"enable_bitmapscan": "off"})
#: Who stands still in a COPY keeps its locks, as no time limit counts there: those who wait for them have other work.
_FREE_SETTINGS: Final = MappingProxyType({"lock_timeout": "5s"})
#: The client finds out by itself within 25 seconds that the way to the server is cut.
_KEEPALIVE: Final = MappingProxyType(
    {
        "connect_timeout": 10,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
)


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """Where a database is. parameters: libpq's, with the password, which `str` does not show.

    daemon: the id of this process in the table of that name; its imports are told by it.
    """

    parameters: Mapping[str, Any] = field(repr=False)
    daemon: UUID | None = None

    @classmethod
    def of(cls, url: str, *, password: str | None = None) -> PostgresAddress:
        """The server of a `postgresql://…` URL. Raises UsageError, without the URL, which may hold a password."""
        try:
            found = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise errors.UsageError(
                "the URL of the database cannot be read",
                hint="write it as postgresql://USER@HOST:PORT/DATABASE; special characters in it as %XX",
            ) from None
        server_errors.refuse_system_trust(found)
        return cls(found if password is None else {**found, "password": password})

    def __str__(self) -> str:
        """`database 'orch' on db:5432`, for people."""
        known = self.parameters
        hosts = known.get("host", known.get("hostaddr", "this machine")).split(",")
        ports = str(known.get("port", "")).split(",")  # one for all hosts, or one each
        pairs = zip(hosts, ports if len(ports) > 1 else ports * len(hosts), strict=False)
        places = ", ".join(f"{host}:{port}" if port else host for host, port in pairs)
        return f"database {known.get('dbname', known.get('user', 'of that user'))!r} on {places}"

    def connect(self, role: Role) -> Raw:
        """Open a connection. Raises StoreError; StoreUnreachable where waiting may help."""
        settings = {**_SETTINGS, **(_WRITER_SETTINGS if role in WRITERS else _READER_SETTINGS)}
        settings |= _FREE_SETTINGS if role is Role.FREE_WRITER else {}
        if self.daemon is not None:
            settings["orchestrator.daemon"] = str(self.daemon)
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        given = {**_KEEPALIVE, **self.parameters, "application_name": f"orchestrator {role}"}
        given["options"] = f"{self.parameters.get('options', '')} {options}".strip()
        try:
            raw = psycopg.connect(conninfo.make_conninfo("", **given), autocommit=True, context=ADAPTERS)
            kept = raw.execute(_KEPT).fetchone()
        except psycopg.Error as exc:
            raise server_errors.unconnected(exc, str(self)) from exc
        if kept != tuple(settings[name] for name in _SEEN):
            raw.close()
            raise server_errors.pooled(str(self))
        raw.prepare_threshold, raw.prepared_max = 2, 500
        return raw


def _kind_of(column: Sequence[Any]) -> str:
    """The type of an array of these; nothing but NULLs is as good as texts."""
    first = next((value for value in column if value is not None), "")
    return {int: "bigint", bytes: "bytea"}.get(type(first), "bigint" if isinstance(first, int) else "text")


class PostgresConnection(SqlConnection):
    """A connection to the server, inside a transaction that `Link` begins and ends."""

    def __init__(self, raw: Raw, due: Due | None) -> None:
        self.raw = raw
        self.in_turn = False
        self._due = due
        self._streams: list[psycopg.ServerCursor[Any]] = []
        self._types: dict[str, dict[str, tuple[str, int]]] = {}

    @override
    def execute(self, sql: str, values: Values = (), /) -> Rows:
        statement = _statement(sql)
        return cast("Rows", self.raw.execute(statement.text, statement.fitted(values), binary=True))

    @override
    def executemany(self, sql: str, rows: Iterable[Values], /) -> Rows:
        cursor = self.raw.cursor()
        cursor.executemany(_statement(sql).text, list(rows))
        return cast("Rows", cursor)

    @override
    def insert_rows(self, sql: str, rows: Sequence[tuple[Any, ...]], /) -> None:
        insert = dialect.insert_of(sql)
        if self.in_turn:
            self._insert_arrays(insert, rows)
        elif rows:
            self._copy_in(insert, rows)

    def _insert_arrays(self, insert: dialect.Insert, rows: Sequence[tuple[Any, ...]]) -> None:
        """All of it is with the server before it begins: no server timeout counts while a COPY waits for its client."""
        taken = len(insert.columns) - len(insert.constants)
        kinds = [self._type_of(insert, column)[0] for column in insert.columns[:taken]]
        statement = insert.of_arrays(kinds)
        for some in slices(rows, _INSERTED):
            self.raw.execute(statement, [list(column) for column in zip(*some, strict=True)])

    @override
    def update_rows(self, sql: str, rows: Sequence[tuple[Any, ...]], /) -> int:
        written = 0
        text = sql.twin if isinstance(sql, Query) else sql
        for some in slices(rows, _INSERTED):
            columns = [list(column) for column in zip(*some, strict=True)]
            statement = dialect.of_arrays(text, tuple(map(_kind_of, columns)))
            written += self.raw.execute(statement, columns).rowcount
        return written

    def _copy_in(self, insert: dialect.Insert, rows: Sequence[tuple[Any, ...]]) -> None:
        types = [self._type_of(insert, column)[1] for column in insert.columns]
        with self.raw.cursor() as cursor, cursor.copy(insert.copy_in()) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row((*row, *insert.constants))

    def _type_of(self, insert: dialect.Insert, column: str) -> tuple[str, int]:
        """A column's type, by its name and by its number; a domain's is what it stands for."""
        if insert.table not in self._types:
            found = self.raw.execute(_TYPES, (insert.table,)).fetchall()
            self._types[insert.table] = {name: (kind, oid) for name, kind, oid in found}
        return self._types[insert.table][column]

    @override
    def stream(self, sql: str, values: Values = (), /) -> Rows:
        statement = _statement(sql)
        cursor = psycopg.ServerCursor(self.raw, f"stream_{len(self._streams)}")
        cursor.itersize = _FETCHED
        self._streams.append(cursor)
        cursor.execute(statement.text, statement.fitted(values), binary=True)
        return cast("Rows", cursor)

    @override
    def due(self, kind: UnitKind, batch: BatchId, priority: int, /) -> None:
        if self._due is not None:
            self._due(self.raw, kind, batch, priority)

    @override
    def assert_in_turn(self) -> None:
        if not self.in_turn:
            raise AssertionError("an event is written outside of the turn")

    def close(self) -> None:
        """Give the connection back to the server; what is not committed is undone."""
        while self._streams:
            self._streams.pop().close()
        self.raw.close()

    def end(self, order: str, word: str) -> tuple[Any, ...] | None:
        """Run *order*, which ends in COMMIT or ROLLBACK; the first row of its answer. Streams end with it."""
        try:
            answer = self.raw.execute(order.encode(), prepare=False)
            row = answer.fetchone() if answer.description else None
            while answer.nextset():
                pass
            if answer.statusmessage != word:  # a step that went on after an error of the server
                raise AssertionError(f"{word} was answered by {answer.statusmessage}")
        finally:
            self.in_turn = False
            while self._streams:
                self._streams.pop().close()
        return row


def _statement(sql: str) -> dialect.Statement:
    return sql.postgres if isinstance(sql, Query) else dialect.translated(sql)


class Link:
    """One connection, opened again after it was lost: the step that meets the loss fails, the next one works."""

    def __init__(
        self,
        server: PostgresAddress,
        role: Role,
        guard: PlaceGuard | None = None,
        due: Due | None = None,
        waited: Waited | None = None,
    ) -> None:
        self._waited = waited
        self._server = server
        self._role = role
        self._guard = guard
        self._due = due
        self._open: PostgresConnection | None = None

    @property
    def connection(self) -> PostgresConnection:
        """The connection as it is, or a new one. Raises StoreError."""
        if self._open is None or self._open.raw.closed:
            self._open = PostgresConnection(self._server.connect(self._role), self._due)
            if self._role in WRITERS and self._guards is not None:
                self._greet(self._open, self._guards)
        return self._open

    @property
    def _guards(self) -> PlaceGuard | None:
        """The guard, once the store is open."""
        return self._guard if self._guard is not None and self._guard.is_active else None

    def _greet(self, c: PostgresConnection, guard: PlaceGuard) -> None:
        try:
            if guard.lost is None:
                self._whole(c, guard.greet, Mode.TURN)
            if guard.lost is not None:
                raise guard.lost
        except BaseException:
            self.close()
            raise

    def run(self, step: Step[T], mode: Mode) -> T:
        """Run *step* whole; again where the server asks for it, so it may change nothing but the database.

        Raises StoreError: StoreUnreachable where the connection was lost, also in the COMMIT, whose outcome is then
        unknown; StoreFull. A constraint that fires is a bug, and passes as it is.
        """
        with server_errors.translating(str(self._server)):
            for _ in range(_TRIES - 1):
                try:
                    return self._whole(self.connection, step, mode)
                except server_errors.AGAIN:
                    continue
            return self._whole(self.connection, step, mode)

    def _whole(self, c: PostgresConnection, step: Step[T], mode: Mode) -> T:
        try:
            self._begin(c, mode)
            result = step(c)
        except BaseException as exc:
            self._back_out(c, exc)
            raise
        if mode is Mode.SNAPSHOT:
            c.end("ROLLBACK", "ROLLBACK")
        else:
            self._commit(c)
        return result

    def _begin(self, c: PostgresConnection, mode: Mode) -> None:
        begun = time.perf_counter()
        c.raw.execute(mode.encode(), prepare=False)
        c.in_turn = mode is Mode.TURN
        if c.in_turn and self._waited is not None:
            self._waited(time.perf_counter() - begun)

    def _commit(self, c: PostgresConnection) -> None:
        guard = self._guards if c.in_turn else None
        try:
            newest = c.end("COMMIT" if guard is None else f"{_NEWEST}; COMMIT", "COMMIT")
        except psycopg.OperationalError as exc:
            self.close()
            raise server_errors.unheard_commit(exc, str(self._server)) from exc
        if guard is not None:
            guard.saw(newest)

    def _back_out(self, c: PostgresConnection, exc: BaseException) -> None:
        """Roll back. A connection that cannot, or whose prepared statements do not fit any more, is done for."""
        try:
            c.end("ROLLBACK", "ROLLBACK")
        except psycopg.Error:
            self.close()
        if isinstance(exc, server_errors.STALE):
            self.close()

    def prepare(self, how: Callable[[Raw], None]) -> None:
        """Have *how* make the schema; outside of a transaction."""
        with server_errors.translating(str(self._server)):
            how(self.connection.raw)

    def close(self) -> None:
        """Close the connection; the next step opens another."""
        if self._open is not None:
            self._open.close()
            self._open = None
