"""The walk of the list: whole or not at all, and never without an end (T42)."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import START, World, in_a_loop, new_world

from orchestrator.domain.api_answers import BatchPage
from orchestrator.domain.errors import ProviderUnreachable
from orchestrator.engine.api_calls import newest, same_account, walk_list
from orchestrator.engine.context import Context


class OddList:
    """The API, but its list is not what it should be."""

    def __init__(self, inner: Any, how: str) -> None:
        self._inner = inner
        self._how = how

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def _first(self, limit: int) -> BatchPage:
        page: BatchPage = await self._inner.page(after_id=None, limit=limit)
        return replace(page, batches=page.batches[::-1], has_more=True)

    async def page(self, *, after_id: str | None, limit: int) -> BatchPage:
        """A page that is wrong in one way."""
        small = min(limit, 3)
        page: BatchPage = await self._inner.page(after_id=None if self._how == "repeats" else after_id, limit=small)
        match self._how:
            case "repeats":
                return replace(page, has_more=True)
            case "dateless":
                return replace(page, meta=replace(page.meta, date=None))
            case "rounds":  # the second page is the first again, and so on
                return replace(page, has_more=True) if after_id is None else await self._first(small)
            case "empty":
                return replace(page, batches=() if after_id else page.batches, has_more=True)
            case _:
                return page


async def seen(context: Context) -> int:
    """How many batches a walk to the beginning shows."""
    count = 0
    async with aclosing(walk_list(context, START - timedelta(days=1))) as pages:
        async for page, _ in pages:
            count += len(page.batches)
    return count


@pytest.mark.parametrize("how", ["repeats", "empty", "rounds"])
@in_a_loop
async def test_a_list_that_hides_what_it_announces_is_no_list(tmp_path: Path, how: str) -> None:
    """Promise 2: half a walk must never pass for a whole one, and a page that repeats must not hold us for ever."""
    async with new_world(tmp_path / "store.db") as world:
        for _ in range(10):
            world.machine.add_foreign(3)
        odd = replace(world.context, provider=OddList(world.provider, how))
        with pytest.raises(ProviderUnreachable):
            await seen(odd)


@in_a_loop
async def test_a_list_with_smaller_pages_than_asked_for_is_walked_to_its_end(tmp_path: Path) -> None:
    """Promise 2: `has_more` alone ends a walk."""
    async with new_world(tmp_path / "store.db") as world:
        for _ in range(10):
            world.machine.add_foreign(3)
        assert await seen(replace(world.context, provider=OddList(world.provider, "small"))) == 10
        assert await seen(world.context) == 10


async def walked(world: World, span: timedelta) -> int:
    """How many pages of one batch a walk of *span* takes."""
    walk_pages = 0
    world.context.page_size.size = 1
    async with aclosing(walk_list(world.context, world.machine.now() - span)) as walking:
        async for _ in walking:
            walk_pages += 1
    return walk_pages


@in_a_loop
async def test_a_walk_ends_behind_its_bottom(tmp_path: Path) -> None:
    """Promise 5: a workspace with a long history costs no more."""
    async with new_world(tmp_path / "store.db") as world:
        for _ in range(10):
            world.machine.add_foreign(3)
            world.advance(timedelta(minutes=10))
        assert await walked(world, timedelta(minutes=25)) == 3
        assert await walked(world, timedelta(days=1)) == 10


@in_a_loop
async def test_accounts_differ_only_where_both_are_named(tmp_path: Path) -> None:
    """A proxy that strips the headers is not another account."""
    async with new_world(tmp_path / "store.db") as world:
        page = await world.provider.page(after_id=None, limit=1)
        assert newest(page) is None
        meta = page.meta
        assert same_account(meta, meta.organization, meta.workspace)
        assert same_account(meta, None, None)
        assert same_account(replace(meta, organization=None, workspace=None), "other", "other")
        assert not same_account(meta, "other", meta.workspace)
        assert not same_account(meta, meta.organization, "other")


@in_a_loop
async def test_an_answer_without_a_date_is_no_answer(tmp_path: Path) -> None:
    """Promise 2 and exit 6: nothing is sent without the API's clock, and that is said, not waited out in silence."""
    async with new_world(
        tmp_path / "store.db", wrap=lambda context: replace(context, provider=OddList(context.provider, "dateless"))
    ) as world:
        await world.submit(10)
        await world.tick("plan", "submit")
        assert world.creates == 0
        assert not world.context.health.api_worked
        assert "Date" in str(world.context.health.last_trouble)
