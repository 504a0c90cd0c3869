"""What was stepped into once on PostgreSQL, each with a test of its own: settings, types, locks, lost connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
import pytest
from store.store_world import NOW, ended, lines, new_job, open_store, running_job, won
from support import stores
from support.postgres import PostgresServer
from support.stores import Databases

from orchestrator.domain.billing import Payment, Tariff, Tokens
from orchestrator.domain.budgets import Scope
from orchestrator.domain.errors import GuardRefused, StoreError, StoreFull, StoreLost, StoreUnreachable, UsageError
from orchestrator.domain.ids import request_id
from orchestrator.domain.model import BatchRow, JudgedLine
from orchestrator.ports.dispatch import UnitKind
from orchestrator.store.collect import _store_lines
from orchestrator.store.postgres import cluster
from orchestrator.store.postgres.link import TURN_LOCK, Link, Mode, PostgresAddress, Role
from orchestrator.store.postgres.postgres_store import PostgresStore
from orchestrator.store.postgres.server_database import PlainThread, PostgresDatabase
from orchestrator.store.sql_connection import SqlConnection

pytestmark = pytest.mark.postgres
CUT_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
LIVING = "INSERT INTO daemon VALUES (gen_random_uuid(), 'd', 'h', 1, 'v', 's', NULL, '2026', '2027')"
LOCKED_BOOKS = """
SELECT count(*) - (SELECT count(*) FROM (SELECT 1 FROM spending FOR UPDATE SKIP LOCKED) AS free) FROM spending
"""
READ = """
SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_user_tables WHERE relname IN ('request', 'result')
"""
SHOWN = ("jit", "statement_timeout", "idle_in_transaction_session_timeout", "synchronous_commit", "search_path")


@pytest.fixture
def url(on_postgres: Databases, tmp_path: Path) -> str:
    """A database with the schema, that is no store yet."""
    return stores.url_of(tmp_path / "store.db")


@pytest.fixture
def link(url: str) -> Iterator[Link]:
    """The way of the writer."""
    with closing(Link(PostgresAddress.of(url), Role.WRITER)) as opened:
        yield opened


def elsewhere(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement of somebody else's."""
    with psycopg.connect(url, autocommit=True, options="-c search_path=orchestrator") as connection:
        answer = connection.execute(sql.encode())
        return answer.fetchall() if answer.description else []


def await_gone(url: str, pid: int) -> None:
    """Until the server has ended this connection."""
    for _ in range(1000):
        if not elsewhere(url, f"SELECT pg_sleep(0.01) FROM pg_stat_activity WHERE pid = {pid}"):  # noqa: S608 - a number
            return
    raise AssertionError("it is still there")


def pid_of(c: SqlConnection) -> int:
    """The server's process of this connection."""
    pid: int = c.execute("SELECT pg_backend_pid()").fetchone()[0]
    return pid


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (Role.WRITER, ["off", "30s", "5s", "on", "orchestrator"]),
        (Role.FREE_WRITER, ["off", "30s", "5s", "on", "orchestrator"]),
        (Role.LOOKS, ["off", "1min", "0", "on", "orchestrator"]),
    ],
)
def test_every_connection_is_told_how_to_behave(url: str, role: Role, expected: list[str]) -> None:
    """Jit compiled a trigger's statement anew each time: 50 s for a settle."""
    with closing(Link(PostgresAddress.of(f"{url}?options=-c%20work_mem%3D5MB"), role)) as link:
        shown = link.run(lambda c: [c.execute(f"SHOW {name}").fetchone()[0] for name in SHOWN], Mode.FREE)
        name, memory = link.run(
            lambda c: c.execute("SELECT current_setting('application_name'), current_setting('work_mem')").fetchone(),
            Mode.FREE,
        )
    assert (shown, name, memory) == (expected, f"orchestrator {role}", "5MB")


def test_a_sum_is_a_whole_number(link: Link) -> None:
    """`sum(bigint)` is numeric: a Decimal in Python, and a string in JSON."""
    found = link.run(
        lambda c: c.execute("SELECT sum(n) FROM (VALUES (1::bigint), (2)) AS t (n)").fetchone()[0], Mode.FREE
    )
    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize("text", ["a\x00b", "\x01", "\x01\x01\x02\x00", "\x00\x01", "plain"])
def test_a_text_may_hold_nul(link: Link, text: str) -> None:
    """No text of PostgreSQL holds it: as a value, in an array, in a list and by COPY."""
    insert = "INSERT INTO known_id (job_id, run, custom_id, request_id) VALUES (?, ?, ?, ?)"
    listed = "SELECT custom_id FROM known_id WHERE custom_id IN (SELECT value FROM json_each(:custom_ids))"

    def step(c: SqlConnection) -> list[str]:
        c.insert_rows(insert, [(1, 1, text, 1)])
        c.execute(insert, (1, 2, text, 1))
        (said,) = c.execute("SELECT custom_id FROM known_id WHERE custom_id = ? AND run = 2", (text,)).fetchone()
        found = c.execute(listed, {"custom_ids": json.dumps([text])}).fetchall()
        return [said, *(row[0] for row in found)]

    for mode in (Mode.TURN, Mode.FREE):
        assert link.run(step, mode) == [text] * 3
        link.run(lambda c: c.execute("TRUNCATE known_id"), Mode.FREE)


def test_texts_are_in_the_order_of_python(link: Link) -> None:
    """Runs of ids are merged in Python's order; the server's language has another."""
    texts = ["Z", "a", "é", "B", "\x00", "\x01", "~", "ä", "a b", "a-b", "ab"]

    def step(c: SqlConnection) -> list[str]:
        rows = [(1, 1, text, number) for number, text in enumerate(texts)]
        c.insert_rows("INSERT INTO known_id (job_id, run, custom_id, request_id) VALUES (?, ?, ?, ?)", rows)
        return [row[0] for row in c.stream("SELECT custom_id FROM known_id ORDER BY custom_id")]

    assert link.run(step, Mode.FREE) == sorted(texts)


def test_a_parameter_may_be_nothing(link: Link) -> None:
    """Untyped, the server would not know what to compare."""
    found = link.run(
        lambda c: c.execute("SELECT CAST(:x AS TEXT) IS NULL, CAST(:n AS BIGINT)", {"x": None, "n": None}), Mode.FREE
    )
    assert found.fetchone() == (True, None)


def test_a_stream_is_read_as_its_rows_are_wanted(link: Link) -> None:
    """Psycopg's usual cursor holds the whole answer; of an endless one the first rows come."""

    def step(c: SqlConnection) -> list[int]:
        endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        rows = iter(c.stream(endless))
        return [next(rows)[0] for _ in range(3)]

    assert link.run(step, Mode.SNAPSHOT) == [1, 2, 3]


def test_who_stands_still_in_a_copy_loses_its_locks(url: str) -> None:
    """No timeout of the server counts there either: others would wait for its rows for as long as it stands still."""
    free = cluster.SQL["free"].postgres.text
    with (
        psycopg.connect(url, autocommit=True) as other,
        pytest.raises(psycopg.OperationalError),
        psycopg.connect(url, application_name="orchestrator free writer") as still,
        still.cursor().copy("COPY orchestrator.sample FROM STDIN"),
    ):
        end_who_stands_still(other, free, still.info.backend_pid)


def end_who_stands_still(other: psycopg.Connection, free: bytes, pid: int) -> None:
    """By the sweep's statement, at once; not while it may be at work."""
    assert other.execute(free, {"still": "1 h"}).fetchall() == []
    while not other.execute(free, {"still": "0 s"}).fetchall():
        pass
    while other.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchall():
        pass


def test_a_copy_never_runs_in_the_turn(link: Link, url: str) -> None:
    """No timeout of the server counts while COPY waits for its client: who stops there would hold the turn."""
    insert = "INSERT INTO known_id (job_id, run, custom_id, request_id) VALUES (?, ?, ?, ?)"
    asked = "SELECT query FROM pg_stat_activity WHERE pid = {}"

    def insert_in(c: SqlConnection) -> str:
        c.insert_rows(insert, [(1, 1, "a", 1)])
        said: str = elsewhere(url, asked.format(link.connection.raw.info.backend_pid))[0][0]
        return said.split(maxsplit=1)[0]

    assert link.run(insert_in, Mode.TURN) == "INSERT"
    link.run(lambda c: c.execute("TRUNCATE known_id"), Mode.FREE)
    assert link.run(insert_in, Mode.FREE) == "COPY"


def test_the_turn_is_one_at_a_time_and_free_steps_are_beside_it(url: str) -> None:
    """BEGIN IMMEDIATE of a fleet."""
    with (
        closing(Link(PostgresAddress.of(url), Role.WRITER)) as link,
        closing(Link(PostgresAddress.of(url), Role.FREE_WRITER)) as free,
    ):

        def step(c: SqlConnection) -> tuple[bool, int]:
            c.assert_in_turn()
            taken = elsewhere(url, f"SELECT pg_try_advisory_lock({TURN_LOCK})")[0][0]
            return not taken, free.run(lambda other: other.execute("SELECT 1").fetchone()[0], Mode.FREE)

        assert link.run(step, Mode.TURN) == (True, 1)
        with pytest.raises(AssertionError, match="outside of the turn"):
            free.run(lambda c: c.assert_in_turn(), Mode.FREE)


def test_a_daemon_that_stands_still_in_a_step_is_put_out(link: Link, url: str) -> None:
    """Else it would hold the turn: its step fails, another one has the turn, and the next step works."""

    def stand_still(c: SqlConnection) -> None:
        c.execute("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
        await_gone(url, pid_of(c))
        c.execute("SELECT 1")

    with pytest.raises(StoreUnreachable):
        link.run(stand_still, Mode.TURN)
    assert link.run(lambda c: c.execute("SELECT 1").fetchone(), Mode.TURN) == (1,)


def test_a_lost_connection_fails_one_step(link: Link, url: str) -> None:
    """The next one has a new connection."""

    def lose(c: SqlConnection) -> None:
        pid = pid_of(c)
        elsewhere(url, f"SELECT pg_terminate_backend({pid})")
        await_gone(url, pid)
        c.execute("SELECT 1")

    for _ in range(2):
        with pytest.raises(StoreUnreachable, match="does not answer"):
            link.run(lose, Mode.TURN)
        assert link.run(lambda c: c.execute("SELECT 1").fetchone(), Mode.FREE) == (1,)


def test_a_commit_without_an_answer_is_told_as_that(link: Link, url: str) -> None:
    """Whether it was stored is unknown, and the error says so."""

    def lose(c: SqlConnection) -> None:
        pid = pid_of(c)
        elsewhere(url, f"SELECT pg_terminate_backend({pid})")
        await_gone(url, pid)

    with pytest.raises(StoreUnreachable) as told:
        link.run(lose, Mode.FREE)
    assert told.value.cause is not None
    assert "whether the last step was stored is not known" in told.value.cause


def test_a_step_that_cannot_be_ordered_is_run_again(link: Link) -> None:
    """40001 and 40P01: at most five times."""
    tries: list[int] = []

    def collide(c: SqlConnection, often: int) -> int:
        tries.append(1)
        if len(tries) <= often:
            c.execute("DO $$ BEGIN RAISE EXCEPTION 'no order' USING ERRCODE = '40001'; END $$")
        return len(tries)

    assert link.run(lambda c: collide(c, 4), Mode.TURN) == 5
    tries.clear()
    with pytest.raises(StoreUnreachable, match="does not answer"):
        link.run(lambda c: collide(c, 5), Mode.TURN)
    assert len(tries) == 5


def test_a_step_that_swallowed_an_error_is_not_called_stored(link: Link) -> None:
    """COMMIT of a failed transaction is answered by ROLLBACK, and by no error."""

    def swallow(c: SqlConnection) -> None:
        with suppress(psycopg.errors.DivisionByZero):
            c.execute("SELECT 1 / 0")

    with pytest.raises(AssertionError, match="COMMIT was answered by ROLLBACK"):
        link.run(swallow, Mode.TURN)


def test_what_was_prepared_before_a_migration_is_prepared_anew(link: Link, url: str) -> None:
    """A daemon of the version before runs on for some seconds: `SELECT *` has a column more."""

    def read(c: SqlConnection) -> int:
        return len(c.execute("SELECT * FROM gate").description)

    before = [link.run(read, Mode.FREE) for _ in range(4)][-1]
    elsewhere(url, "ALTER TABLE gate ADD COLUMN more bigint")
    assert link.run(read, Mode.FREE) == before + 1


def test_a_unit_is_enqueued_in_the_transaction_itself(url: str) -> None:
    """What is rolled back makes nothing due."""
    told: list[tuple[Any, ...]] = []

    def due(raw: psycopg.Connection[Any], kind: UnitKind, batch: int, priority: int) -> None:
        told.append((raw.info.transaction_status.name, kind, batch, priority))

    with closing(Link(PostgresAddress.of(url), Role.WRITER, due=due)) as link:
        link.run(lambda c: c.due(UnitKind.SUBMIT, 7, 10), Mode.TURN)  # type: ignore[arg-type]  # a BatchId
    assert told == [("INTRANS", UnitKind.SUBMIT, 7, 10)]


def test_a_cancelled_caller_does_not_stop_a_step(url: str) -> None:
    """After it the outcome is unknown, but never half."""

    async def check() -> int:
        guard = cluster.PlaceGuard("the database", lambda: NOW)
        database = await PostgresDatabase.start(PostgresAddress.of(url), guard, None, PlainThread.start)
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def step(c: SqlConnection) -> None:
            loop.call_soon_threadsafe(begun.set)
            for run in range(50):
                c.execute("INSERT INTO known_id VALUES (1, ?, 'a', 1)", (run,))

        task = asyncio.create_task(database.write(step))
        await begun.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        count: int = await database.write(lambda c: c.execute("SELECT count(*) FROM known_id").fetchone()[0])
        await database.aclose()
        return count

    assert asyncio.run(check()) == 50


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"port": "1"}, StoreUnreachable, "cannot be reached"),
        ({"dbname": "nowhere"}, StoreError, "there is no such database"),
        ({"user": "nobody"}, StoreError, "does not know the user"),
    ],
)
def test_what_is_wrong_with_the_way_there_is_told(
    url: str, change: dict[str, str], error: type[StoreError], words: str
) -> None:
    """Each with what to do, and none with the password."""
    address = PostgresAddress.of(url, password="geheim")  # noqa: S106 - to be looked for
    wrong = PostgresAddress({**address.parameters, **change})
    with pytest.raises(error, match=words) as told:
        wrong.connect(Role.LOOKS)
    assert type(told.value) is error
    assert told.value.hint
    assert "geheim" not in f"{told.value}{told.value.__cause__}{wrong}{wrong!r}"


def test_a_wrong_password_is_told(own_server: Callable[..., PostgresServer]) -> None:
    """With a hint, and without the password."""
    server = own_server(auth="scram-sha-256")
    with pytest.raises(StoreError, match="refuses the login") as told:
        PostgresAddress.of(server.url, password="geheim").connect(Role.LOOKS)  # noqa: S106 - a wrong one
    assert told.value.hint is not None
    assert "password_file" in told.value.hint
    assert "geheim" not in str(told.value)


def test_an_address_that_cannot_be_read_is_not_shown() -> None:
    """It may hold a password."""
    with pytest.raises(UsageError) as told:
        PostgresAddress.of("postgresql://user:geheim@[::1/db")
    assert "geheim" not in f"{told.value}{told.value.__cause__}"


def test_the_store_goes_on_after_a_restart_of_the_server(
    own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    """The step that meets it fails, the next one is stored; nothing that was acknowledged is lost."""
    server = own_server(settings={"fsync": "on", "full_page_writes": "on"})

    async def check() -> int:
        async with open_store(tmp_path / "store.db") as store:
            job = await store.ingest.begin(new_job(), "job-id", NOW)
            server.restart()
            with pytest.raises(StoreUnreachable):
                await store.ingest.begin(new_job(), "lost-id", NOW)
            await store.ingest.add(job.id, lines(["a", "b"]), NOW)
            return (await store.commands.get(job.id)).requests.total

    stores.use(Databases(server))
    try:
        assert asyncio.run(check()) == 2
    finally:
        stores.use(Databases())


def test_a_store_in_another_place_is_a_copy(on_postgres: Databases, tmp_path: Path) -> None:
    """`CREATE DATABASE … TEMPLATE` of a store: both would send."""

    async def check() -> None:
        path, copied = tmp_path / "store.db", tmp_path / "copy.db"
        async with open_store(path) as store:
            await running_job(store)
        name = stores.url_of(path).rpartition("/")[2]
        assert on_postgres.server is not None
        on_postgres.urls[copied.resolve()] = on_postgres.server.new_database(name)
        with pytest.raises(GuardRefused, match="is a copy of a store") as told:
            async with open_store(copied):
                pass
        assert told.value.hint is not None
        assert "adopt-store" in told.value.hint
        async with open_store(path) as store:
            assert await store.reconcile.open() is None

    asyncio.run(check())


def test_another_timeline_opens_a_search(on_postgres: Databases, tmp_path: Path) -> None:
    """Promise 13: a standby that was promoted may lack what was sent."""

    async def check() -> None:
        path = tmp_path / "store.db"
        async with open_store(path) as store:
            await running_job(store)
        elsewhere(stores.url_of(path), "UPDATE cluster SET timeline = timeline + 1")
        async with open_store(path) as store:
            found = await store.reconcile.open()
            assert found is not None
            assert found.cause == "behind"
        async with open_store(path) as store:
            assert await store.reconcile.open() == found

    asyncio.run(check())


def test_a_running_store_looks_again_after_a_reconnect(on_postgres: Databases, tmp_path: Path) -> None:
    """What it saw is there: it goes on, and asks the API if the timeline is another. What is not there ends it."""

    async def check() -> None:
        path = tmp_path / "store.db"
        async with open_store(path) as store:
            await running_job(store)
            elsewhere(stores.url_of(path), "UPDATE cluster SET timeline = timeline + 1")
            await lose_connections(store)
            await store.gates.open("create")
            found = await store.reconcile.open()
            assert found is not None
            change = "SET session_replication_role = replica; DELETE FROM event WHERE id = (SELECT max(id) FROM event)"
            elsewhere(stores.url_of(path), change)
            await lose_connections(store)
            with pytest.raises(StoreLost, match="the database has lost commits"):
                await store.gates.open("create")
            assert store.lost is not None
            with pytest.raises(StoreUnreachable):
                await store.reconcile.open()
            again = await store.reconcile.open()
            assert again is not None
            assert again.wait_since > found.wait_since

    async def lose_connections(store: Any) -> None:
        url = stores.url_of(tmp_path / "store.db")
        elsewhere(url, CUT_ALL)
        with pytest.raises(StoreUnreachable):
            await store.gates.open("create")

    asyncio.run(check())


def test_only_imports_of_processes_that_are_gone_are_discarded(on_postgres: Databases, tmp_path: Path) -> None:
    """Others may be importing."""

    async def check() -> None:
        path = tmp_path / "store.db"
        async with open_store(path) as store:
            for name in ("gone", "living"):
                await store.ingest.begin(new_job(name), name, NOW)
            url = stores.url_of(path)
            elsewhere(url, LIVING)
            elsewhere(url, "UPDATE job SET daemon = (SELECT id FROM daemon) WHERE public_id = 'living'")
            assert await store.discard_leftovers() == 1
            assert [job.public_id for job in await store.ingest.importing()] == ["living"]

    asyncio.run(check())


def test_the_answers_of_two_jobs_are_stored_side_by_side(on_postgres: Databases, tmp_path: Path) -> None:
    """One daemon has not committed yet, and the other need not wait: whatever is spent on the day, by all of them."""

    async def prepare() -> list[BatchRow]:
        async with open_store(tmp_path / "store.db") as store:
            found = []
            for nonce in "ab":
                job = await running_job(store, 2, nonce)
                batch = await ended(store, job.id, nonce=nonce)
                await store.collect.store_lines(batch, [paid(1, 100)], NOW)  # the price has its number now
                found.append(batch)
            return found

    mine, theirs = asyncio.run(prepare())
    address = PostgresAddress.of(stores.url_of(tmp_path / "store.db"))
    with closing(Link(address, Role.FREE_WRITER)) as here, closing(Link(address, Role.FREE_WRITER)) as there:

        def step(c: SqlConnection) -> int:
            count = stored(mine, paid(2, 30), c)
            assert elsewhere(stores.url_of(tmp_path / "store.db"), LOCKED_BOOKS) == [(0,)]
            return count + there.run(lambda other: stored(theirs, paid(2, 4), other), Mode.FREE)

        assert here.run(step, Mode.FREE) == 2

    async def spent() -> int:
        async with open_store(tmp_path / "store.db") as store:
            await store.budgets.cap_scope(Scope.DAY, 1000, "person", NOW)
            (limit,) = await store.budgets.limits(mine.job_id, NOW)
            return int(limit.spent)

    assert asyncio.run(spent()) == 234


def paid(number: int, nanos: int) -> JudgedLine:
    """A success that cost so much."""
    tariff = Tariff(model="m", geo="", day="2026-11-23", source="s")
    return msgspec.structs.replace(won(number), payment=Payment(tariff, Tokens(), nanos))


def stored(batch: BatchRow, line: JudgedLine, c: SqlConnection) -> int:
    """The step that stores a line, in a transaction of the caller's."""
    return _store_lines(batch, {request_id(batch.job_id, line.number): line}, NOW, c)


def test_results_are_stored_without_statistics_as_fast_as_with(on_postgres: Databases, tmp_path: Path) -> None:
    """The planner took a batch for one row, and went through all of it for each result: the order of joins is ours."""
    count = 3000

    async def check() -> float:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, count)
            batch = await ended(store, job.id, count)
            await store.collect.store_lines(batch, [won(number) for number in range(1, count + 1)], NOW)
            assert (await store.collect.progress(batch)).seen == count
        return float(elsewhere(stores.url_of(tmp_path / "store.db"), READ)[0][0])

    assert asyncio.run(check()) <= 10 * count


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("53100", StoreFull, "the disk of the database"),
        ("53200", StoreFull, "the memory of the database"),
        ("25006", StoreError, "takes no writes"),
        ("57014", StoreUnreachable, "does not answer"),
        ("XX001", StoreError, "is damaged"),
        ("42501", StoreError, "does not let us"),
        ("23514", psycopg.IntegrityError, "told"),
        ("22023", psycopg.DataError, "told"),
    ],
)
def test_what_the_server_says_is_what_somebody_can_act_on(
    link: Link, code: str, error: type[Exception], words: str
) -> None:
    """A full disk is waited for; what is a bug of ours passes as it is; and the connection goes on."""
    said = f"DO $$ BEGIN RAISE EXCEPTION 'told' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(error, match=words) as told:
        link.run(lambda c: c.execute(said), Mode.TURN)
    assert type(told.value) is error or error in {psycopg.IntegrityError, psycopg.DataError}
    assert link.run(lambda c: c.execute("SELECT 1").fetchone(), Mode.TURN) == (1,)


def test_an_import_says_which_process_reads_it(url: str) -> None:
    """So that nobody else takes it for left over while that process lives."""
    own = uuid4()

    async def check() -> None:
        store = await PostgresStore.open(PostgresAddress.of(url), now=NOW, sandbox=False, daemon=own)
        await store.ingest.begin(new_job(), "job-id", NOW)
        await store.aclose()

    asyncio.run(check())
    assert elsewhere(url, "SELECT daemon FROM job") == [(own,)]
