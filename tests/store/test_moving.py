"""A store is moved from a file to a server and back: all of it, in use at one place at a time, whatever happens."""

# ruff: noqa: S608 - names of tables
from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from store.raw_databases import PATH, RawServer
from store.store_world import (
    LATER,
    NOW,
    collected,
    in_doubt,
    in_progress,
    lines,
    lines_of_table,
    lost,
    new_job,
    open_store,
    planned,
    raw,
    running_job,
    settle_all,
    submitting,
    won,
)
from support import postgres

from orchestrator.domain import errors
from orchestrator.domain.access import AccessRole, Bearer
from orchestrator.domain.ids import JobId
from orchestrator.domain.job_estimate import JobEstimate
from orchestrator.domain.model import JobRow
from orchestrator.domain.notices import EndpointSpec
from orchestrator.domain.result_outcome import Outcome
from orchestrator.ports.caller import acting_for
from orchestrator.ports.job_store import Content
from orchestrator.store import moving
from orchestrator.store.location import SqliteLocation
from orchestrator.store.mark import read_mark
from orchestrator.store.migrate import prepare
from orchestrator.store.ownership import Lock
from orchestrator.store.postgres.link import PostgresAddress
from orchestrator.store.postgres.migrate_postgres import prepare_server
from orchestrator.store.postgres.moving_stores import move_to_file, move_to_server
from orchestrator.store.postgres.postgres_store import PostgresStore

pytestmark = pytest.mark.postgres
WHERE: Final = "postgresql://orch@db/orch"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store that holds something of everything."""
    found = tmp_path / "here.db"
    asyncio.run(_fill(found))
    return found


async def _fill(path: Path) -> None:
    async with open_store(path) as store:
        await store.notices.mirror([EndpointSpec(url="https://example.com/hook", events=())], NOW)
        done = await running_job(store, 3, "done")
        rows = [won(0), lost(1, Outcome.FAILED, "errored"), lost(2)]
        await settle_all(store, await collected(store, done.id, rows, "b"), max_attempts=1)
        await in_progress(store, (await running_job(store, 4, "under way", priority=3)).id, nonce="c")  # type: ignore[arg-type]  # a number
        await in_doubt(store, (await running_job(store, 2, "in doubt")).id, nonce="d")
        await planned(store, (await running_job(store, 5, "planned")).id, limit=2, nonce="e")
        odd = await store.ingest.begin(new_job("odd", still_open=True), "odd-id", NOW)
        await store.ingest.add(odd.id, lines(["nul\x00nul", "\x01", "ö"]), NOW)
        with acting_for(Bearer(name="ana", role=AccessRole.SUBMIT)):
            told = await store.ingest.begin(new_job("told"), "told-id", NOW)
        await store.ingest.add(told.id, lines_of_table(["a"]), NOW)
        estimate = JobEstimate(input_tokens=9, low_nanos=1, high_nanos=3, basis="bytes", kind="k")
        await store.ingest.conclude(
            told.id, new_job(), Content(hash="t", size_bytes=1, estimate=estimate), NOW, force_new=True
        )
        gone = await store.ingest.begin(new_job("gone"), "gone-id", NOW)
        await store.ingest.discard(gone.id)


@pytest.fixture
def url(new_database: Callable[..., str]) -> str:
    return new_database()


@pytest.fixture
def server(url: str) -> Iterator[RawServer]:
    with psycopg.connect(url, autocommit=True, options=PATH) as connection:
        yield RawServer(connection)


def go(path: Path, url: str) -> moving.MoveReport:
    return move_to_server(path, PostgresAddress.of(url), WHERE, now=LATER, sandbox=False)


def come(url: str, path: Path) -> moving.MoveReport:
    return move_to_file(PostgresAddress.of(url), WHERE, path, now=LATER)


def content(path: Path) -> dict[str, list[str]]:
    """Every row but the words of moves."""
    with closing(raw(path)) as c:
        found = {table: sorted(map(repr, c.execute(f"SELECT * FROM {table}"))) for table in moving.TABLES}
    return {**found, "event": [row for row in found["event"] if "'store." not in row]}


def words(c: Any) -> list[str]:
    return [kind for (kind,) in c.execute("SELECT kind FROM event WHERE kind LIKE 'store.%' ORDER BY id").fetchall()]


async def open_server(url: str, *, adopt: bool = False) -> PostgresStore:
    return await PostgresStore.open(PostgresAddress.of(url), now=LATER, sandbox=False, adopt=adopt)


def test_there_and_back_is_the_same_store(path: Path, url: str, server: RawServer, tmp_path: Path) -> None:
    """Byte for byte, with who it is, what its nonces are signed with, and its deliveries: nobody is told anew."""
    before = content(path)
    assert all(
        before[table]
        for table in (
            "meta",
            "request",
            "known_id",
            "payload",
            "source_row",
            "result",
            "attempt",
            "delivery",
            "estimate",
        )
    )
    report = go(path, url)
    assert (report.jobs, report.requests) == (6, 18)
    assert words(server) == ["store.arriving", "store.arrived"]
    back = tmp_path / "back.db"
    assert come(url, back) == report
    assert content(back) == before
    with closing(raw(back)) as c:
        assert words(c) == ["store.arriving", "store.arrived"] * 2
    assert SqliteLocation(back).audit() == []


def test_every_table_is_moved(path: Path, server: RawServer) -> None:
    """Or is no part of a store: what migrations fill, where it lies, who works on it."""
    with closing(raw(path)) as c:
        tables = {name for (name,) in c.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert {name for name in tables if not name.startswith("sqlite_")} == {*moving.TABLES, "schema_migration", "step"}


def test_numbers_go_on_where_they_were(path: Path, url: str, tmp_path: Path) -> None:
    """A number that was given away before is given to nothing else, not even that of an import that was discarded."""

    async def newest_on_server() -> JobRow:
        store = await open_server(url)
        try:
            return await running_job(store, 1, "new")
        finally:
            await store.aclose()

    async def newest_in_file() -> JobRow:
        async with open_store(tmp_path / "back.db") as store:
            return await running_job(store, 1, "newer")

    with closing(raw(path)) as c:
        (last,) = c.execute("SELECT seq FROM sqlite_sequence WHERE name = 'job'").fetchone()
        assert last > c.execute("SELECT max(id) FROM job").fetchone()[0]
    go(path, url)
    assert asyncio.run(newest_on_server()).id == JobId(last + 1)
    come(url, tmp_path / "back.db")
    assert asyncio.run(newest_in_file()).id == JobId(last + 2)


def test_what_is_moved_can_be_used_at_once_and_needs_no_search(path: Path, url: str, tmp_path: Path) -> None:
    """It lacks nothing: neither the database nor the file with its new mark takes itself for a copy."""

    async def searches_on_server() -> object:
        store = await open_server(url)
        try:
            return await store.reconcile.open()
        finally:
            await store.aclose()

    async def searches_in_file() -> object:
        async with open_store(tmp_path / "back.db") as store:
            return await store.reconcile.open()

    intents = read_mark(path)
    go(path, url)
    assert asyncio.run(searches_on_server()) is None
    come(url, tmp_path / "back.db")
    found = read_mark(tmp_path / "back.db")
    assert intents is not None
    assert found is not None
    assert (found.lineage, found.secret, found.intents) == (intents.lineage, intents.secret, intents.intents)
    assert asyncio.run(searches_in_file()) is None


def test_the_file_that_was_moved_says_where_to(path: Path, url: str) -> None:
    """Whoever reads it, works on it or moves it again; without the password."""
    go(path, url)
    with pytest.raises(errors.GuardRefused, match=f"was moved to {WHERE}"), SqliteLocation(path).open_reader():
        raise AssertionError
    with pytest.raises(errors.GuardRefused, match=f"was moved to {WHERE}"):
        asyncio.run(_reopen(path))
    with pytest.raises(errors.GuardRefused, match=f"was moved to {WHERE}"):
        go(path, url)


async def _reopen(path: Path) -> None:
    async with open_store(path):
        pass


def test_the_database_that_was_moved_says_where_to(path: Path, url: str, server: RawServer, tmp_path: Path) -> None:
    """And a process that slept meanwhile, and wakes, can move nothing in it."""
    go(path, url)
    come(url, tmp_path / "back.db")
    with pytest.raises(errors.GuardRefused, match=r"was moved to .*/back\.db"):
        asyncio.run(open_server(url))
    with pytest.raises(errors.GuardRefused, match=r"was moved to .*/back\.db"):
        come(url, tmp_path / "again.db")
    with pytest.raises(psycopg.IntegrityError, match="the store was moved"):
        server.execute("INSERT INTO event (at, kind) VALUES ('2026', 'batch.moved')")


def test_what_was_moved_is_taken_back_deliberately_and_asks_the_api_first(
    path: Path, url: str, server: RawServer, tmp_path: Path
) -> None:
    """As a copy is: the other one may have sent more since."""
    from orchestrator.store.identity import Trust
    from orchestrator.store.sqlite_store import SqliteStore

    async def adopt_file() -> object:
        lock = Lock.take(path)
        store = await SqliteStore.open(path, lock=lock, now=LATER, sandbox=False, trust=Trust.ADOPTED)
        try:
            return await store.reconcile.open()
        finally:
            await store.aclose()

    async def adopt_server() -> object:
        store = await open_server(url, adopt=True)
        try:
            await running_job(store, 1, "new")
            return await store.reconcile.open()
        finally:
            await store.aclose()

    go(path, url)
    come(url, tmp_path / "back.db")
    assert asyncio.run(adopt_file()) is not None
    assert asyncio.run(adopt_server()) is not None
    asyncio.run(_reopen(path))


def test_a_batch_that_was_being_sent_is_settled_before(path: Path, url: str, server: RawServer) -> None:
    """The engine makes it a doubt when it starts; nothing was written."""

    async def send() -> None:
        async with open_store(path) as store:
            await submitting(store, (await running_job(store, 2, "sent")).id, nonce="f")

    asyncio.run(send())
    with pytest.raises(errors.GuardRefused, match="1 batches were being sent") as refused:
        go(path, url)
    assert "orchestrator serve" in str(refused.value.hint)
    assert is_empty(server)


def is_empty(server: RawServer) -> bool:
    return server.execute("SELECT to_regnamespace('orchestrator') IS NULL").fetchone()[0]  # type: ignore[no-any-return]  # a flag


def test_a_file_that_somebody_has_is_not_moved(path: Path, url: str, server: RawServer) -> None:
    """Its engine would send what the database sends as well."""
    with Lock.take(path), pytest.raises(errors.StoreOwned):
        go(path, url)
    assert is_empty(server)


def test_a_copy_is_not_moved(path: Path, url: str, server: RawServer, tmp_path: Path) -> None:
    """It would no longer be seen to be one."""
    copy = tmp_path / "copy.db"
    SqliteLocation(path).back_up(copy)
    with pytest.raises(errors.GuardRefused, match="is a copy of a store"):
        go(copy, url)
    assert is_empty(server)


def test_a_place_that_is_not_empty_is_left_alone(path: Path, url: str, server: RawServer, tmp_path: Path) -> None:
    """Another store, or a file of anything."""
    prepare_server(server.connection, WHERE, now=NOW, sandbox=False)
    lineage = server.execute("SELECT lineage FROM meta").fetchone()
    with pytest.raises(errors.GuardRefused, match="there is a store at"):
        go(path, url)
    assert server.execute("SELECT lineage FROM meta").fetchone() == lineage
    other = tmp_path / "other.db"
    prepare(other, now=NOW, sandbox=False)
    before = other.read_bytes()
    with pytest.raises(errors.GuardRefused, match="there is a store at"):
        come(url, other)
    assert other.read_bytes() == before


def test_a_database_with_a_daemon_is_not_moved(path: Path, url: str, server: RawServer, tmp_path: Path) -> None:
    """Until it is stopped, or has been silent for a while."""
    go(path, url)
    seen = "to_char((clock_timestamp() - interval '{} s') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    server.connection.execute(
        "INSERT INTO daemon (id, name, host, pid, version, settings_hash, started_at, seen_at) SELECT"
        f" gen_random_uuid(), 'worker-1', 'h', 1, '1', '', now, now FROM (SELECT {seen.format(1)}) AS t (now)"
    )
    with pytest.raises(errors.GuardRefused, match="worker-1"):
        come(url, tmp_path / "back.db")
    assert not (tmp_path / "back.db").exists()
    server.connection.execute(f"UPDATE daemon SET seen_at = {seen.format(60)}")
    assert come(url, tmp_path / "back.db").jobs == 6


def test_a_move_that_ends_before_the_file_is_given_up_is_made_again(path: Path, url: str, server: RawServer) -> None:
    """The database is whole, waits, and is used by nobody; the file is the store, and what it did since goes along."""
    with closing(raw(path)) as c:
        c.execute(
            "CREATE TRIGGER power_cut BEFORE INSERT ON event WHEN NEW.kind = 'store.moved'"
            " BEGIN SELECT raise(ABORT, 'power cut'); END"
        )
        with pytest.raises(Exception, match="power cut"):
            go(path, url)
        c.execute("DROP TRIGGER power_cut")
    assert words(server) == ["store.arriving"]
    with pytest.raises(errors.GuardRefused, match="not in use yet"):
        asyncio.run(open_server(url))
    asyncio.run(_work_on(path))
    assert go(path, url).jobs == 7
    assert words(server) == ["store.arriving", "store.arrived"]


async def _work_on(path: Path) -> None:
    async with open_store(path) as store:
        await running_job(store, 1, "meanwhile")


def test_a_move_that_ends_before_the_database_is_told_is_ended_later(path: Path, url: str, server: RawServer) -> None:
    """Neither can be used meanwhile: both say what to do."""
    go(path, url)
    server.execute("SET session_replication_role = replica")  # the schema refuses it
    server.execute("DELETE FROM event WHERE kind = 'store.arrived'")
    with pytest.raises(errors.GuardRefused, match="not in use yet"):
        asyncio.run(open_server(url))
    assert go(path, url).jobs == 6
    asyncio.run(_close(url))


async def _close(url: str) -> None:
    await (await open_server(url)).aclose()


def test_a_move_back_that_ends_at_either_moment_is_made_again(
    path: Path, url: str, server: RawServer, tmp_path: Path
) -> None:
    """The same the other way: first the database is still the store, then neither is."""
    back = tmp_path / "back.db"
    go(path, url)
    server.execute(
        "CREATE TRIGGER power_cut BEFORE INSERT ON event FOR EACH ROW WHEN (NEW.kind = 'store.moved')"
        " EXECUTE FUNCTION refuse('power cut')"
    )
    with pytest.raises(Exception, match="power cut"):
        come(url, back)
    server.execute("DROP TRIGGER power_cut ON event")
    with pytest.raises(errors.GuardRefused, match="not in use yet"):
        asyncio.run(_reopen(back))
    asyncio.run(_close(url))
    assert come(url, back).jobs == 6
    with closing(raw(back)) as c:
        c.execute("DROP TRIGGER event_append_only_d")
        c.execute("DELETE FROM event WHERE id = (SELECT max(id) FROM event)")
    with pytest.raises(errors.GuardRefused, match="not in use yet"):
        asyncio.run(_reopen(back))
    assert come(url, back).jobs == 6
    asyncio.run(_reopen(back))


def test_a_store_that_contradicts_itself_is_not_moved(path: Path, url: str, server: RawServer) -> None:
    """The audit is made of what has arrived, before anything is committed."""
    with closing(raw(path)) as c:
        c.execute("DROP TRIGGER known_id_kept")
        c.execute("DELETE FROM known_id")
    with pytest.raises(errors.StoreError, match="not everything in it fits together"):
        go(path, url)
    assert is_empty(server)
    asyncio.run(_reopen(path))


def test_the_mark_of_another_store_is_not_written_over(path: Path, url: str, tmp_path: Path) -> None:
    """It says what that one has sent."""
    back = tmp_path / "back.db"
    asyncio.run(_send_something(back))
    back.unlink()
    go(path, url)
    with pytest.raises(errors.GuardRefused, match="the mark of another store"):
        come(url, back)
    assert not back.exists()


async def _send_something(path: Path) -> None:
    async with open_store(path) as store:
        await in_progress(store, (await running_job(store, 1)).id)


def test_a_dump_that_is_put_back_is_a_copy_even_in_its_own_database(
    path: Path, url: str, server: RawServer, tmp_path: Path
) -> None:
    """Nobody can tell what was sent since it was made: it is adopted first, and asks the API (promise 13)."""
    go(path, url)
    asyncio.run(_close(url))
    programs, dump = postgres.find_programs(), str(tmp_path / "dump")
    subprocess.run([programs / "pg_dump", "-Fc", "-n", "orchestrator", "-f", dump, url], check=True)
    server.connection.close()
    subprocess.run([programs / "pg_restore", "--clean", "-d", url, dump], check=True, capture_output=True)
    with pytest.raises(errors.GuardRefused, match="is a copy of a store, or was moved there"):
        asyncio.run(open_server(url))
    assert asyncio.run(_search(url, adopt=True)) is not None
    assert asyncio.run(_search(url)) is not None


async def _search(url: str, *, adopt: bool = False) -> object:
    store = await open_server(url, adopt=adopt)
    try:
        return await store.reconcile.open()
    finally:
        await store.aclose()


def test_a_clock_that_is_behind_changes_nothing(path: Path, url: str) -> None:
    """The newest event is the newest by its number."""
    move_to_server(path, PostgresAddress.of(url), WHERE, now=NOW - timedelta(days=9), sandbox=False)
    with pytest.raises(errors.GuardRefused, match="was moved"):
        asyncio.run(_reopen(path))
