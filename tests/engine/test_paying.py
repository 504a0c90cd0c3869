"""What a job costs: by the API's own usage, by the day and the model of the answer, counted once and never guessed."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from store.store_world import audit
from support.prices import HAIKU_4_5, HAIKU_5_5, PriceTable
from support.world import World, in_a_loop, message, new_world, next_life

from orchestrator.domain.billing import Rates, Tokens, cost_of
from orchestrator.domain.spending import SpendBy

HOUR: Final = timedelta(hours=1)
LONG: Final = "word " * 82_000  # more than 100,000 tokens, by the sandbox's four characters each
LINES: Final = """SELECT model, requests, unpriced, write_5m, cost_nanos
  FROM ledger JOIN price ON price.id = price_id"""
USAGE: Final = """SELECT input_tokens, output_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens
  FROM result"""


async def rows(world: World, sql: str) -> list[Any]:
    """What a query of the store finds."""
    return await world.store._database.read(lambda c: c.execute(sql).fetchall())


async def usage(world: World) -> list[Tokens]:
    """The tokens that the API counted, answer by answer."""
    answered = [row for row in await rows(world, USAGE) if row[0] is not None]
    return [Tokens(*(0 if count is None else count for count in row)) for row in answered]


async def spent(world: World) -> tuple[int, int]:
    """What the only job has spent, and of how many requests nobody knows."""
    ((nanos, unpriced),) = await rows(world, "SELECT spent_nanos, unpriced FROM job")
    return nanos, unpriced


async def bill(world: World, rates: Rates) -> int:
    """What the API's counts come to, request by request."""
    return sum(cost_of(tokens, rates) for tokens in await usage(world))


@in_a_loop
async def test_a_job_costs_what_its_answers_cost(tmp_path: Path) -> None:
    """To the nano-dollar; the price is asked for when it is handed in, and once a download."""
    async with new_world(tmp_path / "store.db") as world:
        await world.submit(7)
        await world.settle()
        assert await spent(world) == (await bill(world, HAIKU_4_5), 0)
        assert isinstance(world.context.prices, PriceTable)
        assert world.context.prices.asked == 2 * [("claude-haiku-4-5", world.clock.now().date())]


@in_a_loop
async def test_a_cache_that_lives_an_hour_is_written_at_its_own_price(tmp_path: Path) -> None:
    """Twice the input, where five minutes are a quarter more: the two counts are never added."""
    async with new_world(tmp_path / "store.db") as world:
        marked = {"type": "text", "text": LONG[:40_000], "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        await world.submit(params=[message("a", system=[marked])])
        await world.settle()
        (tokens,) = await usage(world)
        assert tokens.write_1h > 4096 > tokens.write_5m == 0
        assert await spent(world) == (cost_of(tokens, HAIKU_4_5), 0)


@in_a_loop
async def test_a_long_prompt_makes_only_its_own_request_dear(tmp_path: Path) -> None:
    """The tier is by the request: a sum of short ones is no long one, and of a mixture neither."""
    async with new_world(tmp_path / "store.db") as world:
        texts = [LONG, *(LONG[:200_000],) * 3]
        await world.submit(params=[{**message(text), "model": "claude-haiku-5-5"} for text in texts])
        await world.settle(step=HOUR)
        tokens = await usage(world)
        assert [each.input > HAIKU_5_5.above for each in tokens].count(True) == 1
        assert sum(each.input for each in tokens) > HAIKU_5_5.above
        assert await spent(world) == (await bill(world, HAIKU_5_5), 0)


@in_a_loop
async def test_an_unknown_price_makes_a_cost_unknown_and_not_nothing(tmp_path: Path) -> None:
    """The known part is told, and how many requests are not in it."""
    async with new_world(tmp_path / "store.db") as world:
        assert isinstance(world.context.prices, PriceTable)
        del world.context.prices.rates["claude-sonnet-4-6"]
        params = [message("a"), {**message("b"), "model": "claude-sonnet-4-6"}]
        await world.submit(params=params)
        await world.settle()
        known, unknown = sorted(await rows(world, "SELECT cost_nanos IS NULL, cost_nanos FROM result"))
        assert (known[0], *unknown) == (0, 1, None)
        assert await spent(world) == (known[1], 1)


@in_a_loop
async def test_a_download_that_is_repeated_bills_once(tmp_path: Path) -> None:
    """After a crash in its middle, and for what came twice."""
    async with new_world(tmp_path / "store.db") as world:
        await world.submit(60)
        await world.tick("plan", "submit")
        world.advance(HOUR / 4)
        await world.tick("poll")
        world.script("results", "cut_line", 3)
        world.machine.plan.set({"duplicated": 0.3})
        await world.tick("collect")
        async with next_life(world) as second:
            await second.settle()
            assert await spent(second) == (await bill(second, HAIKU_4_5), 0)


@in_a_loop
async def test_errors_cost_nothing_and_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    """An answer of a kind that is new may have been billed, whatever becomes of its request."""
    async with new_world(tmp_path / "store.db", max_attempts=1) as world:
        world.machine.plan.set({"invalid": 0.5, "odd_kind": 0.3})
        await world.submit(40)
        await world.settle()
        kinds = Counter(row[0] for row in await rows(world, "SELECT kind FROM attempt"))
        assert kinds["errored"] > kinds["sideways"] > 0
        assert await spent(world) == (await bill(world, HAIKU_4_5), kinds["sideways"])


@in_a_loop
async def test_what_never_came_may_have_been_billed(tmp_path: Path) -> None:
    """The API leaves results out, download after download: nobody knows what they cost, and they are not free."""
    async with new_world(tmp_path / "store.db", max_attempts=1) as world:
        world.machine.plan.set({"missing": 0.2})
        await world.submit(30)
        await world.settle(step=HOUR * 4)
        ((assumed,),) = await rows(world, "SELECT unpriced FROM ledger WHERE kind = 'assumed'")
        assert 0 < assumed < 30
        assert await spent(world) == (await bill(world, HAIKU_4_5), assumed)


@in_a_loop
async def test_what_was_priced_unknown_is_priced_later_and_only_once(tmp_path: Path) -> None:
    """By the same command again nothing changes; the ledger, the rows and the job agree, as if it had been known."""
    async with new_world(tmp_path / "store.db") as world:
        assert isinstance(world.context.prices, PriceTable)
        rates = world.context.prices.rates.pop("claude-haiku-4-5")
        marked = {"type": "text", "text": LONG[:40_000], "cache_control": {"type": "ephemeral"}}
        params = [message("a", system=[marked]), {**message("b"), "model": "claude-sonnet-4-6"}, message("c")]
        job = await world.submit(params=params)
        await world.settle()
        assert (await spent(world))[1] == 2
        assert await world.commands.reprice(job.id) == 0
        world.context.prices.rates["claude-haiku-4-5"] = rates
        assert await world.commands.reprice(job.id) == 2
        assert await world.commands.reprice(job.id) == 0
        costs = [row[0] for row in await rows(world, "SELECT cost_nanos FROM result")]
        assert await spent(world) == (sum(costs), 0)
        lines = await rows(world, f"{LINES} WHERE requests > 0 ORDER BY model")
        assert [line[:3] for line in lines] == [("claude-haiku-4-5", 2, 0), ("claude-sonnet-4-6", 1, 0)]
        tokens = await usage(world)
        assert sum(line[3] for line in lines) == sum(each.write_5m for each in tokens) > 0
        assert sum(line[4] for line in lines) == sum(costs)
        idle = await rows(world, f"{LINES} WHERE requests = 0")
        assert {line[1:] for line in idle} == {(0, 0, 0, 0)}
        by_model = await world.store.read(lambda reads: reads.spending(SpendBy.MODEL))
        assert [line.name for line in by_model] == ["claude-haiku-4-5", "claude-sonnet-4-6"]
        assert audit(world.path) == []
