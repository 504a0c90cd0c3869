"""What is told of the prompt cache in the life of a job: who waits, what was read, and what is too short."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from engine.test_adding_markers import alike
from engine.test_caching import LONG, WIDE, cost, counts, marked
from support.world import World, in_a_loop, new_world

from orchestrator.domain.ids import JobId
from orchestrator.domain.priming import PATIENCE
from orchestrator.domain.spending import CacheReport
from orchestrator.ports.reads import Reads
from orchestrator.sandbox.sandbox_settings import MachineSettings
from orchestrator.views.cost_views import report_lines

SLOW: Final = MachineSettings(batch_seconds=(80_000, 86_000))


def _report(job: JobId, reads: Reads) -> CacheReport:
    return reads.cost(reads.get(job)).cache


async def report(world: World, job: JobId) -> CacheReport:
    """What is told of the job."""
    return await world.store.read(partial(_report, job))


@in_a_loop
async def test_who_waits_is_told_with_the_batch_that_went_ahead(tmp_path: Path) -> None:
    """And when it is over, what each prefix read and wrote: together, what the answers were billed."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        pairs = zip(marked(60), marked(60, f"2 {LONG}"), strict=True)
        job = await world.submit(params=[row for pair in pairs for row in pair])
        assert (await report(world, job.id)).waiting == 0
        await world.tick("plan")
        ahead = await report(world, job.id)
        assert (ahead.waiting, ahead.waits_for) == (118, 1)
        assert next(report_lines(ahead)) == "118 requests wait for batch 1, which went ahead"
        await world.settle()
        done, total = await report(world, job.id), await cost(world, job.id)
        assert (done.waiting, done.waits_for, done.below_minimum) == (0, None, 0)
        assert [use.requests for use in done.prefixes] == [60, 60]
        assert [use.part for use in done.prefixes] == ["system", "system"]
        for use in done.prefixes:
            assert use.read == 59 * use.written > 0
        read, written = (sum(each) for each in zip(*((use.read, use.written) for use in done.prefixes), strict=True))
        assert total.hit_rate == read / (read + written)
        assert next(report_lines(done)).endswith(" tokens (system): 98 % read")


@in_a_loop
async def test_what_is_too_short_for_its_model_is_counted(tmp_path: Path) -> None:
    """Marked by its sender, or where a marker would be added; nothing waits for it, and nothing is kept of it."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        short = "word " * 1_000
        mixed = [*marked(4, short), *marked(3)]
        for rows, cache in ((mixed, "prime"), ([*alike(4, short), *alike(3)], "auto")):
            job = await world.submit(params=rows, name=cache, cache=cache)
            found = await report(world, job.id)
            assert (found.below_minimum, [use.requests for use in found.prefixes]) == (4, [3])
            assert list(report_lines(found))[-1] == (
                "4 requests with too short a beginning for the model: nothing is kept of it"
            )
        off = await world.submit(params=mixed, name="off", cache="off")
        assert await report(world, off.id) == CacheReport()


@in_a_loop
async def test_what_goes_ahead_is_not_waited_for_without_end(tmp_path: Path) -> None:
    """After three hours the rest goes: as it is, and with no marker that is not its own."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE, machine=SLOW) as world:
        own = await world.submit(params=marked(40), name="own")
        added = await world.submit(params=alike(40, f"2 {LONG}"), name="added", cache="auto")
        await world.until("in_progress", own.id)
        world.advance(PATIENCE - timedelta(minutes=5))
        await world.tick("plan")
        assert await counts(world, own.id) == await counts(world, added.id) == [1]
        world.advance(timedelta(minutes=10))
        await world.tick("plan")
        assert await counts(world, own.id) == await counts(world, added.id) == [1, 39]
        assert (await report(world, own.id)).waiting == 0
        last = (await world.batches(added.id))[-1]
        sent = await world.store.params.slice(last.id, 0, 1 << 30)
        assert not any(b"cache_control" in params for _, params in sent)
