"""The schema refuses what must never be true, whoever writes: members, steps, frozen rows, impossible rows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from store.raw_databases import REFUSALS, RawDatabase, open_file, open_server
from store.store_world import BODY, NOW, collected, lost, open_store, raw, running_job, settle_all, won

from orchestrator.domain.result_outcome import Outcome
from orchestrator.domain.states import BATCH_STEPS, JOB_STEPS, REQUEST_STEPS, BatchState, JobState, RequestState
from orchestrator.store.migrate import SCHEMA_VERSION, prepare, shipped_migrations

BATCH_BASE = """INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at,
  depth, sent_at, cursor_date, doubt_since, remote_id, created_at, ended_at, settled_at, collected)
VALUES (1, :nonce, :state, 1, 1, 'd', 'v', '', 't', 0, 't', 't', 't', :remote_id, :created_at, 't', :settled_at, 1)"""
REQUEST = "INSERT INTO request (id, custom_id, line, params_bytes, state) VALUES "
AT_API = {BatchState.IN_PROGRESS, BatchState.CANCELING, BatchState.ENDED, BatchState.SETTLED}


OpenRaw = Callable[[Path], AbstractContextManager[RawDatabase]]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def open_raw(request: pytest.FixtureRequest) -> OpenRaw:
    """Opens the store at a path behind its back: the file itself, or a server's database with the same rows."""
    if request.param == "sqlite":
        return open_file
    url: str = request.getfixturevalue("new_database")()
    return lambda path: open_server(url, path)


@pytest.fixture
def db(tmp_path: Path, open_raw: OpenRaw) -> Iterator[RawDatabase]:
    """A bare store with one running job of four requests, number 4 settled of none."""
    path = tmp_path / "store.db"

    async def fill() -> None:
        async with open_store(path) as store:
            await running_job(store, 4)

    asyncio.run(fill())
    with open_raw(path) as connection:
        yield connection


@pytest.fixture
def settled(tmp_path: Path, open_raw: OpenRaw) -> Iterator[RawDatabase]:
    """A finished job: request 1 succeeded, 2 failed; an attempt and a result each."""
    path = tmp_path / "store.db"

    async def fill() -> None:
        async with open_store(path) as store:
            job = await running_job(store, 2)
            await settle_all(store, await collected(store, job.id, [won(1), lost(2)]), max_attempts=1)
            await store.settle.finish_jobs(NOW)

    asyncio.run(fill())
    with open_raw(path) as connection:
        yield connection


def members_in_check(db: RawDatabase, table: str, column: str = "state") -> set[str]:
    """The members that the CHECK of *column* lists."""
    return set(re.findall(r"'(\w+)'", db.checks(table, column)))


@pytest.mark.parametrize(("table", "states"), [("job", JobState), ("batch", BatchState), ("request", RequestState)])
def test_the_schema_knows_exactly_the_states_of_the_domain(
    db: RawDatabase, table: str, states: type[JobState | BatchState | RequestState]
) -> None:
    """One word, one meaning: a state added to one side only would be refused at night."""
    assert members_in_check(db, table) == {state.value for state in states}


def test_the_schema_knows_the_outcomes_that_leave_an_attempt(db: RawDatabase) -> None:
    """Every outcome but success is stored with its attempt, until the batch settles."""
    assert members_in_check(db, "attempt", "outcome") == {each.value for each in Outcome} - {Outcome.SUCCEEDED}


@pytest.mark.parametrize(("machine", "steps"), [("job", JOB_STEPS), ("batch", BATCH_STEPS)])
def test_the_step_table_is_the_transition_table_of_the_domain(
    db: RawDatabase, machine: str, steps: Mapping[str, frozenset[str]]
) -> None:
    """Nothing else changes a state."""
    rows = set(db.execute("SELECT old, new FROM step WHERE machine = ?", (machine,)).fetchall())
    assert rows == {(old.value, new.value) for old, news in steps.items() for new in news}  # type: ignore[attr-defined]  # members of a StrEnum


@pytest.mark.sqlite
def test_the_version_constant_is_the_number_of_migrations(tmp_path: Path) -> None:
    """A reader compares with the constant and never opens the files."""
    assert [m.version for m in shipped_migrations()] == list(range(1, SCHEMA_VERSION + 1))
    prepare(tmp_path / "a.db", now=NOW, sandbox=False)
    with closing(raw(tmp_path / "a.db")) as c:
        assert c.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION


def test_every_illegal_step_of_a_batch_is_refused_and_every_legal_one_is_not(db: RawDatabase) -> None:
    """The schema holds the state machine even against a bug above it."""
    number = 0
    for old in BatchState:
        for new in BatchState:
            if old is new:
                continue
            number += 1
            at_api = old in AT_API
            values = {
                "nonce": f"{number:020}",
                "state": old,
                "remote_id": f"msgbatch_{number}" if at_api else None,
                "created_at": "t" if at_api else None,
                "settled_at": "t" if old is BatchState.SETTLED else None,
            }
            db.execute(BATCH_BASE, values)
            change = """UPDATE batch SET state = ?, settled_at = ?, remote_id = coalesce(remote_id, 'm' || id),
                created_at = 't' WHERE nonce = ?"""
            if new not in AT_API:
                change = "UPDATE batch SET state = ?, settled_at = ? WHERE nonce = ?"
            given = (new.value, "t" if new is BatchState.SETTLED else None, values["nonce"])
            if new in BATCH_STEPS[old]:
                assert db.execute(change, given).rowcount == 1, (old, new)
            else:
                with pytest.raises(REFUSALS, match="no such step"):
                    db.execute(change, given)


def test_every_illegal_step_of_a_job_is_refused_and_every_legal_one_is_not(db: RawDatabase) -> None:
    """The same for jobs; empty ones, so that only the step is in question."""
    insert = """INSERT INTO job (public_id, name, state, reason_code, source, content_hash, api_version, betas,
      priority, still_open, added_at, created_at, finished_at)
      VALUES (?, 'n', ?, ?, '/s', 'h', 'v', '', 1, 0, 't', 't', ?)"""
    for old in JobState:
        for new in JobState:
            if old is new:
                continue
            key = f"{old}-{new}"
            db.execute(insert, (key, old, *_job_columns(old)))
            change = "UPDATE job SET state = ?, reason_code = ?, finished_at = ? WHERE public_id = ?"
            if new in JOB_STEPS[old]:
                assert db.execute(change, (new, *_job_columns(new), key)).rowcount == 1
            else:
                with pytest.raises(REFUSALS, match="no such step"):
                    db.execute(change, (new, *_job_columns(new), key))


def _job_columns(state: JobState) -> tuple[str | None, str | None]:
    over = state in {JobState.FINISHED, JobState.CANCELED}
    return "why" if state is JobState.PAUSED else None, "t" if over else None


def test_every_illegal_step_of_a_request_is_refused_and_every_legal_one_is_not(db: RawDatabase) -> None:
    """A request has no row in the step table: its edges are the guards of two triggers. Each edge is tried."""
    db.execute("UPDATE job SET still_open = 1")
    values = {"nonce": "n" * 20, "state": "planned", "remote_id": None, "created_at": None, "settled_at": None}
    db.execute(BATCH_BASE, values)
    change = """UPDATE request SET state = ?, batch_id = ?, error_type = 'e', retries = retries + ?, result_id = ?
                 WHERE id = ?"""
    for key, (old, new) in enumerate(((o, n) for o in RequestState for n in RequestState if o is not n), 5):
        row = (1 << 32 | key, f"r{key}")
        db.execute(REQUEST + "(?, ?, 1, 1, 'queued')", row)
        db.execute("UPDATE job SET total = total + 1, queued = queued + 1")  # what moves in bulk is counted by hand
        db.execute("INSERT INTO result (id, request_id, body) VALUES (?, ?, x'00')", (key, row[0]))
        if old != RequestState.QUEUED:
            db.execute(change, (RequestState.BATCHED, 1, 0, key, row[0]))
            db.execute("UPDATE job SET queued = queued - 1, batched = batched + 1")
            db.execute(change, (old, 1, 0, key, row[0]))
        if old == RequestState.SUCCEEDED:
            db.execute("UPDATE job SET batched = batched - 1, succeeded = succeeded + 1")
        given = (new, None if new is RequestState.QUEUED else 1, int(new is RequestState.QUEUED), key, row[0])
        if new in REQUEST_STEPS[old]:
            assert db.execute(change, given).rowcount == 1, (old, new)
        else:
            with pytest.raises(REFUSALS, match=r"no such step|settled is settled"):
                db.execute(change, given)


def test_a_twin_is_never_in_a_batch_and_ends_as_its_original_does(db: RawDatabase) -> None:
    """Promise 2: it is not sent, whatever plans it; it shows no other end, and no other result, than its original."""
    db.execute("UPDATE job SET still_open = 1")
    values = {"nonce": "n" * 20, "state": "planned", "remote_id": None, "created_at": None, "settled_at": None}
    db.execute(BATCH_BASE, values)
    first, twin = (1 << 32 | 501, 1 << 32 | 502)
    for key in (first, twin):
        db.execute(REQUEST + "(?, ?, 1, 1, 'queued')", (key, f"r{key}"))
        db.execute("UPDATE job SET total = total + 1, queued = queued + 1")
    db.execute("UPDATE request SET twin_of = ? WHERE id = ?", (first, twin))
    with pytest.raises(REFUSALS, match="never changes"):
        db.execute("UPDATE request SET twin_of = NULL WHERE id = ?", (twin,))
    take = "UPDATE request SET state = 'batched', batch_id = 1 WHERE id = ?"
    end = "UPDATE request SET state = ?, batch_id = 1, error_type = 'e', result_id = ? WHERE id = ?"
    db.execute("INSERT INTO result (id, request_id, body) VALUES (91, ?, x'00'), (92, ?, x'00')", (first, twin))
    for state, result in (("failed", None), ("canceled", None), ("succeeded", 91)):
        with pytest.raises(REFUSALS, match="as its original does"):
            db.execute(end, (state, result, twin))
    db.execute(take, (first,))
    db.execute("UPDATE job SET queued = queued - 1, batched = batched + 1")
    with pytest.raises(REFUSALS, match="no such step"):
        db.execute(take, (twin,))
    db.execute(end, ("succeeded", 91, first))
    with pytest.raises(REFUSALS, match="of another request"):
        db.execute(end, ("succeeded", 92, twin))
    assert db.execute(end, ("succeeded", 91, twin)).rowcount == 1


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_a_settled_request_is_frozen_in_every_column(settled: RawDatabase, state: str) -> None:
    """Promise 3: what is settled does not change, whatever a later download or a bug says."""
    columns = settled.columns("request")
    assert {"id", "custom_id", "state", "attempts", "batch_id", "result_id"} <= set(columns)
    for column in columns:
        value = "'queued'" if column == "state" else "7"
        change = f"UPDATE request SET {column} = {value} WHERE state = ?"  # noqa: S608 - names of the schema
        with pytest.raises(REFUSALS, match=r"settled is settled|never changes|of another request"):
            settled.execute(change, (state,))


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_only_a_retry_thaws(settled: RawDatabase, state: str) -> None:
    """A person's `retry` is the one way back, and it is counted in the row."""
    settled.execute("UPDATE job SET state = 'running', finished_at = NULL")
    again = """UPDATE request SET state = 'queued', batch_id = NULL, cause = NULL, stop = NULL, result_id = NULL,
                      retries = retries + ? WHERE state = ?"""
    for more in (0, 2):
        with pytest.raises(REFUSALS, match="settled is settled"):
            settled.execute(again, (more, state))
    before = settled.execute(f"SELECT queued, {state} FROM job WHERE id = 1").fetchone()  # noqa: S608 - a state
    assert settled.execute(again, (1, state)).rowcount == 1
    after = settled.execute(f"SELECT queued, {state} FROM job WHERE id = 1").fetchone()  # noqa: S608 - a state
    assert tuple(after) == (before[0] + 1, before[1] - 1)


def test_what_is_sent_of_a_request_changes_with_a_retry_alone(settled: RawDatabase) -> None:
    """A batch in doubt is made again from what is stored: while a request is queued, or in a batch, nothing moves."""
    settled.execute("UPDATE job SET state = 'running', finished_at = NULL")
    change = "UPDATE request SET change_id = 1, params_bytes = 9"
    with pytest.raises(REFUSALS):
        settled.execute(f"{change} WHERE state = 'failed'")
    again = ", state = 'queued', batch_id = NULL, cause = NULL, result_id = NULL, retries = retries + 1"
    assert settled.execute(f"{change}{again} WHERE state = 'failed'").rowcount == 1
    with pytest.raises(REFUSALS, match="its params change with a retry alone"):
        settled.execute(f"{change} WHERE state = 'queued'")


def test_a_change_of_params_never_changes(settled: RawDatabase) -> None:
    """It is taken away with the bodies of its job, and not before."""
    settled.execute("INSERT INTO param_change (id, job_id, digest, spec) VALUES (1, 1, 'd', '{}')")
    with pytest.raises(REFUSALS, match="never deleted"):
        settled.execute("DELETE FROM param_change")
    for change in ("spec = '[]'", "digest = 'e'", "job_id = 2"):
        with pytest.raises(REFUSALS, match="param_change"):
            settled.execute(f"UPDATE param_change SET {change}")  # noqa: S608 - texts from above
    assert settled.execute("UPDATE param_change SET spec = NULL").rowcount == 1


def test_rows_of_history_are_never_deleted_or_changed(settled: RawDatabase) -> None:
    """Promise 1: requests, results, batches, jobs, attempts, events and the store's identity stay."""
    for table in ("request", "known_id", "result", "batch", "job", "attempt", "event", "meta"):
        rows = settled.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names from above
        assert rows > 0, table
        with pytest.raises(REFUSALS):
            settled.execute(f"DELETE FROM {table}")  # noqa: S608 - names from above
    for change in (
        "result SET body = x'00'",
        "result SET request_id = 9",
        "known_id SET custom_id = 'x'",
        "attempt SET kind = 'x'",
        "event SET why = 'x'",
        "meta SET lineage = 'x'",
        "meta SET spread = 5",
        "batch SET nonce = 'bbbbbbbbbbbbbbbbbbbb'",
        "batch SET count = 9",
        "batch SET remote_id = 'msgbatch_other'",
    ):
        with pytest.raises(REFUSALS):
            settled.execute("UPDATE " + change)


def test_one_result_per_request(settled: RawDatabase) -> None:
    """Promise 3: exactly once. What a request shows never changes, is its own, and success has something to show."""
    key, own = settled.execute("SELECT id, result_id FROM request WHERE state = 'succeeded'").fetchone()
    settled.execute("INSERT INTO result (id, request_id, body) VALUES (99, ?, ?)", (key, BODY))
    with pytest.raises(REFUSALS, match="settled is settled"):
        settled.execute("UPDATE request SET result_id = 99 WHERE id = ?", (key,))
    with pytest.raises(REFUSALS, match="kept"):
        settled.execute("DELETE FROM result WHERE id = ?", (own,))
    again = """UPDATE request SET state = 'queued', batch_id = NULL, cause = NULL, retries = retries + 1, result_id = ?
                WHERE id <> ?"""
    settled.execute("UPDATE job SET state = 'running', finished_at = NULL")
    with pytest.raises(REFUSALS, match="of another request"):
        settled.execute(again, (own, key))


def test_success_without_a_result_is_refused(db: RawDatabase) -> None:
    """A request that succeeded has an answer to show."""
    db.execute(
        BATCH_BASE, {"nonce": "n" * 20, "state": "planned", "remote_id": None, "created_at": None, "settled_at": None}
    )
    db.execute("UPDATE request SET state = 'batched', batch_id = 1 WHERE id & 3 = 1")
    with pytest.raises(REFUSALS, match="without a result"):
        db.execute("UPDATE request SET state = 'succeeded' WHERE id & 3 = 1")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE job SET queued = queued - 1",
        "UPDATE job SET total = total + 1",
        "UPDATE job SET succeeded = 1",
        "UPDATE job SET state = 'finished', finished_at = 't'",  # with requests that wait
        "UPDATE job SET state = 'paused'",  # without a reason
        "UPDATE job SET reason_code = 'billing'",  # without a pause
        "UPDATE job SET finished_at = 't'",
        "UPDATE job SET content_hash = NULL",
        "UPDATE job SET name = ''",
        "UPDATE request SET state = 'batched' WHERE id & 3 = 1",  # in no batch
        "UPDATE request SET batch_id = 1 WHERE id & 3 = 1",  # queued, yet in one
        "UPDATE request SET state = 'failed' WHERE id & 3 = 1",  # without a cause
        "UPDATE request SET attempts = -1",
        "UPDATE request SET custom_id = 'r2' WHERE id & 3 = 1",
        REQUEST + "(4294967400, '', 1, 1, 'queued')",
        REQUEST + "(4294967400, 'z', 1, 0, 'queued')",
        "INSERT INTO meta (id, lineage, created_at, sandbox, spread) VALUES (2, 'l', 't', 0, 1)",
        "UPDATE meta SET intents = -1",
        "UPDATE meta SET secret = 'another'",  # once a mark has it
        "UPDATE meta SET duplicates_total = -1",
    ],
)
def test_impossible_rows_are_refused(db: RawDatabase, statement: str) -> None:
    """What must never be true is a CHECK or a trigger, not a promise of the code above."""
    with pytest.raises(REFUSALS):
        db.execute(statement)


@pytest.mark.parametrize("open_raw", ["sqlite"], indirect=True)
def test_a_value_of_another_type_is_refused(db: RawDatabase) -> None:
    """Tables are STRICT. PostgreSQL has types anyway, but writes bytes into a text as what they look like."""
    with pytest.raises(REFUSALS):
        db.execute("UPDATE job SET betas = x'00'")


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ("in_progress", {"remote_id": None}),
        ("in_progress", {"created_at": None}),
        ("planned", {"remote_id": "msgbatch_1"}),
        ("submitting", {"remote_id": "msgbatch_1"}),
        ("in_doubt", {"remote_id": "msgbatch_1"}),
        ("settled", {"settled_at": None}),
        ("ended", {"settled_at": "t"}),
        ("planned", {"nonce": "short"}),
    ],
)
def test_impossible_batches_are_refused(db: RawDatabase, state: str, change: dict[str, str | None]) -> None:
    """A remote id exists exactly where the API gave one; a time of settling exactly in settled rows."""
    at_api = BatchState(state) in AT_API
    values: dict[str, str | None] = {
        "nonce": "n" * 20,
        "state": state,
        "remote_id": "msgbatch_0" if at_api else None,
        "created_at": "t" if at_api else None,
        "settled_at": "t" if state == "settled" else None,
    }
    with pytest.raises(REFUSALS, match=r"(?i)check constraint"):
        db.execute(BATCH_BASE, values | change)
    db.execute(BATCH_BASE, values)


@pytest.mark.parametrize("table", ["payload", "source_row"])
def test_what_was_handed_in_stays_with_its_job(db: RawDatabase, table: str) -> None:
    """Until that is purged: its prompts, and the rows that they were made of."""
    first = (1 << 32) + 100
    db.execute(f"INSERT INTO {table} (first_id, count, data) VALUES (?, 1, ?)", (first, b"x"))  # noqa: S608 - one of two
    with pytest.raises(REFUSALS, match=f"{table}: kept with its job"):
        db.execute(f"DELETE FROM {table} WHERE first_id = ?", (first,))  # noqa: S608 - one of two
