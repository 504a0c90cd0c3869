"""Paging through the batches of a workspace."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sandbox.sandbox_world import World, body, run, sdk_client, still_sandbox

from orchestrator.sandbox import ApiError


def world_of(count: int, **settings: Any) -> tuple[World, list[str]]:
    """A world with *count* batches; their ids, newest first."""
    world = World(**settings)
    ids = []
    for number in range(count):
        ids.append(world.machine.create(body(1, prefix=f"b{number}")).id)
        world.advance(timedelta(seconds=1))
    return world, ids[::-1]


def test_pages_go_from_new_to_old_and_has_more_says_when_to_stop() -> None:
    """`last_id` is set on the last page too."""
    world, ids = world_of(25)
    first = world.machine.list()
    assert [batch.id for batch in first.data] == ids[:20]
    assert (first.has_more, first.first_id, first.last_id) == (True, ids[0], ids[19])
    last = world.machine.list(after_id=first.last_id)
    assert [batch.id for batch in last.data] == ids[20:]
    assert (last.has_more, last.last_id) == (False, ids[24])
    beyond = world.machine.list(after_id=ids[24])
    assert (beyond.data, beyond.has_more, beyond.first_id, beyond.last_id) == ([], False, None, None)


def test_before_id_gives_the_page_just_newer() -> None:
    """The page next to the cursor, still newest first."""
    world, ids = world_of(10)
    page = world.machine.list(before_id=ids[5], limit=3)
    assert ([batch.id for batch in page.data], page.has_more) == (ids[2:5], True)
    assert page.first_id is not None
    rest = world.machine.list(before_id=page.first_id, limit=3)
    assert ([batch.id for batch in rest.data], rest.has_more) == (ids[:2], False)


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_the_sdk_walks_all_pages_in_both_directions(limit: int) -> None:
    """Every batch once, none left out."""

    async def story() -> None:
        sandbox = still_sandbox()
        for number in range(30):
            sandbox.machine.create(body(1, prefix=f"b{number}"))
        ids = [batch.id for batch in sandbox.machine.list(limit=1000).data]
        async with sdk_client(sandbox) as client:
            assert [batch.id async for batch in client.messages.batches.list(limit=limit)] == ids
            back = [batch.id async for batch in client.messages.batches.list(limit=limit, before_id=ids[-1])]
            assert sorted(back) == sorted(ids[:-1])

    run(story())


def test_a_cursor_that_is_gone_is_not_found() -> None:
    """A deleted batch cannot be paged from."""
    world, ids = world_of(3, instant=True)
    world.machine.delete(ids[1])
    assert [batch.id for batch in world.machine.list().data] == [ids[0], ids[2]]
    with pytest.raises(ApiError, match="not found"):
        world.machine.list(after_id=ids[1])
    with pytest.raises(ApiError, match="Only one of"):
        world.machine.list(after_id=ids[0], before_id=ids[2])


def test_list_lag_hides_new_batches_from_the_list_only() -> None:
    """A batch may be listed late; asked for by id it is there."""
    world = World(faults={"list_lag": 30})
    batch = world.machine.create(body(1))
    assert world.machine.list().data == []
    assert world.machine.retrieve(batch.id).id == batch.id
    world.advance(timedelta(seconds=30))
    assert [shown.id for shown in world.machine.list().data] == [batch.id]


def test_flicker_answers_404_for_a_batch_that_is_there() -> None:
    """A 404 is not a proof of absence."""
    world = World(faults={"flicker404": 0.5})
    batch = world.machine.create(body(1))
    seen = 0
    for _ in range(100):
        with suppress(ApiError):
            seen += world.machine.retrieve(batch.id).id == batch.id
    assert 30 < seen < 70


def test_foreign_batches_share_the_workspace_and_the_count() -> None:
    """Other people's batches can look like ours until their results are read."""
    world = World(faults={"foreign_batches": 3})
    ours = world.machine.create(body(700))
    world.advance(timedelta(hours=1))
    others = [batch for batch in world.machine.list().data if batch.id != ours.id]
    assert [batch.request_counts.succeeded for batch in others] == [700] * 3
    names = set(world.outcomes(others[0].id))
    assert len(names) == 700
    assert not any(name.startswith("r-") for name in names)
    assert {row.batch_id for row in world.machine.ledger()} == {ours.id}
    assert world.machine.batches_created == 1


def test_several_foreign_batches_at_once_have_ids_of_their_own() -> None:
    """A crowded workspace is a crowd, not one batch listed again and again."""
    sandbox = still_sandbox()
    assert len(set(sandbox.machine.add_foreign(10, count=6))) == 6


def test_batches_may_be_listed_late_each_by_a_lag_of_its_own() -> None:
    """A newer batch may be listed before an older one; in the end all are, in their order."""
    world, ids = world_of(60, faults={"list_lag_each": 900})
    shown = [batch.id for batch in world.machine.list(limit=1000).data]
    assert 0 < len(shown) < 60
    assert shown != ids[-len(shown) :]
    world.advance(timedelta(seconds=900))
    assert [batch.id for batch in world.machine.list(limit=1000).data] == ids


def test_one_listing_may_miss_a_batch_and_the_next_shows_it() -> None:
    """Each batch is missed once, among the first listings; never twice."""
    world, ids = world_of(12, faults={"list_miss": 1})
    looks = [{batch.id for batch in world.machine.list(limit=1000).data} for _ in range(12)]
    assert [sum(one not in look for look in looks) for one in ids] == [1] * 12
    assert looks[-1] == set(ids)


def test_a_hidden_batch_is_shown_nowhere_until_its_time() -> None:
    """Not by id, not in the list, not its results; afterwards all of it."""
    world, (newer, older) = world_of(2, instant=True)
    world.machine.hide(newer, world.at + timedelta(hours=2))
    assert [batch.id for batch in world.machine.list().data] == [older]
    for look in (world.machine.retrieve, world.machine.results, world.machine.cancel):
        with pytest.raises(ApiError, match="not found"):
            look(newer)
    world.advance(timedelta(hours=2))
    assert [batch.id for batch in world.machine.list().data] == [newer, older]
    assert len(list(world.machine.results(newer))) == 1


def test_a_delayed_batch_ends_later() -> None:
    """Its work takes longer by what was asked."""
    world, (only,) = world_of(1, batch_seconds=(60, 60))
    world.machine.delay(only, timedelta(hours=3))
    world.advance(timedelta(hours=3))
    assert world.machine.retrieve(only).processing_status == "in_progress"
    world.advance(timedelta(minutes=1))
    assert world.machine.retrieve(only).processing_status == "ended"
