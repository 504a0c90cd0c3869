"""Identical requests are sent once where a job says so: the others, its twins, end as it does, and cost nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from engine.test_caching import WIDE, marked
from support.world import API_VERSION, World, in_a_loop, message, new_world, next_life

from orchestrator.domain.fingerprint import fingerprint_of
from orchestrator.domain.ids import JobId, number_of, request_id
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobRow
from orchestrator.domain.params import ParamRules
from orchestrator.domain.queries import SettledCursor
from orchestrator.inputs import source_from_objects
from orchestrator.ports.engine import IngestOptions
from orchestrator.ports.streams import InputLine
from orchestrator.store import audit, estimates
from orchestrator.store.twin_intake import Portions, TwinIntake


def alike(*kinds: int) -> list[dict[str, object]]:
    """Params, which are identical where the numbers are."""
    return [message(f"question {kind}") for kind in kinds]


async def submitted(world: World, *kinds: int, **more: object) -> JobRow:
    """A job of `alike`, whose identical requests are sent once."""
    return await world.submit(params=alike(*kinds), dedupe=True, **more)  # type: ignore[arg-type]


async def shown(world: World, job: JobId) -> list[tuple[str, object, object]]:
    """(custom_id, kind of the result, reused_from) of each settled request."""
    rows = await world.store.read(lambda reads: reads.results(job, above=0, limit=10_000))
    lines = await world.results(job)
    assert [row.reused_from for row in rows] == [line.get("reused_from") for line in lines]
    return [(row.custom_id, str(row.state), row.reused_from) for row in rows]


async def refuse_contradictions(world: World) -> None:
    """The audit of `db check` finds nothing."""
    assert await world.store._database.read(lambda c: list(audit.contradictions(c))) == []


async def sent(world: World, job: JobId) -> list[int]:
    """The numbers of the requests in batches of *job*."""
    batches = await world.batches(job)
    return sorted([n for batch in batches for n, _ in await world.store.params.slice(batch.id, 0, 1 << 30)])


async def costs(world: World, job: JobId) -> list[int | None]:
    """What each settled request cost."""
    rows = await world.store.read(lambda reads: reads.results(job, above=0, limit=10_000))
    return [row.cost_nanos for row in rows]


async def answered(world: World, job: JobId) -> None:
    """Send what may be sent, and let the API end all of it."""
    await world.tick("plan", "submit")
    while set(await world.states(job)) != {"ended"}:
        world.advance(timedelta(minutes=1))
        await world.tick("poll")


@in_a_loop
async def test_of_a_thousand_of_which_400_are_identical_601_are_sent_and_all_are_answered(tmp_path: Path) -> None:
    """The example of the docs: 399 show the answer of the first, and cost nothing, which is known."""
    async with new_world(tmp_path / "store.db") as world:
        kinds = [number if number % 5 < 3 else 0 for number in range(1, 1_001)]
        job = await submitted(world, *kinds)
        assert (job.requests.total, job.twins, job.twins_waiting) == (1_000, 399, 399)
        await world.settle()
        assert list(world.bought().values()) == [1] * 601
        found = await shown(world, job.id)
        assert {state for _, state, _ in found} == {"succeeded"}
        first = kinds.index(0) + 1
        assert [reused for _, _, reused in found] == [
            f"r{first}" if kind == 0 and number > first else None for number, kind in enumerate(kinds, 1)
        ]
        lines = await world.results(job.id)
        assert all(line["result"] == lines[first - 1]["result"] for line in lines if "reused_from" in line)
        paid = await costs(world, job.id)
        assert [cost for cost, (_, _, reused) in zip(paid, found, strict=True) if reused] == [0] * 399
        status = await world.status(job.id)
        assert status.cost is not None
        assert status.cost.unpriced == 0
        assert status.cost.nanos == sum(cost for cost in paid if cost) == world.machine.bill().total_nanos
        assert status.stop_reasons == {"end_turn": 1_000}
        assert (status.job.requests.succeeded, status.job.twins_waiting) == (1_000, 0)
        await refuse_contradictions(world)


@in_a_loop
async def test_nothing_is_reused_where_a_job_does_not_say_so(tmp_path: Path) -> None:
    """People want samples: identical requests are sent as often as they were handed in."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(params=alike(1, 1, 1))
        await world.settle()
        assert await shown(world, job.id) == [(f"r{n}", "succeeded", None) for n in (1, 2, 3)]
        assert sorted(world.bought().values()) == [3]


@in_a_loop
async def test_twins_wait_until_the_batch_of_their_original_is_collected(tmp_path: Path) -> None:
    """They are in no batch, nobody plans for them, and none ends before its original."""
    async with new_world(tmp_path / "store.db") as world:
        job = await submitted(world, 1, 2, 1, 2, 1)
        await answered(world, job.id)
        assert await sent(world, job.id) == [1, 2]
        assert await world.store.plan.plannable(limit=10) == []
        assert await shown(world, job.id) == []
        await world.settle()
        assert [reused for _, _, reused in await shown(world, job.id)] == [None, None, "r1", "r2", "r1"]


@in_a_loop
async def test_twins_fail_as_their_original_does_and_go_again_with_it(tmp_path: Path) -> None:
    """With the same error; a retry sends the original alone, and the others get what it gets then."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"invalid": 1.0})
        job = await submitted(world, 1, 1, 2, 1)
        await world.settle()
        found = await world.store.commands.get(job.id)
        assert (found.state, found.requests.failed) == ("finished", 4), found
        assert [state for _, state, _ in await shown(world, job.id)] == ["failed"] * 4
        lines = await world.results(job.id)
        assert lines[0]["result"] == lines[1]["result"] == lines[3]["result"]
        assert await costs(world, job.id) == [0, 0, 0, 0]
        await refuse_contradictions(world)
        world.machine.plan.set({})
        assert await world.commands.retry(job.id, ()) == 4
        assert (await world.store.commands.get(job.id)).twins_waiting == 2
        await world.settle()
        assert [(state, reused) for _, state, reused in await shown(world, job.id)] == [
            ("succeeded", None),
            ("succeeded", "r1"),
            ("succeeded", None),
            ("succeeded", "r1"),
        ]
        await refuse_contradictions(world)


@in_a_loop
async def test_a_twin_of_a_request_that_no_batch_takes_fails_with_it(tmp_path: Path) -> None:
    """What alone is over the byte limit fails where it is planned: its twins follow when nothing else is left."""
    async with new_world(tmp_path / "store.db", max_bytes=300) as world:
        long = message("word " * 100)
        job = await world.submit(params=[long, *alike(1), long], dedupe=True)
        await world.settle(rounds=40)
        assert [(state, reused) for _, state, reused in await shown(world, job.id)] == [
            ("failed", None),
            ("succeeded", None),
            ("failed", "r1"),
        ]
        await refuse_contradictions(world)


@in_a_loop
async def test_a_cancel_ends_twins_as_their_originals_end(tmp_path: Path) -> None:
    """Those of what was never sent are canceled; those of what was answered before the cancel have the answer."""
    async with new_world(tmp_path / "store.db", max_requests=1, max_in_flight_batches=1) as world:
        job = await submitted(world, 1, 2, 1, 2)
        await answered(world, job.id)
        assert await world.commands.cancel(job.id)
        await world.settle()
        assert await shown(world, job.id) == [
            ("r1", "succeeded", None),
            ("r2", "canceled", None),
            ("r3", "succeeded", "r1"),
            ("r4", "canceled", "r2"),
        ]
        assert (await world.store.commands.get(job.id)).state == "canceled"
        await refuse_contradictions(world)
        assert await world.commands.retry(job.id, ("canceled",)) == 2
        await world.settle()
        assert [state for _, state, _ in await shown(world, job.id)] == ["succeeded"] * 4
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_a_crash_between_original_and_twins_leaves_the_twins_for_the_next_life(tmp_path: Path) -> None:
    """Every answer is stored, nothing of the batch is settled, and the process is gone: the next one ends the twins."""
    async with new_world(tmp_path / "store.db") as world:
        job = await submitted(world, 1, 1, 1)
        await answered(world, job.id)
        await world.tick("collect")
        assert [state for _, state, _ in await shown(world, job.id)] == ["succeeded"]
        async with next_life(world) as second:
            await second.settle()
            assert [reused for _, _, reused in await shown(second, job.id)] == [None, "r1", "r1"]
            assert (await second.store.commands.get(job.id)).state == "finished"
            await refuse_contradictions(second)


def lines(*kinds: int, above: int) -> Sequence[InputLine]:
    """Requests of an open job, from `r<above+1>` on."""
    return [
        InputLine(line=number, custom_id=f"r{number}", params=json.dumps(params).encode())
        for number, params in enumerate(alike(*kinds), above + 1)
    ]


@in_a_loop
async def test_what_an_open_job_is_given_later_is_held_against_all_that_it_has(tmp_path: Path) -> None:
    """One that is answered already is answered at once; one that waits is waited for; and a reader misses neither."""
    async with new_world(tmp_path / "store.db") as world:
        job = await submitted(world, 1, 2, 1, still_open=True)
        await world.until("settled", job.id)
        reader = await world.store.read(lambda reads: reads.settled_results(job.id, after=SettledCursor(), limit=100))
        assert [row.custom_id for row in reader[0]] == ["r1", "r2", "r3"]
        await world.commands.add(job.id, lines(2, 3, 3, 1, above=3))
        assert [row[::2] for row in await shown(world, job.id)][3:] == [("r4", "r2"), ("r7", "r1")]
        assert (await world.store.commands.get(job.id)).twins_waiting == 1
        await world.commands.close(job.id)
        await world.settle()
        assert [reused for _, _, reused in await shown(world, job.id)][3:] == ["r2", None, "r5", "r1"]
        after, later = reader[1], list[str]()
        while True:
            rows, after = await world.store.read(lambda reads: reads.settled_results(job.id, after=after, limit=2))  # noqa: B023 - read at once
            if not rows:
                break
            later += [row.custom_id for row in rows]
        assert sorted(later) == ["r4", "r5", "r6", "r7"]
        assert set(world.bought().values()) == {1}
        await refuse_contradictions(world)


@in_a_loop
async def test_twins_are_answered_with_the_batch_of_their_original_while_others_are_under_way(tmp_path: Path) -> None:
    """In the order in which batches settle as well: a reader of that gets each with its original."""
    async with new_world(tmp_path / "store.db", max_requests=1, max_in_flight_batches=1) as world:
        job = await submitted(world, 1, 2, 1)
        await answered(world, job.id)
        await world.tick("collect", "settle")
        assert (await world.store.commands.get(job.id)).requests.queued == 1
        rows, _ = await world.store.read(lambda reads: reads.settled_results(job.id, after=SettledCursor(), limit=9))
        assert [(row.custom_id, row.reused_from) for row in rows] == [("r1", None), ("r3", "r1")]
        await world.settle()


@in_a_loop
async def test_what_is_not_sent_is_in_no_estimate_no_prefix_and_no_pilot(tmp_path: Path) -> None:
    """The estimate and the bound are those of what is sent, the lot draws no twin, and no twin counts for a prefix."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        once = await world.submit(params=[*marked(10), *alike(*range(20))])
        twice = await world.submit(
            params=[*marked(10), *marked(10), *alike(*range(20)), *alike(*range(20))], name="twice", dedupe=True
        )
        assert (twice.twins, twice.to_send) == (30, 30)
        kept = [await world.store._database.read(partial(estimates.kept, job.id)) for job in (once, twice)]
        assert kept[0] == kept[1]
        assert kept[0] is not None
        shared = [await world.store.ingest.shared(job.id) for job in (once, twice)]
        assert shared[0] == shared[1] != []
        piloted = await submitted(world, *[0] * 300, *range(1, 31), name="piloted", pilot=30)
        drawn = [member.number for member in await world.store.prefixes.piloted(piloted.id, 1_000)]
        assert len(drawn) == 30
        assert set(drawn) <= {1, *range(301, 331)}
        everything = await submitted(world, 1, 1, 1, 2, name="all", pilot=2)
        assert everything.pilot is None


@in_a_loop
async def test_a_cap_is_asked_for_what_is_sent_alone(tmp_path: Path) -> None:
    """A cap for one request is enough for a hundred that are identical."""
    async with new_world(tmp_path / "store.db") as world:
        job = await submitted(world, *[1] * 100, max_cost="0.001")
        await world.settle()
        found = await world.store.commands.get(job.id)
        assert (found.state, found.requests.succeeded, found.twins_succeeded) == ("finished", 100, 99)
        await refuse_contradictions(world)


@in_a_loop
async def test_a_request_that_was_left_out_of_the_import_is_nobodys_original(tmp_path: Path) -> None:
    """Its custom id repeats another's; the next of the same params is sent in its place."""
    async with new_world(tmp_path / "store.db") as world:
        ids = ["a", "a", "b", "c"]
        requests = [{"custom_id": own, "params": body} for own, body in zip(ids, alike(1, 2, 2, 2), strict=True)]
        source = source_from_objects(requests, name="<left>", rules=ParamRules(api_version=API_VERSION))
        new = NewJob(name="left", source="<left>", api_version=API_VERSION, dedupe=True)
        taken = await world.commands.ingest(source, new, IngestOptions(skip_bad=True))
        assert taken.job is not None
        assert (taken.refused, taken.job.twins) == (1, 1)
        await world.settle(rounds=40)
        assert await shown(world, taken.job.id) == [
            ("a", "succeeded", None),
            ("b", "succeeded", None),
            ("c", "succeeded", "b"),
        ]
        await refuse_contradictions(world)


@in_a_loop
async def test_spaces_between_tokens_make_no_difference_and_the_order_of_keys_does(tmp_path: Path) -> None:
    """As the docs say; what is sent are the bytes of the first."""
    async with new_world(tmp_path / "store.db") as world:
        job = await submitted(world, 1, still_open=True)
        body = alike(1)[0]
        spaced, turned = json.dumps(body, indent=2), json.dumps(dict(reversed(body.items())))
        more = [
            InputLine(line=n, custom_id=f"r{n}", params=text.encode()) for n, text in enumerate((spaced, turned), 2)
        ]
        await world.commands.add(job.id, more)
        assert (await world.store.commands.get(job.id)).twins == 1
        assert fingerprint_of(spaced.encode()) == fingerprint_of(json.dumps(body).encode())
        assert fingerprint_of(rb'{"half": "\ud83d"}') != fingerprint_of(rb'{"half":"\ud83d"}')


@in_a_loop
async def test_an_import_of_many_runs_finds_what_is_identical_in_all_of_them(tmp_path: Path) -> None:
    """Runs are merged a portion at a time, and marked in slices: small ones here, which end inside a group."""
    async with new_world(tmp_path / "store.db") as world:
        kinds = [n * n % 13 for n in range(60)]
        new = NewJob(name="many", source="<many>", api_version=API_VERSION)
        intake = TwinIntake(world.store._database, Portions(run=7, merged=5, held=4, marked=3))
        job = await world.store.ingest.begin(new, "many", world.clock.now())
        intake.begin(job.id)
        for above in range(0, 60, 10):
            some = lines(*kinds[above : above + 10], above=above)
            await world.store.ingest.add(job.id, some, world.clock.now())
            await intake.add(job.id, request_id(job.id, above + 1), some)
        found = [params async for many in intake.find(job.id, stays_open=False) for params in many]
        firsts = {kind: kinds.index(kind) + 1 for kind in kinds}
        wanted = [(n, firsts[kind]) for n, kind in enumerate(kinds, 1) if firsts[kind] != n]
        query = "SELECT id, twin_of FROM request WHERE twin_of IS NOT NULL ORDER BY id"
        marked_ones = await world.store._database.read(lambda c: c.execute(query).fetchall())
        assert [(number_of(key), number_of(original)) for key, original in marked_ones] == wanted
        assert sorted(found) == sorted(line.params for line in lines(*(kinds[n - 1] for n, _ in wanted), above=0))
        left = await world.store._database.read(lambda c: c.execute("SELECT count(*) FROM fingerprint").fetchone()[0])
        assert left == 0
