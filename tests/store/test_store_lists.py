"""The requests of a job in lists and one by one, and results as batches settle: found, not looked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from store.store_world import (
    NOW,
    PARAMS,
    batch_of,
    collected,
    finish,
    in_progress,
    lines,
    lines_of_table,
    lost,
    new_job,
    open_store,
    raw,
    remote,
    row_of,
    running_job,
    settle_all,
    won,
)

from orchestrator.domain.errors import NoSuchThing, Purged
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import JudgedLine
from orchestrator.domain.queries import RequestDetails, RequestFilter, RequestLine, RequestRow, SettledCursor
from orchestrator.domain.result_choice import ALL_OF_A_JOB, RequestChoice
from orchestrator.domain.result_outcome import Outcome
from orchestrator.domain.states import RequestState
from orchestrator.ports.job_store import DuplicatesCursor
from orchestrator.ports.reads import Reads
from orchestrator.store.connect import connect_reader
from orchestrator.store.read import SqlReads
from orchestrator.store.sqlite_store import SqliteStore


async def settled_batch(store: SqliteStore, job: JobId, rows: list[JudgedLine], nonce: str, limit: int) -> None:
    """A batch of the next *limit* queued requests, settled with *rows*."""
    await settle_all(store, await collected(store, job, rows, nonce, limit=limit), max_attempts=1)


async def mixed_job(store: SqliteStore) -> JobId:
    """Ten requests: 1, 3 succeeded, 2 failed, 4 refused before it was sent, 5, 6 at the API, 7–10 queued."""
    job = (await running_job(store, 10)).id
    await settled_batch(store, job, [won(3), won(1), lost(2)], "a", limit=3)
    assert await store.plan.fail_queued(job, 4, ("invalid", "too large"), b"{}", NOW)
    await in_progress(store, job, limit=2, nonce="b")
    return job


def numbered(job: JobId, number: int) -> Callable[[Reads], RequestDetails]:
    """A request by its number."""
    return lambda reads: reads.request_at(job, number)


def numbers(job: JobId, above: int = 0, limit: int = 100, **where: object) -> Callable[[Reads], list[int]]:
    """The numbers of a list of requests."""
    wanted = RequestFilter(**where)  # type: ignore[arg-type]  # fields by name, of the types that it takes
    return lambda reads: [row.number for row in reads.requests(job, above=above, limit=limit, where=wanted)]


def test_requests_are_listed_by_state_cause_and_batch_in_input_order(tmp_path: Path) -> None:
    """Whatever the filter, a list is in input order and holds exactly what a look at every row would find."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            await running_job(store, 3, name="before")
            job = await mixed_job(store)
            await running_job(store, 3, name="after")
            by_state = {s: await store.read(numbers(job, state=s)) for s in RequestState}
            assert by_state == {
                RequestState.QUEUED: [7, 8, 9, 10],
                RequestState.BATCHED: [5, 6],
                RequestState.SUCCEEDED: [1, 3],
                RequestState.FAILED: [2, 4],
                RequestState.CANCELED: [],
            }
            assert await store.read(numbers(job)) == list(range(1, 11))
            failed = RequestState.FAILED
            assert await store.read(numbers(job, state=failed, error_type="expired")) == [2]
            assert await store.read(numbers(job, error_type="invalid", error_message="too large")) == [4]
            assert await store.read(numbers(job, state=failed, error_type="invalid", error_message="other")) == []
            first = (await store.read(lambda reads: reads.batches(job)))[0].id
            assert await store.read(numbers(job, batch=first)) == [1, 2, 3]
            assert await store.read(numbers(job, batch=first, state=failed)) == [2]
            await store.commands.cancel(job, NOW)
            assert await store.read(numbers(job, state=RequestState.CANCELED)) == [7, 8, 9, 10]

    asyncio.run(run())


def chosen(job: JobId, choice: RequestChoice, above: int = 0, limit: int = 100) -> Callable[[Reads], list[RequestRow]]:
    """A list of the requests that are wanted."""
    return lambda reads: reads.chosen_requests(job, choice, above=above, limit=limit)


def test_requests_that_match_in_several_ways_are_listed_once(tmp_path: Path) -> None:
    """By their state and by the type of their error, say; with what their answers took."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await mixed_job(store)
            choice = RequestChoice(only=frozenset({"succeeded", "failed", "expired", "invalid", "queued"}))
            rows = await store.read(chosen(job, choice))
            assert [row.number for row in rows] == [1, 2, 3, 4, 7, 8, 9, 10]
            assert [row.number for row in await store.read(chosen(job, choice, above=2, limit=3))] == [3, 4, 7]
            took = [(row.input_tokens, row.output_tokens, row.cost_nanos) for row in rows[:5]]
            assert took == [(3, 5, 0), (None, None, 0), (3, 5, 0), (None, None, 0), (None, None, None)]
            neither = RequestChoice(states=frozenset({RequestState.FAILED}), stops=frozenset({"end_turn"}))
            assert await store.read(chosen(job, neither)) == []

    asyncio.run(run())


def test_requests_come_back_as_the_lines_that_were_handed_in(tmp_path: Path) -> None:
    """Page by page and by choice, each on one line, with its row where it is wanted; of a purged job none."""
    spread = b'{"model":"m",\n "max_tokens":1, "messages":[{"role":"user","content":"a \\n b"}]}'

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = (await store.ingest.begin(new_job(), "job-id", NOW)).id
            await store.ingest.add(job, lines_of_table(["a", "b"]), NOW)
            await store.ingest.add(job, lines(["c"], first_line=3, params=spread), NOW)
            await finish(store, job)
            await settled_batch(store, job, [lost(1), won(2), lost(3)], "a", limit=3)

            def read(after: str | None = None, **how: Any) -> Callable[[Reads], list[RequestLine]]:
                wanted = {"choice": ALL_OF_A_JOB, "limit": 2, **how}
                return lambda reads: reads.request_lines(job, after=after, **wanted)

            first = await store.read(read(rows=True))
            assert [line.custom_id for line in first] == ["a", "b"]
            assert first[0].text == b'{"custom_id":"a","params":%b,"row":%b}\n' % (PARAMS, row_of("a"))
            (last,) = await store.read(read("b", rows=True))
            assert last.text.count(b"\n") == 1
            assert json.loads(last.text) == {"custom_id": "c", "params": json.loads(spread)}
            assert await store.read(read("c")) == []
            failed = RequestChoice(only=frozenset({"failed"}))
            assert [line.custom_id for line in await store.read(read(choice=failed))] == ["a", "c"]
            with pytest.raises(NoSuchThing, match="nobody"):
                await store.read(read("nobody"))
            await store.settle.finish_jobs(NOW)
            assert await store.purge.mark(job, "person", NOW)
            with pytest.raises(Purged, match="requests of job job-id were deleted"):
                await store.read(read())
            assert [row.cost_nanos for row in await store.read(chosen(job, ALL_OF_A_JOB))] == [None] * 3

    asyncio.run(run())


def test_pages_of_requests_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """A state whose rows are merged from several batches is paged like any other."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = (await running_job(store, 9)).id
            for nonce in "abc":
                await in_progress(store, job, limit=3, nonce=nonce)
            seen: list[int] = []
            while page := await store.read(numbers(job, seen[-1] if seen else 0, 2, state=RequestState.BATCHED)):
                seen += page
            assert seen == list(range(1, 10))
            (row,) = await store.read(lambda reads: reads.requests(job, above=8, limit=5))
            assert (row.custom_id, row.line, row.params_bytes, row.attempts) == ("r9", 9, len(PARAMS), 0)
            assert row.batch_id is not None

    asyncio.run(run())


def test_a_request_is_found_by_its_number_with_what_was_handed_in_and_its_neighbours(tmp_path: Path) -> None:
    """The prompt byte for byte, and the way to the next request, which may not be the next number."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = (await store.ingest.begin(new_job(), "job-id", NOW)).id
            await store.ingest.add(job, lines(["a", "b", "b", "c"], params=b'{"p": "\xc3\xa9"}'), NOW)
            await store.ingest.repeated(job, DuplicatesCursor(), leave_out=True)  # number 3 is gone
            await finish(store, job, "h")
            view = await store.read(lambda reads: reads.request_at(job, 4))
            assert (view.number, view.custom_id, view.params) == (4, "c", b'{"p": "\xc3\xa9"}')
            assert view == await store.read(lambda reads: reads.request(job, "c"))
            assert await store.read(lambda reads: [reads.neighbours(job, n) for n in (1, 2, 4)]) == [
                (None, 2), (1, 4), (2, None),
            ]  # fmt: skip
            for nothing in (0, -1, 3, 5, 1 << 32, 1 << 70):
                with pytest.raises(NoSuchThing, match="no request"):
                    await store.read(numbered(job, nothing))

    asyncio.run(run())


def read_all(job: JobId, limit: int, start: SettledCursor) -> Callable[[Reads], tuple[list[int], SettledCursor]]:
    """Everything there is, in pages of *limit*, each place through its text."""

    def look(reads: Reads) -> tuple[list[int], SettledCursor]:
        found: list[int] = []
        place = start
        while True:
            rows, place = reads.settled_results(job, after=SettledCursor.from_text(place.to_text()), limit=limit)
            if not rows:
                return found, place
            found += [row.number for row in rows]

    return look


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_results_are_read_as_batches_settle_and_the_rest_when_the_job_is_over(tmp_path: Path, limit: int) -> None:
    """Who follows the order of settling gets every result once, whatever the pages, and can go on where he was."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = (await running_job(store, 8)).id
            one = await in_progress(store, job, limit=3, nonce="a")
            await settled_batch(store, job, [won(6), won(4), lost(5)], "b", limit=3)
            first, place = await store.read(read_all(job, limit, SettledCursor()))
            assert first == [4, 5, 6], "the second batch was settled first"
            assert await store.plan.fail_queued(job, 7, ("invalid", "too large"), b"{}", NOW)
            assert await store.poll.ended(one, remote("a", 3), NOW)
            ended = await batch_of(store, one.id)
            await store.collect.store_lines(ended, [won(n) for n in (1, 2, 3)], NOW)
            assert await store.read(read_all(job, limit, place)) == ([], place), "collected is not settled"
            await store.collect.collected(ended, NOW)
            await settle_all(store, await batch_of(store, one.id))
            second, place = await store.read(read_all(job, limit, place))
            assert second == [1, 2, 3]
            await store.commands.cancel(job, NOW)
            await store.settle.finish_jobs(NOW)
            rest, place = await store.read(read_all(job, limit, place))
            assert rest == [7, 8]
            assert await store.read(read_all(job, limit, place)) == ([], place)
            whole, _ = await store.read(read_all(job, limit, SettledCursor()))
            assert whole == [4, 5, 6, 1, 2, 3, 7, 8]

    asyncio.run(run())


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "-1.1", "1.1.1", "rest", "1.4294967296", "9" * 30 + ".1", "١.١"])
def test_a_place_that_nobody_gave_is_refused(text: str) -> None:
    """A place comes back from a client: it is read strictly."""
    with pytest.raises(ValueError, match="not a place"):
        SettledCursor.from_text(text)


def test_failures_of_one_type_are_counted(tmp_path: Path) -> None:
    """How much a retry of a group would queue again."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = (await running_job(store, 4)).id
            batch = await collected(store, job, [lost(1), lost(2), lost(3, Outcome.FAILED, "errored"), won(4)])
            await settle_all(store, batch, max_attempts=1)
            assert await store.read(lambda reads: reads.failed_of_type(job, "expired")) == 2
            assert await store.read(lambda reads: reads.failed_of_type(job, "nothing")) == 0

    asyncio.run(run())


def instructions(path: Path, look: Callable[[Reads], object]) -> int:
    """How many virtual-machine instructions of SQLite *look* takes."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with closing(connect_reader(path)) as c:
        look(SqlReads(c))  # reads the schema
        c.set_progress_handler(count, 1)
        look(SqlReads(c))
        c.set_progress_handler(None, 0)
    return steps


async def rare_job(store: SqliteStore, count: int) -> JobId:
    """*count* requests: the last two failed and succeeded, two before them are at the API, the others wait."""
    name = f"job{count}"
    job = (await store.ingest.begin(new_job(name), name, NOW)).id
    for start in range(1, count + 1, 5000):
        await store.ingest.add(job, lines(f"r{n}" for n in range(start, min(start + 5000, count + 1))), NOW)
    await finish(store, job, name)
    with closing(raw(store.path)) as c:
        last = job << 32 | count
        c.execute(
            """INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at,
                 depth, sent_at, cursor_date, remote_id, created_at, ended_at, collected)
               VALUES (?, ?, 'ended', 3, 1, 'd', 'v', '', 't', 0, 't', 't', ?, 't', 't', 1)""",
            (job, f"{count:020}", f"m{count}"),
        )
        batch = c.execute("SELECT max(id) FROM batch").fetchone()[0]
        c.execute("UPDATE request SET state = 'batched', batch_id = ? WHERE id > ?", (batch, last - 3))
        c.execute("INSERT INTO result (id, request_id, body) VALUES (?, ?, x'00')", (count, last))
        c.execute("UPDATE request SET state = 'succeeded', result_id = ? WHERE id = ?", (count, last))
        c.execute("UPDATE job SET queued = queued - 3, batched = 2, succeeded = 1 WHERE id = ?", (job,))
        c.execute("UPDATE request SET state = 'failed', error_type = 'e' WHERE id = ?", (last - 1,))
    return job


@pytest.mark.sqlite
def test_a_list_costs_the_same_for_a_thousand_requests_and_for_a_hundred_thousand(tmp_path: Path) -> None:
    """The dashboard stays fast: the few of a state among many are found, not looked for."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            small, large = await rare_job(store, 1000), await rare_job(store, 100_000)
            for state in RequestState:
                cost = [instructions(store.path, numbers(job, limit=20, state=state)) for job in (small, large)]
                assert cost[1] <= 1.2 * cost[0] + 20, (state, cost)
            for looks in (_neighbours, _failures):
                cost = [instructions(store.path, looks(job)) for job in (small, large)]
                assert cost[1] <= 1.2 * cost[0] + 20, cost

    asyncio.run(run())


def _neighbours(job: JobId) -> Callable[[Reads], object]:
    return lambda reads: reads.neighbours(job, 500)


def _failures(job: JobId) -> Callable[[Reads], object]:
    return lambda reads: reads.failed_of_type(job, "e")
