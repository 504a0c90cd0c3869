"""Answers that do not match their job's schema: paid for, asked for again as often as was said, and kept at last."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from store.store_world import audit
from support.mortal import Fuse, Killed, on_a_fuse
from support.world import World, in_a_loop, message, new_world, next_life

from orchestrator.domain.ids import JobId
from orchestrator.domain.model import JobRow, RequestCounts
from orchestrator.domain.queries import RequestDetails, ResultRow

SCHEMA: Final = (
    '{"type":"object","properties":{"label":{"type":"string"}},"required":["label"],"additionalProperties":false}'
)
ASKED: Final[dict[str, object]] = {"format": {"type": "json_schema", "schema": json.loads(SCHEMA)}}


async def asking(world: World, count: int, *, name: str = "job", retry_invalid: int = 1) -> JobRow:
    """A job of *count* requests that ask for answers of `SCHEMA`."""
    params = [message(f"{name} {number}", output_config=ASKED) for number in range(count)]
    return await world.submit(params=params, name=name, schema=SCHEMA, retry_invalid=retry_invalid)


async def counts(world: World, job: JobRow) -> RequestCounts:
    """The requests of *job*, by state."""
    return (await world.status(job.id)).job.requests


async def request(world: World, job: JobId, number: int = 1) -> RequestDetails:
    """One request."""
    return await world.store.read(lambda reads: reads.request(job, f"r{number}"))


async def failed_of_type(world: World, job: JobId, error_type: str) -> int:
    """How many requests of *job* failed so."""
    return await world.store.read(lambda reads: reads.failed_of_type(job, error_type))


async def rows(world: World, job: JobId) -> list[ResultRow]:
    """The results of *job*."""
    return await world.store.read(lambda reads: reads.results(job, above=0, limit=10_000))


async def asked(world: World, sql: str, *values: object) -> list[Any]:
    """What a query of the store finds."""
    return await world.store._database.read(lambda c: c.execute(sql, values).fetchall())


async def ledger(world: World) -> defaultdict[str, tuple[int, int]]:
    """By kind: how many answers, and what they cost together; none and nothing of a kind that there is not."""
    found = await asked(world, "SELECT kind, sum(requests), sum(cost_nanos) FROM ledger GROUP BY kind")
    return defaultdict(lambda: (0, 0), {kind: (int(count), int(nanos)) for kind, count, nanos in found})


@pytest.mark.parametrize("fault", ["bad_json", "bad_schema", "cut"])
@in_a_loop
async def test_an_invalid_answer_is_paid_for_and_asked_for_again(tmp_path: Path, fault: str) -> None:
    """Acceptance example 17: each try's cost is in the ledger, and the row's cost is that of both."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({fault: 0.03})
        job = await asking(world, 200)
        await world.settle()
        twice = sum(times == 2 for times in world.bought().values())
        assert 0 < twice < 20
        assert set(world.bought().values()) == {1, 2}
        found = (await world.status(job.id)).job
        assert (found.requests.succeeded, found.resubmitted) == (200, twice)
        paid = await ledger(world)
        assert (paid["kept"][0], paid["retried"][0]) == (200, twice)
        assert paid["retried"][1] > 0
        costs = [row.cost_nanos for row in await rows(world, job.id)]
        ((spent,),) = await asked(world, "SELECT spent_nanos FROM job")
        assert sum(cost or 0 for cost in costs) == paid["kept"][1] + paid["retried"][1] == spent
        tried = {line["custom_id"] for line in await world.results(job.id) if "label" not in json.dumps(line)}
        assert tried == set()
    assert audit(tmp_path / "store.db") == []


@in_a_loop
async def test_what_is_left_over_is_no_success_and_keeps_its_text(tmp_path: Path) -> None:
    """It has failed with `invalid_answer`, with its message as it came; it was tried as often as said."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"bad_schema": 1, "sticky": 1})
        job = await asking(world, 3, retry_invalid=2)
        await world.settle()
        found = await counts(world, job)
        assert (found.succeeded, found.failed, (await world.status(job.id)).invalid_answers) == (0, 3, 3)
        assert (await world.store.read(lambda reads: reads.totals())).invalid_answers == 3
        assert set(world.bought().values()) == {3}
        details = await request(world, job.id)
        assert (details.state, details.error_type, details.attempts) == ("failed", "invalid_answer", 3)
        assert [attempt.kind for attempt in details.failed_attempts] == ["succeeded"] * 3
        message_ = str(details.error_message)
        assert message_.startswith("the answer does not match the schema: ")
        for line in await world.results(job.id):
            shown: Any = line["result"]
            assert (shown["type"], shown["error"]["error"]["type"]) == ("errored", "invalid_answer")
            assert "message" not in shown
            assert shown["answer"]["content"][-1]["type"] == "text"
            assert shown["answer"]["usage"]["output_tokens"] > 0
        ((spent,),) = await asked(world, "SELECT spent_nanos FROM job")
        assert (
            sum(row.cost_nanos or 0 for row in await rows(world, job.id))
            == spent
            == (await ledger(world))["retried"][1]
        )
    assert audit(tmp_path / "store.db") == []


@in_a_loop
async def test_none_is_asked_for_again_where_that_was_said(tmp_path: Path) -> None:
    """`--retry-invalid 0`: what was paid for is kept as it is, once."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"bad_json": 1})
        job = await asking(world, 4, retry_invalid=0)
        await world.settle()
        assert (await counts(world, job)).failed == 4
        assert set(world.bought().values()) == {1}
        assert world.creates == 1


@in_a_loop
async def test_a_refusal_is_a_success_and_never_asked_for_again(tmp_path: Path) -> None:
    """To ask again gets the same, and costs as much: a person may."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"refusal": 1, "sticky": 1})
        job = await asking(world, 5)
        await world.settle()
        status = await world.status(job.id)
        assert (status.job.requests.succeeded, status.stop_reasons) == (5, {"refusal": 5})
        assert world.creates == 1


@in_a_loop
async def test_without_a_schema_every_answer_will_do(tmp_path: Path) -> None:
    """What an answer is worth is said by its job alone, not by the params of its requests."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"bad_json": 0.5, "cut": 0.5})
        job = await world.submit(params=[message(f"m{n}", output_config=ASKED) for n in range(10)])
        await world.settle()
        assert (await counts(world, job)).succeeded == 10
        assert world.creates == 1


@in_a_loop
async def test_what_the_server_spoilt_is_counted_apart(tmp_path: Path) -> None:
    """Attempts are for its errors: an invalid answer between two of them takes none of them away."""
    async with new_world(tmp_path / "store.db", max_attempts=2) as world:
        job = await asking(world, 1)
        for fault in ("bad_json", "error"):
            world.machine.plan.set({fault: 1, "sticky": 1})
            batches = len(await world.batches(job.id))
            while len(await world.batches(job.id)) == batches or await world.store.settle.to_settle():
                world.advance(timedelta(minutes=1))
                await world.round()
            await world.until_collected(job.id)
        world.machine.plan.set({})
        await world.settle()
        details = await request(world, job.id)
        assert (details.state, details.attempts) == ("succeeded", 3)


@in_a_loop
async def test_a_download_that_is_repeated_decides_alike(tmp_path: Path) -> None:
    """Promise 3: cut twice, with lines that came already; every invalid answer is in the ledger once."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"bad_json": 0.3, "duplicated": 0.5})
        world.script("results", "cut_clean", 2)
        job = await asking(world, 60)
        await world.settle(step=timedelta(minutes=5))
        assert (await counts(world, job)).succeeded == 60
        twice = sum(times == 2 for times in world.bought().values())
        assert (await ledger(world))["retried"][0] == twice > 5
        assert max(world.bought().values()) == 2
    assert audit(tmp_path / "store.db") == []


async def killed_after(path: Path, sparks: int) -> bool:
    """A life that ends *sparks* after its batch ended (True: it did), and the next one, which finishes the job."""
    fuse = Fuse(10**9)
    async with new_world(path, wrap=on_a_fuse(fuse)) as world:
        world.machine.plan.set({"bad_json": 1})
        job = await asking(world, 5)
        await world.tick("plan", "submit")
        world.advance(timedelta(minutes=20))
        fuse.left, killed = sparks, False
        try:
            await world.tick("poll", "collect", "settle")
        except Killed:
            killed = True
        async with next_life(world) as second:
            await second.settle()
            assert (await counts(second, job)).succeeded == 5, fuse.steps[-3:]
            assert set(second.bought().values()) == {2}, fuse.steps[-3:]
            assert {kind: count for kind, (count, _) in (await ledger(second)).items()} == {"kept": 5, "retried": 5}
    assert audit(path) == []
    return killed


@in_a_loop
async def test_a_life_may_end_between_an_invalid_answer_and_the_next_try(tmp_path: Path) -> None:
    """Promise 1 and 2: it is paid for twice, as was said, and never three times."""
    sparks = 0
    while await killed_after(tmp_path / f"{sparks}.db", sparks):
        sparks += 7
    assert sparks > 10


@in_a_loop
async def test_of_a_canceled_job_invalid_answers_are_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    """They came, and were paid for: only what has no answer is canceled."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"bad_json": 1})
        job = await asking(world, 4)
        await world.tick("plan", "submit")
        world.advance(timedelta(minutes=20))
        await world.commands.cancel(job.id)
        await world.settle()
        found = (await world.status(job.id)).job
        assert (found.state, found.requests.failed, found.requests.canceled) == ("canceled", 4, 0)
        assert world.creates == 1


@in_a_loop
async def test_the_next_try_has_to_fit_under_the_cap(tmp_path: Path) -> None:
    """Promise 15: what an invalid answer cost is spent, and its request reserves like any other when it goes again."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"bad_json": 1, "sticky": 1})
        job = await asking(world, 1, retry_invalid=10)
        probe = await asking(world, 1, name="probe", retry_invalid=0)
        await world.settle()
        ((one,),) = await asked(world, "SELECT spent_nanos FROM job WHERE id = ?", probe.id)
        tight = await asking(world, 1, name="tight", retry_invalid=10)
        await world.store.budgets.cap_job(tight.id, one * 4, world.clock.now())
        await world.settle()
        found = (await world.status(tight.id)).job
        assert (found.state, found.reason_code) == ("paused", "budget")
        assert found.requests.queued == 1
        ((spent, held),) = await asked(world, "SELECT spent_nanos, reserved_nanos FROM job WHERE id = ?", tight.id)
        assert one <= spent + held <= one * 4
        assert (await counts(world, job)).failed == 1
    assert audit(tmp_path / "store.db") == []


@in_a_loop
async def test_a_person_who_retries_begins_anew(tmp_path: Path) -> None:
    """`retry --only invalid_answer`: each request may have as many invalid answers again."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"bad_json": 1, "sticky": 1})
        job = await asking(world, 2)
        await world.settle()
        assert await world.commands.retry(job.id, ("invalid_answer",)) == 2
        await world.settle()
        assert set(world.bought().values()) == {4}
        world.machine.plan.set({})
        await world.commands.retry(job.id, ())
        await world.settle()
        assert ((await counts(world, job)).succeeded, (await world.status(job.id)).invalid_answers) == (2, 0)
        details = await request(world, job.id)
        assert (details.attempts, len(details.failed_attempts)) == (1, 4)
        ((spent,),) = await asked(world, "SELECT spent_nanos FROM job")
        assert sum(row.cost_nanos or 0 for row in await rows(world, job.id)) == spent
    assert audit(tmp_path / "store.db") == []


@in_a_loop
async def test_twins_wait_for_the_last_try_of_their_original_and_end_as_it_does(tmp_path: Path) -> None:
    """Only the original is asked for again; what is left over is invalid for all, and paid for by it alone."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"bad_json": 1, "sticky": 1})
        same = [message("same", output_config=ASKED)] * 3
        job = await world.submit(params=same, schema=SCHEMA, retry_invalid=1, dedupe=True)
        await world.settle()
        assert list(world.bought().values()) == [2]
        assert (await counts(world, job)).failed == 3
        twin = await request(world, job.id, 3)
        assert (twin.error_type, twin.reused_from, twin.cost_nanos) == ("invalid_answer", "r1", 0)
        lines = await world.results(job.id)
        assert lines[0]["result"] == lines[1]["result"] == lines[2]["result"]
        world.machine.plan.set({})
        assert await world.commands.retry(job.id, ("invalid_answer",)) == 3
        await world.settle()
        assert list(world.bought().values()) == [3]
        assert (await counts(world, job)).succeeded == 3
        ((spent,),) = await asked(world, "SELECT spent_nanos FROM job")
        costs = [row.cost_nanos for row in await rows(world, job.id)]
        assert costs == [spent, 0, 0]
    assert audit(tmp_path / "store.db") == []


@in_a_loop
async def test_invalid_answers_are_counted_beside_other_failures(tmp_path: Path) -> None:
    """Those of a job alone, and of all jobs together; what failed otherwise is none of them."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"bad_json": 0.3, "invalid": 0.3, "sticky": 1})
        jobs = [await asking(world, 40, name=name, retry_invalid=0) for name in ("one", "two")]
        plain = await world.submit(20, name="plain")
        await world.settle()
        found = [await world.status(job.id) for job in (*jobs, plain)]
        for status in found[:2]:
            of_type = await failed_of_type(world, status.job.id, "invalid_answer")
            assert 0 < status.invalid_answers == of_type < status.job.requests.failed
        assert found[2].invalid_answers == 0 < found[2].job.requests.failed
        totals = await world.store.read(lambda reads: reads.totals())
        assert totals.invalid_answers == found[0].invalid_answers + found[1].invalid_answers
