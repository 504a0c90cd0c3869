"""The library with the engine in this process."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from faces.client_world import QUICK, SLOW, requests, short_runtime_folder, until
from support.world import in_a_loop

from orchestrator import FleetAnswerView, InputRefused, Job, JobTimeout, Orchestrator
from orchestrator.domain.errors import (
    GuardRefused,
    InputError,
    NeedsPerson,
    NoSuchThing,
    OutputError,
    StoreError,
    UsageError,
)


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def quick(tmp_path: Path, **overrides: Any) -> Orchestrator:
    return Orchestrator(tmp_path / "x.db", sandbox=True, **{**QUICK, **overrides})


async def ids(job: Job, *, settled_only: bool = False) -> list[str]:
    return [result.custom_id async for result in job.results(settled_only=settled_only)]


@in_a_loop
async def test_requests_go_in_and_results_come_out_in_order(tmp_path: Path) -> None:
    """Promises 1 and 3: every request has its own answer, in input order, over several batches."""
    async with quick(tmp_path, batching__max_requests=40) as orc:
        job = await orc.submit(requests(100))
        status = await job.wait(timeout=timedelta(seconds=60))
        assert (status.job.state.value, status.job.requests.succeeded) == ("finished", 100)
        assert status.batches["settled"] == 3
        results = [result async for result in job.results()]
        assert [result.custom_id for result in results] == [f"r{number}" for number in range(100)]
        assert all(result.text is not None and result.text.endswith(f" {result.custom_id[1:]}") for result in results)
        assert orc.embedded


@in_a_loop
async def test_rows_come_back_with_their_results(tmp_path: Path) -> None:
    """What a request was made of, as a dict; an open job takes them as well, and a file of results has none."""
    given = [{**each, "row": {"id": "007", "of": each["custom_id"]}} for each in requests(3)]
    async with quick(tmp_path) as orc:
        job = await orc.submit([*given, {**given[0], "custom_id": "none", "row": {}}, *requests(5)[3:]])
        rows = {result.custom_id: result.row async for result in job.results()}
        assert rows == {**{each["custom_id"]: each["row"] for each in given}, "none": {}, "r3": None, "r4": None}
        assert (await job.request("r1")).row == b'{"id":"007","of":"r1"}'
        await job.export(tmp_path / "out.jsonl")
        assert b'"row"' not in (tmp_path / "out.jsonl").read_bytes()
        growing = await orc.open_job("growing")
        assert await growing.add(given) == 3
        await growing.close()
        assert growing.job is not None
        assert [result.row async for result in growing.job.results()] == [each["row"] for each in given]
        with pytest.raises(InputRefused) as refused:
            await orc.submit([{**given[0], "row": "text"}])
        assert [problem.field for problem in refused.value.problems] == ["row"]


@in_a_loop
async def test_results_wait_for_the_job_by_themselves(tmp_path: Path) -> None:
    """Results are never half of the results, unless half of them is asked for."""
    async with quick(tmp_path) as orc:
        assert await ids(await orc.submit(requests(3))) == ["r0", "r1", "r2"]
    async with Orchestrator(tmp_path / "slow.db", sandbox=True, **SLOW) as orc:
        assert await ids(await orc.submit(requests(3)), settled_only=True) == []


@in_a_loop
async def test_the_same_requests_are_the_same_job(tmp_path: Path) -> None:
    """Promise 7: a script that is run twice pays once."""
    async with quick(tmp_path) as orc:
        first = await orc.submit(requests(5), name="nightly")
        await first.wait(30)
    async with quick(tmp_path) as orc:
        again = await orc.submit(requests(5), name="nightly")
        assert (again.id, again.attached, first.attached) == (first.id, True, False)
        assert await ids(again) == ["r0", "r1", "r2", "r3", "r4"]
        force_new = await orc.submit(requests(5), name="nightly", new=True)
        assert force_new.id != first.id
        assert [status.job.public_id for status in await orc.jobs()] == [force_new.id, first.id]
        assert await orc.fleet() == FleetAnswerView.of(None), "one process owns a file"
        assert (await orc.job("nightly")).id == force_new.id


@in_a_loop
async def test_submitting_again_what_is_paused_goes_on(tmp_path: Path) -> None:
    """After a top-up, or after a pause, the same command again is all it takes."""
    async with Orchestrator(tmp_path / "x.db", sandbox=True, **SLOW) as orc:
        job = await orc.submit(requests(5))
        assert (await job.pause()).job.state.value == "paused"
        with pytest.raises(GuardRefused, match="is paused: it cannot be paused"):
            await job.pause()
        again = await orc.submit(requests(5))
        assert (await again.status()).job.state.value == "running"


@in_a_loop
async def test_async_iterables_and_files_are_taken_in_as_they_come(tmp_path: Path) -> None:
    """Promise 8: what is submitted is streamed, wherever it comes from."""

    async def stream() -> AsyncIterator[dict[str, Any]]:
        for request in requests(5):
            yield request

    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(request) + "\n" for request in requests(5, said="from a file")))
    async with quick(tmp_path) as orc:
        streamed = await orc.submit(stream(), betas=["b-beta", "a-beta"], api_version="2023-06-01", priority=1)
        filed = await orc.submit_file(file)
        jobs = {status.job.public_id: status.job for status in await orc.jobs()}
        assert jobs[streamed.id].betas == ("a-beta", "b-beta")
        assert (jobs[streamed.id].api_version, jobs[streamed.id].priority) == ("2023-06-01", 1)
        assert (jobs[filed.id].name, jobs[filed.id].source) == ("in", str(file))
        await filed.wait(30)
        assert await filed.export(tmp_path / "out.jsonl") == 5
        lines = (tmp_path / "out.jsonl").read_bytes().splitlines(keepends=True)
        assert lines == [result.line async for result in filed.results()]
        with pytest.raises(OutputError):
            await filed.export(tmp_path / "no" / "such" / "folder.jsonl")


@in_a_loop
async def test_bad_requests_are_refused_as_a_whole_or_left_out(tmp_path: Path) -> None:
    """All or nothing by default; with skip_bad the rest goes in and the others are kept with their reasons."""
    bad: list[dict[str, Any]] = [*requests(3), {"custom_id": "r1", "params": requests(1)[0]["params"]}, {"params": {}}]
    async with quick(tmp_path) as orc:
        with pytest.raises(InputRefused, match="requests has") as caught:
            await orc.submit(bad)
        assert {problem.line for problem in caught.value.problems} == {4, 5}
        assert caught.value.count == len(caught.value.problems)
        assert caught.value.exit_code == 2
        assert "requests:4: custom_id: 'r1' is taken by requests:2" in str(caught.value.cause)
        assert await orc.jobs() == []
        job = await orc.submit(bad, skip_bad=True)
        assert (await job.wait(30)).job.requests.total == 3
        assert job.refused_count == 2
        assert {problem.line for problem in await job.refused()} == {4, 5}


@in_a_loop
async def test_an_iterable_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    """Promise 1: a job is whole or not there."""

    def breaking() -> Iterator[dict[str, Any]]:
        yield from requests(3000)
        raise LookupError("the source broke")

    async with quick(tmp_path) as orc:
        with pytest.raises(LookupError, match="the source broke"):
            await orc.submit(breaking())
        assert await orc.jobs() == []


@in_a_loop
async def test_options_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    """A misspelt option is an error, not a default."""
    async with quick(tmp_path) as orc:
        with pytest.raises(UsageError, match="no option 'prio'\nhint: did you mean \"priority\""):
            await orc.submit(requests(1), prio=3)  # type: ignore[call-arg]  # the mistake that is tested
        with pytest.raises(UsageError, match="priority"):
            await orc.submit(requests(1), priority=0)
        with pytest.raises(UsageError, match="key"):
            await orc.submit(requests(1), key="")
        with pytest.raises(UsageError, match="api_version"):
            await orc.submit(requests(1), api_version="latest")
        with pytest.raises(UsageError, match="betas"):
            await orc.submit(requests(1), betas="one")
        with pytest.raises(UsageError, match="name"):
            await orc.submit(requests(1), name="")
        with pytest.raises(NoSuchThing) as unknown:
            await orc.job("nobody")
        assert unknown.value.hint == "jobs() has them"
    with pytest.raises(UsageError):
        async with quick(tmp_path, limits__pol_interval="1s"):
            pass


@in_a_loop
async def test_failures_are_grouped_shown_and_tried_again(tmp_path: Path) -> None:
    """A request that only the API can refuse fails in place, with the API's words."""
    mixed = requests(3)
    mixed[1]["params"]["max_tokens"] = 10_000_000
    async with quick(tmp_path) as orc:
        job = await orc.submit(mixed)
        status = await job.wait(30)
        assert (status.job.requests.succeeded, status.job.requests.failed) == (2, 1)
        results = [result async for result in job.results()]
        assert [result.type for result in results] == ["succeeded", "errored", "succeeded"]
        assert results[1].error_type == "invalid_request_error"
        assert results[1].text is None
        (group,) = await job.errors()
        assert (group.count, group.examples) == (1, (("r1", 2),))
        assert (await job.request("r1")).error_message == results[1].error_message
        assert await job.retry(only="api_error") == 0
        assert await job.retry() == 1
        assert (await job.wait(30)).job.requests.failed == 1


@in_a_loop
async def test_waiting_ends_in_time_and_for_a_person(tmp_path: Path) -> None:
    """Exit codes 7 and 3: a timeout leaves the job alone; an empty account is told with what to do."""
    async with Orchestrator(tmp_path / "slow.db", sandbox=True, **SLOW) as orc:
        job = await orc.submit(requests(1))
        with pytest.raises(JobTimeout, match=job.id) as late:
            await job.wait(timeout=0.05)
        assert late.value.exit_code == 7
        assert isinstance(late.value, TimeoutError)
        assert (await job.cancel()).job.state.value in {"canceling", "canceled"}
    async with quick(tmp_path, sandbox__faults="create.credit=1") as orc:
        job = await orc.submit(requests(1))
        with pytest.raises(NeedsPerson, match="is paused") as poor:
            await job.wait(30)
        assert "add credit" in str(poor.value.cause)
        assert poor.value.exit_code == 3


@in_a_loop
async def test_a_canceled_job_keeps_its_place_for_every_request(tmp_path: Path) -> None:
    """Cancel: what never ran comes out as the API says it, in input order."""
    async with quick(tmp_path, limits__max_in_flight_batches=1, batching__max_requests=2, sandbox__speed=100) as orc:
        job = await orc.submit(requests(6))
        await job.cancel()
        status = await job.wait(30)
        assert status.job.state.value == "canceled"
        results = [result async for result in job.results()]
        assert [result.custom_id for result in results] == [f"r{number}" for number in range(6)]
        assert results[-1].raw == b'{"type":"canceled"}'


@in_a_loop
async def test_an_open_job_takes_requests_until_it_is_closed(tmp_path: Path) -> None:
    """A job that grows: what `add` returned from is stored; a crash leaves it open for the next run."""
    async with quick(tmp_path, batching__linger="0.05s") as orc:
        growing = await orc.open_job("live")
        with pytest.raises(UsageError, match="no requests"):
            await growing.close()
        assert (await orc.open_job("live")).job is None
        assert await growing.add(requests(2)) == 2
        assert await growing.add(iter(requests(2500, first=2))) == 2500
        with pytest.raises(InputError, match="already: 'r0'"):
            await growing.add(requests(1))
        with pytest.raises(InputRefused):
            await growing.add([{"custom_id": "x"}])
        assert growing.job is not None
        assert (await growing.job.status()).job.still_open
    async with quick(tmp_path) as orc:
        growing = await orc.open_job("live")
        assert growing.job is not None
        assert growing.job.attached
        await growing.add(requests(1, first=2502))
        job = await growing.close()
        assert (await job.wait(60)).job.requests.succeeded == 2503
        assert (await ids(job))[-1] == "r2502"
        with pytest.raises(GuardRefused, match="takes no more"):
            await growing.add(requests(1, first=9999))
        assert (await orc.open_job("live")).job is None


@in_a_loop
async def test_what_an_open_job_began_with_is_not_taken_for_a_job_of_its_own(tmp_path: Path) -> None:
    """Promise 7 holds for whole inputs only: an open job's first requests are no complete input."""
    async with quick(tmp_path) as orc:
        growing = await orc.open_job("live")
        await growing.add(requests(2))
        alone = await orc.submit(requests(2))
        assert not alone.attached


@in_a_loop
async def test_leaving_the_block_is_safe_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """Promise 11: stopping loses nothing; what was sent is collected by the next engine."""
    async with Orchestrator(tmp_path / "x.db", sandbox=True, **SLOW) as orc:
        job = await orc.submit(requests(5))

        async def is_sent() -> bool:
            return (await job.status()).batches["in_progress"] == 1

        await until(is_sent)
    async with quick(tmp_path) as orc:
        same = await orc.job(job.id)
        assert (await same.wait(30)).job.requests.succeeded == 5
        assert (await same.status()).batches["settled"] == 1


@in_a_loop
async def test_an_engine_that_fails_ends_the_block_with_its_error(tmp_path: Path) -> None:
    """Promise 11: a failed core task never leaves a program waiting for an engine that is dead."""

    async def damaged() -> None:
        async with quick(tmp_path) as orc:
            job = await orc.submit(requests(1), name="lost")
            with sqlite3.connect(tmp_path / "x.db") as other:
                other.execute("ALTER TABLE gate RENAME TO gone")
            other.close()
            await job.wait()

    with pytest.raises(StoreError, match="the store failed"):
        await damaged()


@in_a_loop
async def test_an_error_of_the_program_passes_through_unchanged(tmp_path: Path) -> None:
    """The block adds nothing to what a program raises inside it, and an orchestrator is used once."""
    orc = quick(tmp_path)
    with pytest.raises(UsageError, match="not open\nhint: use it inside `async with`"):
        await orc.jobs()
    with pytest.raises(LookupError, match="mine"):
        async with orc:
            raise LookupError("mine")
    with pytest.raises(UsageError, match="not open\nhint: use it inside `async with`"):
        await orc.jobs()
    with pytest.raises(UsageError, match="is or was open"):
        async with orc:
            pass
