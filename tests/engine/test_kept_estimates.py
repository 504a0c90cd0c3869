"""The estimate that a job keeps from when it was made, and what is learnt from its answers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from engine.test_caching import LONG, WIDE, marked
from engine.test_paying import rows, usage
from store.store_world import audit
from support.prices import HAIKU_4_5, PriceTable
from support.world import World, in_a_loop, message, new_world

from orchestrator.domain.billing import Tokens, cost_of
from orchestrator.domain.job_estimate import JobEstimate
from orchestrator.domain.known_answers import Observed
from orchestrator.domain.model import JobRow
from orchestrator.observability.telemetry import Meters
from orchestrator.store import estimates


def briefly(count: int) -> list[dict[str, object]]:
    """Requests of one kind."""
    return [message(f"Text {number}", system="Be brief.") for number in range(count)]


async def kept(world: World, job: JobRow) -> JobEstimate | None:
    """What the store keeps of *job*."""
    return await world.store._database.read(lambda c: estimates.kept(job.id, c))


@in_a_loop
async def test_the_second_job_of_a_kind_knows_what_the_first_was_answered(tmp_path: Path) -> None:
    """Exactly: the sums of the answers' tokens, and of their squares. One of another kind goes by its model."""
    async with new_world(tmp_path / "store.db") as world:
        first = await world.submit(params=briefly(7))
        before = await kept(world, first)
        assert before is not None
        assert before.expected_nanos is None
        await world.settle()
        outputs = [tokens.output for tokens in await usage(world)]
        seen = Observed(7, sum(outputs), float(sum(x * x for x in outputs)))
        second = await kept(world, await world.submit(params=briefly(20), name="again"))
        assert second is not None
        assert before.kind == second.kind
        known = await world.store.ingest.known_answers(second.kind, ["claude-haiku-4-5"])
        assert known.of_kind == known.by_model["claude-haiku-4-5"] == seen
        forecast = seen.forecast(20)
        assert forecast is not None
        assert second.expected_nanos == cost_of(Tokens(second.input_tokens, forecast.expected), HAIKU_4_5)
        other = await kept(world, await world.submit(1, params=[{**message("Hi"), "system": "Be polite."}]))
        assert other is not None
        assert "whatever their prompts" in other.basis
        assert audit(tmp_path / "store.db") == []


@in_a_loop
async def test_answers_without_a_price_count_by_their_tokens_once_they_have_one(tmp_path: Path) -> None:
    """Pricing them later moves them to another line, with their squares."""
    async with new_world(tmp_path / "store.db") as world:
        assert isinstance(world.context.prices, PriceTable)
        rates = world.context.prices.rates.pop("claude-haiku-4-5")
        job = await world.submit(params=briefly(3))
        unknown = await kept(world, job)
        assert unknown is not None
        assert (unknown.low_nanos, unknown.high_nanos, unknown.basis) == (None, None, "no price for claude-haiku-4-5")
        await world.settle()
        before = await world.store.ingest.known_answers(unknown.kind, ["claude-haiku-4-5"])
        world.context.prices.rates["claude-haiku-4-5"] = rates
        assert await world.commands.reprice(job.id) == 3
        after = await world.store.ingest.known_answers(unknown.kind, ["claude-haiku-4-5"])
        assert (before.of_kind, before.costs.answers) == (after.of_kind, 0)
        assert after.of_kind.answers == after.costs.answers == 3


@in_a_loop
async def test_a_finished_job_is_held_against_its_estimate(tmp_path: Path) -> None:
    """Once, if there was one: the first has no history. What a job keeps is what was expected when it was made."""
    async with new_world(tmp_path / "store.db") as world:
        meters = world.context.meter = Meters()
        await world.submit(7)
        await world.settle()
        assert sum(count for _, count in meters.estimate_ratios.buckets()) == 0
        job = await world.submit(7, name="again")
        before = await kept(world, job)
        await world.settle()
        assert before is not None
        assert before.expected_nanos
        ((spent,),) = await rows(world, "SELECT max(spent_nanos) FROM job WHERE name = 'again'")
        assert meters.estimate_ratios.buckets()[-1] == ("+Inf", 1)
        assert meters.estimate_ratios.sum == spent / before.expected_nanos
        assert spent != before.expected_nanos
        assert await kept(world, job) == before


@in_a_loop
async def test_a_job_whose_others_may_come_too_late_for_the_cache_is_not_told_ten_times_too_little(
    tmp_path: Path,
) -> None:
    """What is kept for five minutes is read by luck: at first it is reckoned as written, then as it was billed."""
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    brief = [{**row, "system": system} for row in marked(90)]
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        await world.submit(2)
        await world.settle()
        job = await world.submit(params=brief, name="brief")
        written = await kept(world, job)
        await world.settle(step=timedelta(hours=1))  # what went ahead is forgotten when it is seen to have ended
        cost = (await world.status(job.id)).cost
        assert cost is not None
        assert cost.hit_rate == 0
        assert written is not None
        assert written.expected_nanos is not None
        assert 0.6 < written.expected_nanos / cost.nanos < 1.4
        assert "as if each request wrote it" in written.basis
        again = await kept(world, await world.submit(params=brief, name="again"))
        assert again is not None
        assert again.expected_nanos is not None
        assert 0.6 < again.expected_nanos / cost.nanos < 1.4
        assert "as 90 requests of the same kind" in again.basis


@in_a_loop
async def test_a_max_tokens_of_any_length_can_be_handed_in(tmp_path: Path) -> None:
    """It is the API that refuses it; the estimate of the job fits into its row."""
    async with new_world(tmp_path / "store.db") as world:
        found = await kept(world, await world.submit(params=[{**message("Hi"), "max_tokens": 10**30}]))
        assert found is not None
        assert found.high_nanos is not None
        assert found.high_nanos < 10 * 10**9
