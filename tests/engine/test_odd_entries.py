"""The API's list is odd: entries that cannot be read, pages that are refused, no end (promises 2 and 5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support.world import World, in_a_loop, new_world

from orchestrator.domain.api_answers import BatchPage, MalformedEntry
from orchestrator.domain.errors import ProviderUnreadable
from orchestrator.engine.batch_list import EndlessList, PageSize, list_batches, walk_pages

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


class Shown:
    """The API, but the list shows what `blind` says as entries that cannot be read, and after them `extra`.

    blind: "all", "ours" or "theirs"; named: with their ids; alone: asked for by its id, a batch cannot be read either.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.blind: set[str] = set()
        self.named = True
        self.alone = False
        self.keeps: tuple[str, ...] = ()
        self.extra: tuple[MalformedEntry, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def page(self, *, after_id: str | None, limit: int) -> BatchPage:
        """The page."""
        page: BatchPage = await self._inner.page(after_id=after_id, limit=limit)
        odd = [self._odd(batch) for batch in page.batches if batch.id in self.blind]
        seen = tuple(batch for batch in page.batches if batch.id not in self.blind)
        return replace(page, batches=seen, malformed=(*odd, *self.extra))

    def _odd(self, batch: Any) -> MalformedEntry:
        return MalformedEntry(
            mark=batch.id if self.named else f"unreadable-{batch.id[-8:]}",
            id=batch.id if self.named else None,
            total=batch.counts.total if "total" in self.keeps else None,
            created_at=batch.created_at if "created_at" in self.keeps else None,
            why="odd",
        )

    async def retrieve(self, remote_id: str) -> Any:
        """One batch."""
        if self.alone and remote_id in self.blind:
            raise ProviderUnreadable("an unreadable answer: odd")
        return await self._inner.retrieve(remote_id)


def shown_by(world: World) -> Shown:
    shown: Any = world.context.provider
    assert isinstance(shown, Shown)
    return shown


def odd_world(path: Path, **more: Any) -> Any:
    return new_world(path / "store.db", wrap=lambda context: replace(context, provider=Shown(context.provider)), **more)


async def lost_answer(world: World) -> Any:
    """A batch of ours exists whose answer was lost; the wait is over."""
    job = await world.submit(10)
    world.script("create", "drop_after_accept")
    await world.tick("plan", "submit", "doubt")
    assert await world.states(job.id) == ["in_doubt"]
    shown_by(world).blind = {batch.id for batch in world.machine._batches if not batch.foreign}
    world.advance(25 * MINUTE)
    return job


@in_a_loop
async def test_odd_entries_stop_neither_sends_nor_looks(tmp_path: Path) -> None:
    """F8: one foreign entry stopped every send and every poll; here every second entry is odd, ours among them."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"odd_entries": 0.5, "foreign_batches": 4})
        jobs = [await world.submit(10, name=f"job {number}") for number in range(12)]
        await world.settle()
        for job in jobs:
            assert (await world.status(job.id)).job.requests.succeeded == 10
        assert world.creates == 12
        assert world.context.malformed.entries > 0
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_a_doubt_among_odd_entries_is_resolved_and_nothing_is_bought_twice(tmp_path: Path) -> None:
    """F8, promise 2: lost answers while half of the list cannot be read; neighbours' entries have the same size."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"odd_entries": 0.6, "foreign_batches": 1, "create.drop_after_accept": 0.5})
        jobs = [await world.submit(10, name=f"job {number}") for number in range(6)]
        await world.settle(rounds=4000)
        for job in jobs:
            assert (await world.status(job.id)).job.requests.succeeded == 10
        assert set(world.bought().values()) == {1}


@pytest.mark.parametrize("keeps", [(), ("total",), ("created_at",), ("total", "created_at")])
@in_a_loop
async def test_ours_is_found_behind_an_odd_entry_by_its_own_id(tmp_path: Path, keeps: tuple[str, ...]) -> None:
    """F8: what cannot be read in the list is asked for alone, and proven by its lines as ever."""
    async with odd_world(tmp_path) as world:
        job = await lost_answer(world)
        shown_by(world).keeps = keeps
        await world.settle()
        assert (world.creates, await world.states(job.id)) == (1, ["settled"])


@in_a_loop
async def test_ours_is_proven_by_its_lines_where_nothing_else_can_be_read(tmp_path: Path) -> None:
    """F8: an id is enough. What the API says of it stays unreadable, which a person is told at once."""
    async with odd_world(tmp_path) as world:
        job = await lost_answer(world)
        shown_by(world).alone = True
        await world.tick("doubt", "doubt", "poll")
        assert (world.creates, await world.states(job.id)) == (1, ["in_progress"])
        world.advance(10 * MINUTE)
        await world.tick("poll")
        assert await world.attention(job.id) == ["missing"]
        shown_by(world).alone = False
        await world.settle()
        assert (world.creates, await world.states(job.id), await world.attention(job.id)) == (1, ["settled"], [])


@in_a_loop
async def test_a_doubt_does_not_end_while_an_entry_without_an_id_could_be_it(tmp_path: Path) -> None:
    """F8, promise 2: nobody has it is said only of a list that can be read; after a day a person decides."""
    async with odd_world(tmp_path) as world:
        job = await lost_answer(world)
        shown_by(world).named = False
        for _ in range(30):
            await world.round()
            world.advance(60 * MINUTE)
        assert (world.creates, await world.states(job.id)) == (1, ["in_doubt"])
        (matter,) = (await world.status(job.id)).attention
        assert matter.kind == "unprovable"
        mark = matter.message.split("`")[1].split()[-1]
        assert mark.startswith("unreadable-")
        await world.commands.disown(mark)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 10
        assert world.creates == 2, "a person said that it is not ours"


@in_a_loop
async def test_an_entry_that_becomes_readable_is_waited_for_no_longer(tmp_path: Path) -> None:
    """F8: a hiccup of the list costs a look, not a day and a person."""
    async with odd_world(tmp_path) as world:
        job = await lost_answer(world)
        shown_by(world).named = False
        await world.tick("doubt")
        assert await world.states(job.id) == ["in_doubt"]
        shown_by(world).blind = set()
        await world.settle()
        assert (world.creates, await world.states(job.id)) == (1, ["settled"])


@pytest.mark.parametrize(("keeps", "blocks"), [(("total",), False), (("created_at",), False), ((), True)])
@in_a_loop
async def test_an_odd_entry_that_cannot_be_ours_is_nobody_to_wait_for(
    tmp_path: Path, keeps: tuple[str, ...], blocks: bool
) -> None:
    """F8: its size or its time says so; where neither can be read, it may be ours."""
    async with odd_world(tmp_path) as world:
        shown = shown_by(world)
        shown.extra = (
            MalformedEntry(
                mark="unreadable-1",
                id=None,
                total=7 if "total" in keeps else None,
                created_at=world.machine.now() - DAY if "created_at" in keeps else None,
                why="odd",
            ),
        )
        job = await world.submit(10)
        world.script("create", "drop")
        await world.tick("plan", "submit", "doubt")
        world.advance(25 * MINUTE)
        for _ in range(4):
            await world.tick("doubt")
            world.advance(10 * MINUTE)
        assert await world.states(job.id) == (["in_doubt"] if blocks else ["void"])


@in_a_loop
async def test_a_known_batch_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    """F8: the others are polled and collected; of this one a person is told at once, until it can be read."""
    async with odd_world(tmp_path) as world:
        first, second = await world.submit(10, name="first"), await world.submit(20, name="second")
        await world.tick("plan", "submit")
        (batch,) = await world.batches(first.id)
        shown = shown_by(world)
        shown.blind, shown.alone = {str(batch.remote_id)}, True
        for _ in range(30):
            await world.round()
            world.advance(MINUTE)
        assert await world.states(first.id) == ["in_progress"]
        assert await world.states(second.id) == ["settled"]
        assert await world.attention(first.id) == ["missing"]
        shown.alone = False
        await world.settle()
        assert (await world.states(first.id), await world.attention(first.id)) == (["settled"], [])


@pytest.mark.parametrize("most", [500, 100, 20])
@in_a_loop
async def test_a_refused_limit_means_smaller_pages(tmp_path: Path, most: int) -> None:
    """F8b: a server that refuses limit=1000 was never polled; the size that it took is kept."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"list_limit": most})
        world.machine.add_foreign(3, count=30)
        job = await world.submit(10)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 10
        assert most / 2 < world.context.page_size.size <= most
        assert world.context.health.last_trouble is None
        before = world.machine.calls["list"]
        await world.submit(10, name="another")
        await world.tick("plan", "submit", "poll")
        assert world.machine.calls["list"] - before <= 4


@in_a_loop
async def test_a_list_that_refuses_every_page_is_replaced_by_asking_one_by_one(tmp_path: Path) -> None:
    """F8b: no page is small enough, so each batch is asked for alone; the limit is not blamed for it later."""
    async with new_world(tmp_path / "store.db") as world:
        jobs = [await world.submit(10, name=f"job {number}") for number in range(3)]
        await world.tick("plan", "submit")
        world.machine.plan.set({"list_limit": 5})
        await world.settle()
        for job in jobs:
            assert (await world.status(job.id)).job.requests.succeeded == 10
        assert world.context.page_size.size == 1000


@in_a_loop
async def test_whoever_lists_the_batches_is_told_how_many_cannot_be_shown(tmp_path: Path) -> None:
    """F8: `batches ls` shows the others, and says so."""
    async with odd_world(tmp_path) as world:
        ids = world.machine.add_foreign(3, count=5)
        shown_by(world).blind = set(ids[:2])
        odd: list[MalformedEntry] = []
        seen = [batch.id async for batch in list_batches(world.context.provider, odd=odd)]
        assert (set(seen), {entry.mark for entry in odd}) == (set(ids[2:]), set(ids[:2]))


class Endless:
    """The API, but its list goes on for ever with batches that nobody made."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._numbers = count()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def page(self, *, after_id: str | None, limit: int) -> BatchPage:  # noqa: ARG002 - the port's signature
        """One page more."""
        page: BatchPage = await self._inner.page(after_id=None, limit=limit)
        ids = [f"unreadable-{next(self._numbers)}" for _ in range(2)]
        odd = tuple(MalformedEntry(mark=own, id=None, total=None, created_at=None, why="odd") for own in ids)
        return replace(page, batches=(), malformed=odd, has_more=True, last_id=ids[-1])


@in_a_loop
async def test_a_list_without_an_end_is_left_and_the_batches_are_asked_for_alone(tmp_path: Path) -> None:
    """L5: it was asked 17 times a second for ever, and poll never got to the batch."""
    async with new_world(
        tmp_path / "store.db", wrap=lambda context: replace(context, provider=Endless(context.provider))
    ) as world:
        job = await world.submit(10)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 10
        assert world.machine.calls["list"] < 300 * 10


@in_a_loop
async def test_a_long_list_is_asked_for_slowly_and_not_for_ever(tmp_path: Path) -> None:
    """L5: twenty pages at once, then two a second, then no more."""
    async with new_world(tmp_path / "store.db") as world:
        endless = Endless(world.provider)
        pauses: list[timedelta] = []
        asked: list[BatchPage] = []

        async def sleep(pause: timedelta) -> None:
            pauses.append(pause)

        async def whole() -> None:
            async for page in walk_pages(lambda after: endless.page(after_id=after, limit=1000), PageSize(), sleep):
                asked.append(page)  # noqa: PERF401 - what came before the end counts

        with pytest.raises(EndlessList):
            await whole()
        assert (len(asked), len(pauses)) == (100, 80)
        assert set(pauses) == {timedelta(seconds=0.5)}
