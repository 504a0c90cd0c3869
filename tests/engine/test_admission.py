"""Admission: a sliding window over what has not ended, shared fairly between jobs, full batches first."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.world import API_VERSION, World, in_a_loop, message, new_world

from orchestrator.domain.api_answers import CreateAnswer
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import BatchRow
from orchestrator.domain.params import ParamRules
from orchestrator.engine.api_calls import Gates
from orchestrator.engine.context import Context
from orchestrator.engine.request_body import BatchBody
from orchestrator.inputs import source_from_objects
from orchestrator.ports.engine import IngestOptions
from orchestrator.ports.runtime import CreateBody, Headers
from orchestrator.ports.streams import InputLine
from orchestrator.sandbox import MachineSettings

MINUTE = timedelta(minutes=1)


async def live(world: World) -> tuple[int, int]:
    """(batches, requests) that the API works on now."""
    shown = [batch for batch in world.machine.list(limit=1000).data if batch.processing_status != "ended"]
    return len(shown), sum(batch.request_counts.processing for batch in shown)


@in_a_loop
async def test_the_limits_in_flight_hold_at_every_moment_and_are_used_up(tmp_path: Path) -> None:
    """Promise 5: `max_in_flight_requests` and `max_in_flight_batches`; the sandbox refuses what is over them."""
    machine = MachineSettings(batch_seconds=(60, 600), queue_limit=300)
    async with new_world(
        tmp_path / "store.db", machine=machine, max_in_flight_requests=300, max_in_flight_batches=5, max_requests=50
    ) as world:
        job = await world.submit(1000)
        most = 0
        for _ in range(400):
            await world.round()
            batches, requests = await live(world)
            assert batches <= 5
            assert requests <= 300
            most = max(most, batches)
            world.advance(timedelta(seconds=20))
            if (await world.status(job.id)).job.state == "finished":
                break
        assert most == 5
        assert (await world.status(job.id)).job.requests.succeeded == 1000
        assert world.creates == world.machine.batches_created == 20


@in_a_loop
async def test_a_batch_is_never_larger_than_the_window(tmp_path: Path) -> None:
    """A window smaller than a batch cuts smaller batches instead of waiting for ever."""
    async with new_world(tmp_path / "store.db", max_in_flight_requests=30, max_requests=100) as world:
        job = await world.submit(100)
        await world.settle()
        assert [batch.count for batch in await world.batches(job.id)] == [30, 30, 30, 10]


@in_a_loop
async def test_a_halved_batch_does_not_break_the_limit_of_batches(tmp_path: Path) -> None:
    """Halving makes two of one; the second waits until there is room."""
    async with new_world(tmp_path / "store.db", max_in_flight_batches=1, max_uploads=2) as world:
        job = await world.submit(40)
        world.script("create", "413")
        for _ in range(60):
            await world.round()
            assert (await live(world))[0] <= 1
            world.advance(MINUTE)
        assert (await world.status(job.id)).job.requests.succeeded == 40


@in_a_loop
async def test_jobs_share_the_window_by_priority(tmp_path: Path) -> None:
    """A job of twice the priority has about twice as much in flight."""
    machine = MachineSettings(batch_seconds=(36_000, 36_001))
    async with new_world(
        tmp_path / "store.db", machine=machine, max_requests=10, max_in_flight_requests=300, max_uploads=4
    ) as world:
        low = await world.submit(500, name="low", priority=10)
        high = await world.submit(500, name="high", priority=20)
        await world.tick(*["plan", "submit"] * 10)
        shares = [sum(batch.count for batch in await world.batches(job.id)) for job in (low, high)]
        assert shares == [100, 200]


@in_a_loop
async def test_a_big_job_is_not_starved_by_small_ones(tmp_path: Path) -> None:
    """A job that needs room for a full batch waits for it; smaller ones do not overtake it for ever."""
    async with new_world(tmp_path / "store.db", max_requests=100, max_in_flight_requests=100) as world:
        first = await world.submit(40, name="first")
        await world.tick("plan", "submit")
        big = await world.submit(100, name="big")
        for number in range(3):
            await world.submit(40, name=f"small-{number}")
        await world.tick("plan", "submit")
        assert await world.states(first.id) == ["in_progress"]
        await world.settle()
        started = [batch.id for job in (big,) for batch in await world.batches(job.id)]
        assert started == [2]


@in_a_loop
async def test_a_paused_jobs_planned_batches_do_not_keep_others_from_being_planned(tmp_path: Path) -> None:
    """What waits for a person must not stop what does not."""
    async with new_world(tmp_path / "store.db", max_requests=5, max_uploads=2) as world:
        stuck = await world.submit(100, name="stuck")
        await world.tick("plan")
        assert len(await world.batches(stuck.id)) == 4
        await world.commands.pause(stuck.id)
        other = await world.submit(20, name="other")
        await world.settle()
        assert (await world.status(other.id)).job.state == "finished"


def small_source(count: int) -> object:
    """An open source of *count* requests."""
    requests = [{"custom_id": f"r{i}", "params": message(f"open {i}")} for i in range(1, count + 1)]
    return source_from_objects(requests, name="<open>", rules=ParamRules(api_version=API_VERSION))


@in_a_loop
async def test_an_open_job_lingers_for_more_and_sends_full_batches_at_once(tmp_path: Path) -> None:
    """`linger`: a job that still grows does not send crumbs; what is full goes out; `close` sends the rest."""
    async with new_world(tmp_path / "store.db", max_requests=10, linger=timedelta(seconds=60)) as world:
        new = NewJob(name="open", source="<open>", api_version=API_VERSION, betas=(), still_open=True)
        taken = await world.commands.ingest(small_source(4), new, IngestOptions(force_new=True))  # type: ignore[arg-type]
        assert taken.job is not None
        job = taken.job.id
        assert await world.tick("plan") == 0
        params = b'{"model":"claude-haiku-4-5","max_tokens":5,"messages":[]}'
        lines = [InputLine(i, f"r{i}", params) for i in range(5, 16)]
        await world.commands.add(job, lines)
        assert await world.tick("plan") == 1
        world.advance(timedelta(seconds=59))
        assert await world.tick("plan") == 0
        world.advance(timedelta(seconds=2))
        assert await world.tick("plan") == 1
        await world.commands.add(job, [InputLine(16, "r16", params)])
        assert await world.tick("plan") == 0
        await world.commands.close(job)
        assert await world.tick("plan") == 1
        assert [batch.count for batch in await world.batches(job)] == [10, 5, 1]


@in_a_loop
async def test_however_many_jobs_wait_for_more_others_pass(tmp_path: Path) -> None:
    """L13. Jobs are looked at by the page: a later page is reached when the earlier ones have nothing to plan."""
    async with new_world(tmp_path / "store.db", linger=timedelta(hours=1)) as world:
        new = NewJob(name="open", source="<open>", api_version=API_VERSION, betas=(), still_open=True)
        for _ in range(70):
            await world.commands.ingest(small_source(1), new, IngestOptions(force_new=True))  # type: ignore[arg-type]
        ready = [(await world.submit(2, name=f"ready {number}")).id for number in range(3)]
        assert await world.tick("plan") == 3
        assert [len(await world.batches(job)) for job in ready] == [1, 1, 1]


@in_a_loop
async def test_a_lingering_job_lets_others_pass_when_the_window_is_nearly_full(tmp_path: Path) -> None:
    """A job that may still grow does not hold the room that another could use now."""
    async with new_world(
        tmp_path / "store.db", max_requests=10, max_in_flight_requests=10, linger=timedelta(hours=1)
    ) as world:
        first = await world.submit(7, name="first")
        await world.tick("plan", "submit")
        new = NewJob(name="open", source="<open>", api_version=API_VERSION, betas=(), still_open=True)
        await world.commands.ingest(small_source(4), new, IngestOptions(force_new=True))  # type: ignore[arg-type]
        second = await world.submit(3, name="second")
        await world.tick("plan", "submit")
        assert await world.states(first.id) == await world.states(second.id) == ["in_progress"]


class SlowUploads:
    """The API, but the first create stands still until it is told to go on."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def create(self, body: CreateBody, headers: Headers) -> CreateAnswer:
        """Wait, if this is the first; then send."""
        if not self.began.is_set():
            self.began.set()
            await self.go_on.wait()
        answer: CreateAnswer = await self._inner.create(body, headers)
        return answer


@in_a_loop
async def test_what_is_planned_while_an_upload_stands_still_goes_out_through_another_slot(tmp_path: Path) -> None:
    """Uploads are a sliding window, not waves: a slow one keeps nobody else waiting."""

    def slowly(context: Context) -> Context:
        return replace(context, provider=SlowUploads(context.provider))

    async with new_world(tmp_path / "store.db", max_requests=10, wrap=slowly) as world:
        slow = await world.submit(10, name="slow")
        await world.tick("plan")
        api = world.context.provider
        assert isinstance(api, SlowUploads)
        async with asyncio.TaskGroup() as group:
            group.create_task(world.turns.uploads.work(0))
            await api.began.wait()
            assert await world.turns.uploads.work(1) == 0
            quick = await world.submit(10, name="quick")
            await world.tick("plan")
            assert await world.turns.uploads.work(1) == 1
            assert await world.states(slow.id) == ["submitting"]
            assert await world.states(quick.id) == ["in_progress"]
            assert await world.tick("recover") == 0
            api.go_on.set()
        assert await world.states(slow.id) == ["in_progress"]


@pytest.mark.parametrize(("limit", "sent"), [(100, 4), (1, 1)])
@in_a_loop
async def test_slots_that_begin_together_ask_the_api_only_for_what_they_may_send(
    tmp_path: Path, limit: int, sent: int
) -> None:
    """Promise 5: after a create that failed one goes first, and the last place in the window is one batch's."""
    async with new_world(tmp_path / "store.db", max_requests=10, max_uploads=4, max_in_flight_batches=4) as world:
        job = await world.submit(40)
        await world.tick("plan")
        assert await world.states(job.id) == ["planned"] * 4
        world.context.settings = replace(world.context.settings, max_in_flight_batches=limit)
        await Gates(world.context).shut("create", "a connection that was reset", None)
        world.advance(timedelta(minutes=1))
        before = world.machine.calls["list"]
        await world.tick("submit")
        assert (world.creates, world.machine.calls["list"] - before) == (sent, sent)


@in_a_loop
async def test_a_body_of_many_megabytes_is_streamed_in_pieces_that_fit_together(tmp_path: Path) -> None:
    """Promise 8: exact to the byte also where it comes out of the store slice by slice."""
    async with new_world(tmp_path / "store.db", max_bytes=20_000_000) as world:
        params = [message(f"{i} " + "x" * (i * 3000)) for i in range(1, 81)]
        job = await world.submit(params=params)
        await world.settle()
        (batch,) = await world.batches(job.id)
        assert batch.size_bytes > 9_000_000
        assert (await world.status(job.id)).job.requests.succeeded == 80


@in_a_loop
async def test_a_clock_set_back_does_not_make_an_open_job_linger_for_a_day(tmp_path: Path) -> None:
    """Our clock may be wrong by a day between two lives."""
    async with new_world(tmp_path / "store.db", linger=timedelta(seconds=60)) as world:
        new = NewJob(name="open", source="<open>", api_version=API_VERSION, betas=(), still_open=True)
        await world.commands.ingest(small_source(4), new, IngestOptions(force_new=True))  # type: ignore[arg-type]
        world.advance(timedelta(hours=-24), api=timedelta(0))
        assert await world.tick("plan") == 1


@in_a_loop
async def test_what_a_daemon_writes_whose_clock_is_ahead_counts_at_once(tmp_path: Path) -> None:
    """Promise 5: two daemons' times are never quite the same; nobody sends too early in the moment between them."""
    async with new_world(tmp_path / "store.db", linger=timedelta(seconds=60)) as world:
        new = NewJob(name="open", source="<open>", api_version=API_VERSION, betas=(), still_open=True)
        await world.commands.ingest(small_source(4), new, IngestOptions(force_new=True))  # type: ignore[arg-type]
        await Gates(world.context).shut("create", "429", 3)
        world.advance(timedelta(seconds=-1), api=timedelta(0))
        assert await world.tick("plan") == 0
        assert await Gates(world.context).is_shut("create", world.clock.now())


async def whatever_the_row_says(_batch: BatchRow) -> None:
    """For a body that is only read."""


@in_a_loop
async def test_the_bytes_posted_are_what_was_planned_and_params_go_out_untouched(tmp_path: Path) -> None:
    """Plan: ±0 bytes; intake: `params` bytes are kept as they came, odd spacing and escapes included."""
    odd = [
        b'{ "model" : "claude-haiku-4-5","max_tokens":5, "messages":[{"role":"user","content":"\\u00e9 \\/"}] }',
        b'{"max_tokens":5,"messages":[{"role":"user","content":"1e3 \xe2\x80\xa8 x"}],"model":"claude-haiku-4-5"}',
    ]
    async with new_world(tmp_path / "store.db") as world:
        new = NewJob(name="open", source="<open>", api_version=API_VERSION, betas=(), still_open=True)
        taken = await world.commands.ingest(small_source(1), new, IngestOptions(force_new=True))  # type: ignore[arg-type]
        assert taken.job is not None
        await world.commands.add(taken.job.id, [InputLine(i, f"x{i}", params) for i, params in enumerate(odd, 2)])
        await world.commands.close(taken.job.id)
        await world.tick("plan")
        (batch,) = await world.store.submit.sendable(1)
        await world.tick("submit")
        bought = [row.params_sha256 for row in world.machine.ledger()]
        assert bought[1:] == [sha256(params).hexdigest() for params in odd]
        body = b"".join([chunk async for chunk in BatchBody(world.store.params, batch, whatever_the_row_says).chunks()])
        assert len(body) == batch.size_bytes
        assert json.loads(body)["requests"][2]["custom_id"] == f"{batch.nonce}-3"
