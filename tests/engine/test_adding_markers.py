"""With cache `auto` a marker is added to what requests share when they are sent; what is stored stays the user's."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from engine.test_caching import LONG, MARK, WIDE, cost, counts, marked, told
from engine.test_caps import CENT
from support.world import IMPATIENT, World, in_a_loop, message, new_world, next_life, sha256_of

from orchestrator.domain import errors
from orchestrator.domain.cache_marker import MARKER_BYTES, with_marker
from orchestrator.domain.cache_prefix import Part
from orchestrator.domain.ids import JobId
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.limits import body_bytes, item_bytes
from orchestrator.domain.model import BatchRow
from orchestrator.domain.params import ParamRules
from orchestrator.domain.queries import RequestDetails
from orchestrator.inputs import source_from_objects
from orchestrator.ports.engine import IngestOptions
from orchestrator.ports.reads import Reads
from orchestrator.ports.streams import InputLine
from orchestrator.sandbox.sandbox_settings import MachineSettings

TOOLS: Final = [{"name": "look", "description": LONG, "input_schema": {"type": "object"}}]


def alike(count: int, text: str = LONG, **more: object) -> list[dict[str, object]]:
    """Requests that share a system prompt, and mark nothing."""
    return [{**message(f"question {number}"), "system": text, **more} for number in range(count)]


async def stored(world: World, job: JobId, count: int) -> list[bytes]:
    """The params of the job's requests as the store has them."""
    found = []
    for number in range(1, count + 1):
        looked = await world.store.read(partial(_request, job, f"r{number}"))
        found.append(bytes(looked.params or b""))
    return found


def _request(job: JobId, custom_id: str, reads: Reads) -> RequestDetails:
    return reads.request(job, custom_id)


async def until_planned_behind_the_first(world: World, job: JobId) -> None:
    """Until the one that goes ahead was answered and the others are planned; nothing of them is sent."""
    await world.until("in_progress", job)
    while len(await counts(world, job)) == 1:
        await world.tick(*(stage for stage in world.stages if stage != "submit"))
        world.advance(timedelta(minutes=1))


@in_a_loop
async def test_a_marker_is_added_on_the_way_and_nothing_that_is_stored_has_one(tmp_path: Path) -> None:
    """The same in every request; they are sent as marked ones are, and what is stored and hashed is the user's."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        rows = alike(120)
        job = await world.submit(params=rows, cache="auto")
        await world.settle()
        assert await counts(world, job.id) == [1, 100, 19]
        found = await cost(world, job.id)
        assert found.hit_rate is not None
        assert found.hit_rate > 0.99
        mine = await stored(world, job.id, 120)
        assert [json.loads(each) for each in mine] == rows
        assert set(world.bought()) == {sha256_of(with_marker(each, Part.SYSTEM).rstrip()) for each in mine}
        assert [line["custom_id"] for line in await world.results(job.id)] == [f"r{n}" for n in range(1, 121)]
        same = await world.submit(params=rows, name="plain")
        assert job.content_hash == same.content_hash


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"system": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": LONG}]}, "system"),
        ({"system": "Be kind.", "tools": TOOLS}, "system"),
        ({"system": "", "tools": TOOLS}, "tools"),
    ],
)
@in_a_loop
async def test_the_marker_stands_at_the_end_of_what_they_share(tmp_path: Path, more: Any, part: str) -> None:
    """Of the system prompt, whatever its form; of the tools where there is none, for an empty text takes no marker."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        job = await world.submit(params=[{**message(f"{number}"), **more} for number in range(40)], cache="auto")
        await world.tick("plan")
        (batch,) = await world.batches(job.id)
        ((_, params),) = await world.store.params.slice(batch.id, 0, 1 << 20)
        sent = json.loads(params)
        assert sent[part][-1]["cache_control"] == MARK["cache_control"]
        assert params.count(b"cache_control") == 1
        await world.settle()
        assert await counts(world, job.id) == [1, 39]
        assert ((await cost(world, job.id)).hit_rate or 0) > 0.95


@in_a_loop
async def test_what_a_first_message_leads_with_is_marked_where_they_share_it(tmp_path: Path) -> None:
    """The book is shared, and each asks a question of its own."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        book = {"type": "text", "text": LONG}
        rows = [
            message("", messages=[{"role": "user", "content": [book, {"type": "text", "text": f"question {number}"}]}])
            for number in range(40)
        ]
        job = await world.submit(params=rows, cache="auto")
        await world.settle()
        assert await counts(world, job.id) == [1, 39]
        assert ((await cost(world, job.id)).hit_rate or 0) > 0.95


@pytest.mark.parametrize(
    "params",
    [
        alike(2),
        alike(40, "word " * 1_000),
        [{**message("question"), "system": f"{number} {LONG}"} for number in range(40)],
        alike(3, "word " * 4_000, model="claude-haiku-5-5"),
    ],
    ids=["too few", "too short", "each its own", "saves too little"],
)
@in_a_loop
async def test_nothing_is_marked_where_it_would_save_nothing(tmp_path: Path, params: list[dict[str, object]]) -> None:
    """A marker that nobody else reads doubles the price of what it marks."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        job = await world.submit(params=params, cache="auto")
        await world.settle()
        assert await counts(world, job.id) == [len(params)]
        assert (await cost(world, job.id)).hit_rate is None


@in_a_loop
async def test_a_marked_request_is_its_bytes_longer_in_the_plan_and_on_the_wire(tmp_path: Path) -> None:
    """The limit on bytes counts them: 40 requests that would fit without markers take two batches."""
    rows = alike(41)
    async with new_world(tmp_path / "plain.db", max_bytes=WIDE) as world:
        job = await world.submit(params=rows[1:])
        await world.tick("plan")
        (batch,) = await world.batches(job.id)
        size = batch.size_bytes
    async with new_world(tmp_path / "store.db", max_bytes=size + 39 * MARKER_BYTES + 2) as world:
        job = await world.submit(params=rows, cache="auto")
        await world.tick("plan")
        (first,) = await world.batches(job.id)
        ((number, params),) = await world.store.params.slice(first.id, 0, 1 << 20)
        assert first.size_bytes == body_bytes(item_bytes(len(params), number), 1)
        await until_planned_behind_the_first(world, job.id)
        assert await counts(world, job.id) == [1, 39, 1]
        await world.settle()


@in_a_loop
async def test_requests_with_markers_of_their_own_are_refused_by_line_and_field(tmp_path: Path) -> None:
    """Nothing is stored; an open job takes none of them either."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        rows = [*alike(3), *marked(1), message("end", **MARK)]
        source = source_from_objects(
            [{"custom_id": f"r{number}", "params": row} for number, row in enumerate(rows)],
            name="<own>",
            rules=ParamRules(api_version="2026-10-21"),
        )
        new = NewJob(name="own", source="<own>", api_version="2026-10-21", cache="auto")
        taken = await world.commands.ingest(source, new, IngestOptions())
        assert taken.job is None
        (problem,) = taken.problems
        assert (problem.line, problem.field, taken.problem_count) == (4, "params.system.0.cache_control", 1)
        assert problem.message == (
            "is a marker of its own, and with cache auto markers are added: 2 lines have it (4, 5)"
        )
        assert problem.remedy.startswith("remove it, or use cache prime")
        growing = await world.store.ingest.begin(new, "own-1", world.clock.now())
        with pytest.raises(errors.InputError, match=r"request 'r9': params\.cache_control is a marker of its own"):
            await world.commands.add(growing.id, [InputLine(1, "r9", msgspec.json.encode(message("end", **MARK)))])


@in_a_loop
async def test_markers_are_no_more_added_once_they_cost_more_than_none(tmp_path: Path) -> None:
    """Batches take longer than the API keeps a prefix: what has a marker finds nothing, so the rest goes as it came.

    So does the second: the first takes too long to be waited for, and nobody knows yet whether it wrote anything. Then
    one more goes ahead, and is forgotten as well when it is seen to have ended.
    """
    slow = MachineSettings(batch_seconds=(14_500, 15_000))  # seen two hours later, whichever row began last
    async with new_world(
        tmp_path / "store.db", machine=slow, max_bytes=WIDE, max_requests=40, max_in_flight_batches=2
    ) as world:
        job = await world.submit(params=alike(300), cache="auto")
        await world.settle(step=timedelta(hours=2))
        (why,) = await told(world, "cache.poor")
        assert why.startswith("0% of the marked tokens were found in the cache: it cost $")
        assert why.endswith(" more than without; no marker is added any more")
        sent = [await bare_bytes(world, batch) for batch in await world.batches(job.id)]
        assert sent == [MARKER_BYTES, 0, MARKER_BYTES, *(0 for _ in sent[3:])]


async def bare_bytes(world: World, batch: BatchRow) -> int:
    """How many bytes markers have in a batch."""
    query = "SELECT coalesce(sum(params_bytes), 0) FROM request WHERE batch_id = ?"
    bare: int = await world.store._database.read(lambda c: c.execute(query, (batch.id,)).fetchone()[0])
    sent = await world.store.params.slice(batch.id, 0, 1 << 30)
    return sum(len(params) for _, params in sent) - bare


@in_a_loop
async def test_a_batch_is_sent_again_with_the_very_bytes(tmp_path: Path) -> None:
    """After a pause, a crash, and a refusal that halves it; what never came to be goes anew, and nothing is lost."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE, patience=IMPATIENT) as world:
        world.script("create", "529")
        job = await world.submit(params=alike(40), cache="auto")
        await until_planned_behind_the_first(world, job.id)
        async with next_life(world) as second:
            second.script("create", "413")
            second.script("create", "drop")
            await second.settle()
            done = (await second.status(job.id)).job.requests
            assert (done.succeeded, done.total) == (40, 40)
            assert set(second.bought().values()) == {1}
            assert (await counts(second, job.id))[:4] == [1, 39, 19, 20]


@in_a_loop
async def test_under_a_cap_a_marked_request_is_reserved_as_written(tmp_path: Path) -> None:
    """All of it, at the price of an hour in the cache: twice what the same request is reserved without a marker."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        plain = await world.submit(params=alike(40), name="plain")
        job = await world.submit(params=alike(40), cache="auto")
        for each in (plain, job):
            await world.store.budgets.cap_job(each.id, 10_000 * CENT, world.clock.now())
        await world.tick("plan")
        (bare,), (marked_,) = await world.batches(plain.id), await world.batches(job.id)
        assert 1.9 < (await worst(world, marked_)) / (await worst(world, bare)) < 2.1
        await world.settle()
        assert await counts(world, job.id) == [1, 39]


async def worst(world: World, batch: BatchRow) -> float:
    """Nano-dollars that a request of *batch* is reserved, on average."""
    query = "SELECT worst_nanos FROM batch WHERE id = ?"
    found: int = await world.store._database.read(lambda c: c.execute(query, (batch.id,)).fetchone()[0])
    return found / batch.count
