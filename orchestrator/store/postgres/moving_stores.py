"""Moves a store from a file into a database on a server, or back. See `orchestrator.store.moved` for the order.

On either side nobody else may write meanwhile: a file has a lock, and of a database everything is locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from psycopg import sql
from typing_extensions import override

from orchestrator.domain import errors
from orchestrator.store import connect, history, identity, moved, moving
from orchestrator.store.audit import contradictions
from orchestrator.store.connection import in_transaction
from orchestrator.store.mark import Mark, MarkRecord, read_mark
from orchestrator.store.migrate import APPLICATION_ID, create, prepare
from orchestrator.store.moving import MoveReport, MoveSide, Row
from orchestrator.store.ownership import Lock
from orchestrator.store.postgres import cluster
from orchestrator.store.postgres.link import TURN_LOCK, PostgresAddress, PostgresConnection, Role
from orchestrator.store.postgres.migrate_postgres import MIGRATION_LOCK, blank_schema, check_version
from orchestrator.store.postgres.server_errors import translating
from orchestrator.store.sql_connection import SqlConnection

_COLUMNS: Final = """
SELECT attname, CASE typbasetype WHEN 0 THEN atttypid ELSE typbasetype END::bigint
  FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
 WHERE attrelid = to_regclass('orchestrator.' || %s) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
 ORDER BY attnum
"""
_COUNTERS: Final = """
SELECT relname, pg_get_serial_sequence('orchestrator.' || relname, 'id') FROM pg_class
 WHERE relnamespace = 'orchestrator'::regnamespace AND relkind = 'r' AND relname = ANY(%s)
   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attidentity <> '')
"""
_IS_THERE: Final = "SELECT to_regclass('orchestrator.meta') IS NOT NULL"
_ALIVE: Final = f"SELECT name FROM orchestrator.daemon WHERE {cluster.SEEN_LATELY}"  # noqa: S608 - text of ours
#: Nobody begins to write, or to migrate, until the transaction ends; it takes as long as it takes.
_ALONE: Final = f"""
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SELECT pg_advisory_xact_lock({MIGRATION_LOCK});
SELECT pg_advisory_xact_lock({TURN_LOCK})
"""


class ServerSide(MoveSide):
    """A store in a database."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._raw = connection.raw
        self._server = connection
        self.c = connection

    def _types(self, table: str) -> dict[str, int]:
        return dict(self._raw.execute(_COLUMNS, (table,)).fetchall())

    @override
    def columns(self, table: str) -> list[str]:
        return list(self._types(table))

    @override
    def rows(self, table: str, columns: Sequence[str]) -> Iterable[Row]:
        types = self._types(table)
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        wanted = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT BINARY)").format(names, sql.Identifier(table))
        with self._raw.cursor() as cursor, cursor.copy(wanted) as copy:
            copy.set_types([types[name] for name in columns])
            yield from copy.rows()

    @override
    def last_numbers(self) -> dict[str, int]:
        found = self._counters()
        read = sql.SQL("SELECT last_value FROM {} WHERE is_called")
        rows = {name: self._raw.execute(read.format(sql.SQL(counter))).fetchone() for name, counter in found.items()}
        return {name: row[0] for name, row in rows.items() if row is not None}

    @override
    def count_from(self, numbers: Mapping[str, int]) -> None:
        for name, counter in (*self._counters().items(), ("result", "orchestrator.result_block")):
            newest = sql.SQL("SELECT coalesce(max(id), 0) FROM {}").format(sql.Identifier(name))
            ((last,),) = self._raw.execute(newest).fetchall()
            self._raw.execute("SELECT setval(%s, %s, false)", (counter, max(last, numbers.get(name, 0)) + 1))

    def _counters(self) -> dict[str, str]:
        return dict(self._raw.execute(_COUNTERS, (list(moving.TABLES),)).fetchall())

    @property
    def is_there(self) -> bool:
        """Whether the database holds one."""
        ((found,),) = self._raw.execute(_IS_THERE).fetchall()
        return bool(found)

    def lock(self) -> None:
        """Keep everybody out until the transaction ends. Raises GuardRefused while somebody works on it."""
        self._raw.execute(_ALONE)
        tables = sql.SQL(", ").join(map(sql.Identifier, (*moving.TABLES, "daemon")))
        self._raw.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(tables))
        alive = [name for (name,) in self._raw.execute(_ALIVE)]
        if alive:
            names = ", ".join(sorted(alive))
            raise errors.GuardRefused(
                f"daemons work on it: {names}", hint="stop them; one that was killed is gone 20 seconds later"
            )

    def tell(self, now: datetime, kind: str, where: str) -> None:
        """Write a word of the move."""
        self._server.in_turn = True
        history.record(self.c, now, kind, why=where)
        self._server.in_turn = False

    def give_up(self, now: datetime, where: str) -> None:
        """The store is at *where* from now on; a process that wakes finds this one closed."""
        self.tell(now, moved.GIVEN_UP, where)
        self.c.execute(cluster.SQL["close"])

    def gather_statistics(self) -> None:
        """Without them the first questions would be answered by the worst of plans."""
        self._raw.execute(sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(map(sql.Identifier, moving.TABLES))))


def move_to_server(path: Path, server: PostgresAddress, where: str, *, now: datetime, sandbox: bool) -> MoveReport:
    """The store at *path* is in the database from now on, which people call *where*. Killed half-way: do it again.

    Raises StoreOwned while an engine has the file, GuardRefused (in doubt, moved before, a target that is not empty),
    StoreError.
    """
    with Lock.take(path) as lock:
        lock.hold_file(path)
        prepare(path, now=now, sandbox=sandbox)
        with (
            closing(connect.connect_writer(path)) as file,
            connect.translating_errors(path),
            translating(where),
            closing(PostgresConnection(server.connect(Role.WRITER), None)) as connection,
        ):
            source, target, raw = moving.FileSide(file), ServerSide(connection), connection.raw
            again = target.is_there and moving.is_waiting(target, source)
            if not (again and _went_to(source, where)):
                moving.check_source(source, str(path))
                moving.check_file(file, path)
                if target.is_there and not again:
                    moving.refuse_full(where)
                with blank_schema(raw, where, now, again=again):
                    _arrive(source, target, now, str(path.absolute()))
                _give_up_file(file, now, where)
            with raw.transaction():
                target.tell(now, moved.ARRIVED, str(path.absolute()))
            return MoveReport.of(file)


def move_to_file(server: PostgresAddress, where: str, path: Path, *, now: datetime) -> MoveReport:
    """The other way: the store in the database is the file at *path* from now on."""
    with (
        Lock.take(path),
        translating(where),
        closing(PostgresConnection(server.connect(Role.WRITER), None)) as connection,
    ):
        source = ServerSide(connection)
        with connection.raw.transaction():
            check_version(connection, where)
            source.lock()
            again = path.exists() and _is_waiting_file(path, source)
            if not (again and _went_to(source, str(path.absolute()))):
                moving.check_source(source, where)
                if path.exists() and not again:
                    moving.refuse_full(path)
                _refuse_strange_mark(path, source)
                _fill_file(path, source, now, where)
                source.give_up(now, str(path.absolute()))
        with closing(connect.connect_writer(path)) as file:
            in_transaction(partial(_tell, now, moved.ARRIVED, where), file)
        return MoveReport.of(source.c)


def _arrive(source: MoveSide, target: ServerSide, now: datetime, origin: str) -> None:
    moving.copy_store(source, target)
    target.tell(now, moved.WAITING, origin)
    target.gather_statistics()
    _audit(contradictions(target.c))


def _audit(findings: Iterator[str]) -> None:
    for finding in findings:
        raise errors.StoreError(
            "the store was not moved: not everything in it fits together", cause=finding, hint="orchestrator db check"
        )


def _went_to(source: MoveSide, where: str) -> bool:
    """Whether the old store was given up for the new one: only the last word is missing."""
    return moved.word_of(source.c) == (moved.GIVEN_UP, where)


def _tell(now: datetime, kind: str, where: str, c: SqlConnection) -> None:
    history.record(c, now, kind, why=where)


def _give_up_file(file: connect.SqliteConnection, now: datetime, where: str) -> None:
    in_transaction(partial(_tell, now, moved.GIVEN_UP, where), file)


def _fill_file(path: Path, source: ServerSide, now: datetime, where: str) -> None:
    """Make the file, which replaces one of a move that did not end, and its mark."""
    for part in ("", "-wal", "-shm"):
        path.with_name(path.name + part).unlink(missing_ok=True)
    create(path, now=now, fill=partial(_fill_draft, source, now, where))
    Mark.open(path, _mark_of(source)).close()


def _fill_draft(source: ServerSide, now: datetime, where: str, file: connect.SqliteConnection) -> None:
    """In one transaction without a log: a draft that is not finished is thrown away."""
    with _unlogged(file):
        file.execute("BEGIN IMMEDIATE")
        moving.copy_store(source, moving.FileSide(file))
        _tell(now, moved.WAITING, where, file)
        file.execute("COMMIT")
    _audit(contradictions(file))


@contextmanager
def _unlogged(file: connect.SqliteConnection) -> Iterator[None]:
    file.execute("PRAGMA journal_mode = OFF").fetchall()
    file.execute("PRAGMA synchronous = OFF")
    yield
    file.execute("PRAGMA synchronous = FULL")
    file.execute("PRAGMA journal_mode = WAL").fetchall()


def _is_waiting_file(path: Path, source: MoveSide) -> bool:
    with connect.translating_errors(path), closing(connect.connect_reader(path)) as file:
        ((application,),) = file.execute("PRAGMA application_id")
        return application == APPLICATION_ID and moving.is_waiting(moving.FileSide(file), source)


def _refuse_strange_mark(path: Path, source: MoveSide) -> None:
    """Another store's mark tells what that one sent: it is not written over."""
    found = read_mark(path)
    if found is not None and found.intents and found.lineage != identity.read_meta(source.c)["lineage"]:
        raise errors.GuardRefused(
            f"beside {path} lies the mark of another store, which sent batches", hint="name another place"
        )


def _mark_of(source: MoveSide) -> MarkRecord:
    meta = identity.read_meta(source.c)
    known = {name: meta[name] for name in ("lineage", "secret", "intents", "line")}
    return MarkRecord(**known, sandbox=bool(meta["sandbox"]))
