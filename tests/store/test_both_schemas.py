"""SQLite's schema and PostgreSQL's say the same; where they differ on purpose is listed here, by name."""

from __future__ import annotations

# ruff: noqa: S608 - names of tables, and of processes
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from store.raw_databases import PATH, REFUSALS, RawFile, RawServer, open_file, open_server
from store.store_world import NOW

from orchestrator.store import sql_text
from orchestrator.store.migrate import SCHEMA_VERSION, prepare, shipped_migrations
from orchestrator.store.postgres import dialect
from orchestrator.store.postgres.migrate_postgres import SERVER_SCHEMA_VERSION

pytestmark = pytest.mark.postgres

SHARED_SQL: Final = Path(sql_text.__file__).parent / "sql"
#: What only a fleet has.
ONLY_ON_A_SERVER: Final = {"cluster", "daemon", "ended_login"}
COLUMNS_ONLY_ON_A_SERVER: Final = {("job", "daemon")}
#: Judged once a statement on a server, by `request_changed` and `attempt_made`.
REFERENCES_ONLY_IN_A_FILE: Final = {("request", "batch_id", "batch"), ("attempt", "request_id", "request")}
#: A CHECK on a server, a trigger in a file: `request_unanswered`.
CHECKS_ONLY_ON_A_SERVER: Final = {"request": 1}
#: What judges the rows that a statement deletes or changes together, and what does so in a file.
STATEMENT_TRIGGERS: Final = {
    "request_changed": {"request_moved", "request_answered", "request_follows"},
    "request_gone": {"request_kept", "request_uncounted"},
    "known_id_gone": {"known_id_kept"},
    "result_gone": {"result_kept"},
    "payload_gone": {"payload_kept"},
    "source_row_gone": {"source_row_kept"},
    "attempt_changed": {"attempt_body_kept"},
    "attempt_made": set[str](),
    "event_told": set[str](),
}
#: Gives the number that a file gives by itself.
TRIGGERS_ONLY_ON_A_SERVER: Final = {"stop_reason_added"}
TRIGGERS_ONLY_IN_A_FILE: Final = {"request_unanswered"}
#: The last number that a file had when servers began with 1.
FIRST_ON_A_SERVER: Final = 8

_SERVER_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'orchestrator'::regnamespace AND relkind = 'r'"
_FILE_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
_COLUMNS = """SELECT column_name, coalesce(domain_name, data_type), is_nullable = 'NO', column_default,
                     is_generated = 'ALWAYS'
  FROM information_schema.columns WHERE table_schema = 'orchestrator' AND table_name = ? ORDER BY ordinal_position"""
_KEYS = """SELECT contype, (SELECT array_agg(attname ORDER BY place)
                              FROM unnest(conkey) WITH ORDINALITY AS k (number, place)
                              JOIN pg_attribute ON attrelid = conrelid AND attnum = number), confrelid::regclass::text
  FROM pg_constraint WHERE conrelid = CAST(? AS regclass) AND contype IN ('p', 'u', 'f', 'c')"""
_INDEXES = "SELECT indexname FROM pg_indexes WHERE schemaname = 'orchestrator'"
_TRIGGERS = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[RawFile]:
    prepare(tmp_path / "store.db", now=NOW, sandbox=False)
    with open_file(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def server(new_database: Callable[..., str]) -> Iterator[RawServer]:
    with open_server(new_database()) as opened:
        yield opened


def names(rows: Any) -> set[str]:
    return {row[0] for row in rows} - {"schema_migration"}


def test_both_have_the_same_tables(file: RawFile, server: RawServer) -> None:
    """And what only a fleet has."""
    assert names(server.execute(_SERVER_TABLES)) - names(file.execute(_FILE_TABLES)) == ONLY_ON_A_SERVER
    assert names(file.execute(_FILE_TABLES)) <= names(server.execute(_SERVER_TABLES))


def columns_of_file(file: RawFile, table: str) -> list[tuple[Any, ...]]:
    kinds = {"INTEGER": "bigint", "TEXT": "utext", "BLOB": "bytea", "REAL": "double precision"}
    return [
        (name, kinds[kind], bool(required or key), default, hidden > 0)
        for _, name, kind, required, default, key, hidden in file.execute(f"PRAGMA table_xinfo({table})")
    ]


def columns_of_server(server: RawServer, table: str) -> list[tuple[Any, ...]]:
    found = server.execute(_COLUMNS, (table,)).fetchall()
    return [
        (name, kind, required, default and re.sub("::.*", "", default), generated)
        for name, kind, required, default, generated in found
        if (table, name) not in COLUMNS_ONLY_ON_A_SERVER
    ]


def test_both_have_the_same_columns(file: RawFile, server: RawServer) -> None:
    """Names, order, types, NOT NULL, what is generated, and defaults (numbers that are given by the database aside)."""
    for table in sorted(names(file.execute(_FILE_TABLES))):
        here = [
            (*rest, None if name == "id" else default, made)
            for name, *rest, default, made in columns_of_server(server, table)
        ]
        there = [(*rest, default, made) for name, *rest, default, made in columns_of_file(file, table)]
        assert here == there, table
        assert [row[0] for row in columns_of_server(server, table)] == [row[0] for row in columns_of_file(file, table)]


def keys_of_file(file: RawFile, table: str) -> set[tuple[str, tuple[str, ...], str]]:
    key = sorted((row[5], row[1]) for row in file.execute(f"PRAGMA table_xinfo({table})") if row[5])
    found = {("p", tuple(name for _, name in key), "-")} if key else set()
    for _, index, _, origin, _ in file.execute(f"PRAGMA index_list({table})").fetchall():
        if origin == "u":
            found.add(("u", tuple(row[2] for row in file.execute(f"PRAGMA index_info({index})")), "-"))
    for row in file.execute(f"PRAGMA foreign_key_list({table})"):
        if (table, row[3], row[2]) not in REFERENCES_ONLY_IN_A_FILE:
            found.add(("f", (row[3],), row[2]))
    return found


def test_both_have_the_same_keys_and_references(file: RawFile, server: RawServer) -> None:
    """Primary keys, UNIQUE, and what refers to what."""
    for table in sorted(names(file.execute(_FILE_TABLES))):
        found = server.execute(_KEYS, (table,)).fetchall()
        here = {(kind, tuple(columns), other) for kind, columns, other in found if kind != "c"}
        assert here == keys_of_file(file, table), table


def test_both_have_as_many_checks(file: RawFile, server: RawServer) -> None:
    """Each refuses what it refuses in tests/store/test_store_schema.py; none was forgotten here."""
    for table in sorted(names(file.execute(_FILE_TABLES))):
        sql = file.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
        here = [row for row in server.execute(_KEYS, (table,)).fetchall() if row[0] == "c"]
        assert len(here) - CHECKS_ONLY_ON_A_SERVER.get(table, 0) == len(re.findall(r"\bCHECK \(", sql)), table


def test_both_have_the_same_indexes(file: RawFile, server: RawServer) -> None:
    """By name; those that a key brings are compared with the keys."""
    there = names(file.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"))
    keys = names(server.execute("SELECT conname FROM pg_constraint WHERE contype IN ('p', 'u')"))
    of_the_fleet = {"cluster_pkey", "daemon_pkey", "ended_login_pkey", "schema_migration_pkey"}
    assert names(server.execute(_INDEXES)) - keys - of_the_fleet == there


def test_both_have_the_same_triggers(file: RawFile, server: RawServer) -> None:
    """By name, but for those that judge a statement's rows together."""
    there = names(file.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'"))
    here = names(server.execute(_TRIGGERS))
    assert here >= STATEMENT_TRIGGERS.keys()
    in_statements = set().union(*STATEMENT_TRIGGERS.values())
    assert (
        here - STATEMENT_TRIGGERS.keys() - TRIGGERS_ONLY_ON_A_SERVER == there - in_statements - TRIGGERS_ONLY_IN_A_FILE
    )


@pytest.mark.parametrize("table", ["step", "stop_reason"])
def test_both_begin_with_the_same_rows(file: RawFile, server: RawServer, table: str) -> None:
    """Which steps there are, and the names of ends."""
    rows = f"SELECT * FROM {table}"
    assert set(server.execute(rows).fetchall()) == set(file.execute(rows).fetchall())


def test_a_number_means_one_schema_from_now_on() -> None:
    """Two files a number, of one name."""
    here, there = ({(m.version, m.name) for m in shipped_migrations(dialect)} for dialect in ("postgres", ""))
    assert here == {(1, "first")} | {m for m in there if m[0] > FIRST_ON_A_SERVER}
    assert max(here)[0] == SERVER_SCHEMA_VERSION
    assert max(there)[0] == SCHEMA_VERSION


JOB = """INSERT INTO job (public_id, name, state, source, content_hash, api_version, betas, priority, still_open,
  added_at, created_at) VALUES ('j', 'n', 'importing', '/s', 'h', 'v', '', 1, 0, 't', 't')"""
REQUESTS = """INSERT INTO request (id, custom_id, line, params_bytes, state)
  SELECT (1::bigint << 32) + number, 'r' || number, number, 1, 'queued' FROM generate_series(1, 400) AS number"""
BATCH = """INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, depth)
  VALUES (1, 'bbbbbbbbbbbbbbbbbbbb', 'planned', 400, 1, 'd', 'v', '', 't', 0)"""
COUNTS = "SELECT total, queued, batched, succeeded, failed, canceled, resubmitted FROM job"


@pytest.fixture
def running(server: RawServer) -> RawServer:
    """A job of 400 requests, all of them in one batch."""
    for sql in (
        JOB,
        REQUESTS,
        "UPDATE job SET total = 400, queued = 400",
        "UPDATE job SET state = 'running'",
        BATCH,
        "UPDATE request SET state = 'batched', batch_id = 1",
        "UPDATE job SET queued = 0, batched = 400",
    ):
        server.execute(sql)
    return server


def test_counts_add_up_when_two_move_requests_of_a_job_at_once(running: RawServer) -> None:
    """The second waits for the job's row, and adds to what the first has committed by then."""
    move = "UPDATE request SET state = 'failed', error_type = 'e' WHERE id & 1 = {} AND id & 4294967295 <= {}"
    again = "UPDATE request SET state = 'queued', batch_id = NULL, attempts = 1 WHERE id & 1 = {} AND state = 'batched'"
    with psycopg.connect(running.connection.info.dsn, options=PATH) as other, ThreadPoolExecutor(1) as pool:
        waits = f"SELECT cardinality(pg_blocking_pids({other.info.backend_pid}))"
        with running.connection.transaction():
            running.execute(move.format(0, 100))
            theirs = pool.submit(other.execute, move.format(1, 200).encode())
            while not running.execute(waits).fetchone()[0]:
                assert not theirs.done()
            running.execute(again.format(0))
        assert theirs.result().rowcount == 100
        other.execute(again.format(1).encode())
    assert running.execute(COUNTS).fetchone() == (400, 250, 0, 0, 150, 0, 250)
    counted = running.execute("SELECT state, count(*) FROM request GROUP BY 1").fetchall()
    assert dict(counted) == {"queued": 250, "failed": 150}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE request SET batch_id = 9 WHERE id & 4294967295 = 7",
        "UPDATE request SET state = 'succeeded', stop = 0 WHERE id & 4294967295 = 7",
        "UPDATE request SET state = 'queued'",
        "DELETE FROM request WHERE id & 4294967295 = 7",
        """INSERT INTO attempt (batch_id, request_id, kind, outcome, at)
           SELECT 1, (1::bigint << 32) + number, 'errored', 'failed', 't' FROM generate_series(400, 401) AS number""",
        "INSERT INTO stop_count VALUES (1, 9, 1)",
        "INSERT INTO cluster VALUES (2, 1, 1, 1)",
    ],
)
def test_a_statement_with_one_wrong_row_changes_nothing(running: RawServer, statement: str) -> None:
    """Rows that are judged together are refused together."""
    counts, states = running.execute(COUNTS).fetchone(), running.execute("SELECT * FROM request").fetchall()
    with pytest.raises(REFUSALS):
        running.execute(statement)
    assert running.execute(COUNTS).fetchone() == counts
    assert running.execute("SELECT * FROM request").fetchall() == states
    assert running.execute("SELECT count(*) FROM attempt").fetchone() == (0,)


def test_an_import_that_is_given_up_takes_its_requests_with_it(server: RawServer) -> None:
    """Slice by slice, and the job counts down with them."""
    for sql in (JOB, REQUESTS, "UPDATE job SET total = 400, queued = 400", "DELETE FROM request WHERE id & 3 = 3"):
        server.execute(sql)
    assert server.execute(COUNTS).fetchone() == (300, 300, 0, 0, 0, 0, 0)
    server.execute("DELETE FROM request")
    assert server.execute("DELETE FROM job").rowcount == 1


def test_a_new_end_of_answers_has_the_next_number(server: RawServer) -> None:
    """There are 32, so a transaction that is taken back leaves no gap."""
    add = "INSERT INTO stop_reason (name) VALUES (?) RETURNING id"
    with server.connection.transaction(force_rollback=True):
        assert server.execute(add, ("one",)).fetchone() == (8,)
    assert [server.execute(add, (name,)).fetchone() for name in ("one", "two")] == [(8,), (9,)]


def test_two_that_meet_the_same_new_end_give_it_one_number(server: RawServer) -> None:
    """Results are stored by several daemons at once: the second does its step again, and finds the name."""
    add = "INSERT INTO stop_reason (name) VALUES ('new') RETURNING id"
    with psycopg.connect(server.connection.info.dsn, options=PATH) as other, ThreadPoolExecutor(1) as pool:
        waits = f"SELECT cardinality(pg_blocking_pids({other.info.backend_pid}))"
        with server.connection.transaction():
            assert server.execute(add).fetchone() == (8,)
            theirs = pool.submit(other.execute, add.encode())
            while not server.execute(waits).fetchone()[0]:
                assert not theirs.done()
        with pytest.raises(psycopg.errors.SerializationFailure):
            theirs.result()


def test_an_event_is_told_when_it_is_committed(server: RawServer) -> None:
    """With the newest one's number and time, so that who hears it can tell later whether it was lost."""
    server.connection.execute(b"LISTEN orchestrator_moves")
    add = "INSERT INTO event (at, kind) VALUES ('t1', 'k'), ('t2', 'k')"
    with server.connection.transaction(force_rollback=True):
        server.execute(add)
    server.execute(add)
    assert [told.payload for told in server.connection.notifies(timeout=0, stop_after=1)] == ["4 t2"]


def test_writers_of_results_share_no_number(server: RawServer) -> None:
    """Each takes a block of 16,384."""
    first, second = (server.execute("SELECT nextval('result_block')").fetchone()[0] for _ in range(2))
    assert second - first == 16384


def test_bodies_are_compressed_by_the_quick_way_that_the_server_has(server: RawServer) -> None:
    """Its own takes five times as long (43 us for 4 kB)."""
    has_lz4 = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    is_lz4 = """SELECT attcompression = 'l' FROM pg_attribute
                 WHERE attrelid IN ('result'::regclass, 'attempt'::regclass) AND attname = 'body'"""
    assert server.execute(is_lz4).fetchall() == server.execute(has_lz4).fetchall() * 2


@pytest.mark.parametrize("file", sorted(path.stem for path in SHARED_SQL.glob("postgres/*.sql")))
def test_what_a_server_has_in_a_form_of_its_own_leaves_nothing_out(file: str) -> None:
    """A column that one statement sets and its twin does not would be lost there, without a word."""
    shared, parameter = (SHARED_SQL / f"{file}.sql").is_file(), re.compile(r"(?<!:):(\w+)")
    for name, text in dialect.twins(file).items() if shared else ():
        missing = set(parameter.findall(sql_text.load(file)[name])) - set(parameter.findall(text))
        assert missing == set(), name
