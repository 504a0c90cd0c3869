"""Promise 2, a sender that stands still inside its POST: others take its batch over, void it, and send anew.

Two engines on one store, in one loop: the first is frozen at a place, and thawed when the second has done its worst.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

import pytest
from support.world import SeededEntropy, World, in_a_loop, new_world

from orchestrator.domain.api_answers import BatchPage, CreateAnswer
from orchestrator.domain.limits import BODY_TAIL
from orchestrator.domain.model import BatchRow, Gate, JobRow
from orchestrator.engine.api_calls import CREATE_GATE, Gates
from orchestrator.engine.context import Context
from orchestrator.ports.dispatch import UnitKind
from orchestrator.ports.runtime import CreateBody, Headers
from orchestrator.ports.store import EngineStore
from orchestrator.sandbox import MachineSettings

MINUTE: Final = timedelta(minutes=1)
LONG: Final = MINUTE * 30


class Ice:
    """A place in the code where a process stands still, once, until it is thawed."""

    def __init__(self) -> None:
        self.frozen = asyncio.Event()
        self._thawed = asyncio.Event()

    async def stand(self) -> None:
        """Stand still, if this is the first time."""
        if not self.frozen.is_set():
            self.frozen.set()
            await self._thawed.wait()

    def thaw(self) -> None:
        """Go on."""
        self._thawed.set()


class StillBody:
    """A body that freezes its sender when all but *left* bytes have been given."""

    def __init__(self, body: CreateBody, ice: Ice, left: int) -> None:
        self.size_bytes, self.count = body.size_bytes, body.count
        self._body, self._ice, self._left = body, ice, left

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes."""
        given = 0
        if self._left >= self.size_bytes:
            await self._ice.stand()
        async for chunk in self._body.chunks():
            given += len(chunk)
            yield chunk
            if self.size_bytes - given <= self._left:
                await self._ice.stand()


class StillApi:
    """The API of the first engine. left: freezes it inside the body; None: with the answer in its hands."""

    def __init__(self, inner: Any, ice: Ice, left: int | None) -> None:
        self._inner, self._ice, self._left = inner, ice, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def create(self, body: CreateBody, headers: Headers) -> CreateAnswer:
        """Send, and stand still somewhere."""
        if self._left is not None:
            return await self._inner.create(StillBody(body, self._ice, self._left), headers)  # type: ignore[no-any-return]
        answer: CreateAnswer = await self._inner.create(body, headers)
        await self._ice.stand()
        return answer


class StillRead:
    """The facet `submit` of the first engine, which freezes with the row's word about its last bytes in its hands."""

    def __init__(self, inner: Any, ice: Ice) -> None:
        self._inner, self._ice = inner, ice
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def is_sending(self, batch: BatchRow) -> bool:
        """The row's word, perhaps old."""
        self.asked += 1
        word: bool = await self._inner.is_sending(batch)
        await self._ice.stand()
        return word


class StillIntent:
    """The facet `submit` of an engine that freezes between the time it took, and the intent that is asked by it."""

    def __init__(self, inner: Any, ice: Ice) -> None:
        self._inner, self._ice = inner, ice

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def intend(self, *values: Any) -> BatchRow | None:
        """The intent, a little later."""
        await self._ice.stand()
        return await self._inner.intend(*values)  # type: ignore[no-any-return]


class StillGates:
    """The facet `gates` of an engine that freezes with the gates in its hands."""

    def __init__(self, inner: Any, ice: Ice) -> None:
        self._inner, self._ice = inner, ice

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def among(self, names: Sequence[str]) -> list[Gate]:
        """The gates, perhaps old."""
        gates: list[Gate] = await self._inner.among(names)
        await self._ice.stand()
        return gates


class OtherStore:
    """A store with another facet: *facets* by their names."""

    def __init__(self, inner: Any, **facets: Any) -> None:
        self._inner, self._facets = inner, facets

    def __getattr__(self, name: str) -> Any:
        return self._facets[name] if name in self._facets else getattr(self._inner, name)


class StillList:
    """The API of an engine that freezes with the newest batch in its hands: about to commit its intent."""

    def __init__(self, inner: Any, ice: Ice) -> None:
        self._inner, self._ice = inner, ice

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def page(self, *, after_id: str | None, limit: int) -> BatchPage:
        """The page, a little later."""
        page: BatchPage = await self._inner.page(after_id=after_id, limit=limit)
        await self._ice.stand()
        return page


def over(context: Context, **facets: Any) -> EngineStore:
    """The store of *context* with these facets."""
    return cast("EngineStore", OtherStore(context.store, **facets))


Wrap = Callable[[Context, Ice], Context]


def in_the_body(left: int) -> Wrap:
    """Freeze inside the body."""
    return lambda context, ice: replace(context, provider=StillApi(context.provider, ice, left))


def before_the_intent(context: Context, ice: Ice) -> Context:
    """Freeze between all that is asked before an intent, and the intent."""
    return replace(context, provider=StillList(context.provider, ice))


def with_an_old_gate(context: Context, ice: Ice) -> Context:
    """Freeze between the gates as they were, and what is done about them."""
    return replace(context, store=over(context, gates=StillGates(context.store.gates, ice)))


def with_an_old_time(context: Context, ice: Ice) -> Context:
    """Freeze at the intent itself."""
    return replace(context, store=over(context, submit=StillIntent(context.store.submit, ice)))


def with_the_answer(context: Context, ice: Ice) -> Context:
    """Freeze with the answer of the API, not stored yet."""
    return replace(context, provider=StillApi(context.provider, ice, None))


def with_an_old_word(context: Context, ice: Ice) -> Context:
    """Freeze between the row's word and what it allows."""
    return replace(context, store=over(context, submit=StillRead(context.store.submit, ice)))


@asynccontextmanager
async def two_engines(path: Path, where: Wrap, **more: Any) -> AsyncIterator[tuple[World, World, Ice]]:
    """One store: the first engine, which will freeze, and the second, which knows nothing of it."""
    ice = Ice()
    async with new_world(path / "store.db", wrap=lambda context: where(context, ice), **more) as first:
        context = Context(
            store=first.store,
            provider=first.provider,
            prices=first.context.prices,
            clock=first.clock,
            entropy=SeededEntropy(2),
            settings=first.context.settings,
        )
        second = replace(first, context=context)
        second.wire(context)
        yield first, second, ice


async def taken_over(first: World, second: World, ice: Ice, job: JobRow) -> asyncio.Task[int]:
    """The first engine stands still in its POST, and the second has the batch in doubt."""
    await first.tick("plan")
    sending = asyncio.create_task(first.turns.uploads.work(0))
    await ice.frozen.wait()
    assert await second.tick("recover") == 1
    assert await second.states(job.id) == ["in_doubt"]
    return sending


async def given_up(second: World, job: JobRow) -> None:
    """The wait passes, the batch is void, and the second engine sends its requests anew."""
    for _ in range(40):
        await second.tick("doubt")
        second.advance(MINUTE)
    assert await second.states(job.id) == ["void"]
    assert await second.tick("plan", "submit") == 2
    assert await second.states(job.id) == ["void", "in_progress"]


@pytest.mark.parametrize(
    "where",
    [in_the_body(len(BODY_TAIL)), in_the_body(10**9), with_an_old_word],
    ids=["before the last bytes", "before the first byte", "with an old word"],
)
@in_a_loop
async def test_a_sender_that_wakes_too_late_ends_its_post_before_the_last_bytes(
    tmp_path: Path, where: Wrap, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 2: taken over, given up and sent anew while it stood still; what it lets go of then makes no batch."""
    async with two_engines(tmp_path, where) as (first, second, ice):
        job = await first.submit(30)
        sending = await taken_over(first, second, ice, job)
        await given_up(second, job)
        ice.thaw()
        assert await sending == 1
        assert [record for record in caplog.records if "batch.taken_over" in record.getMessage()]
        assert await second.states(job.id) == ["void", "in_progress"], "nothing is written for a row that is another's"
        await second.settle()
        assert (await second.status(job.id)).job.requests.succeeded == 30
        assert set(second.bought().values()) == {1}
        assert second.machine.batches_created == 1
        assert not second.turns.uploads.active | first.turns.uploads.active


@in_a_loop
async def test_an_old_word_is_asked_for_anew_and_the_post_goes_on_where_nobody_took_it_over(tmp_path: Path) -> None:
    """A laptop's lid: half an hour between the question and the last bytes, and the batch is its own still."""
    async with two_engines(tmp_path, with_an_old_word) as (first, _, ice):
        job = await first.submit(30)
        await first.tick("plan")
        sending = asyncio.create_task(first.turns.uploads.work(0))
        await ice.frozen.wait()
        first.advance(LONG)
        ice.thaw()
        assert await sending == 1
        asked = first.context.store.submit
        assert isinstance(asked, StillRead)
        assert asked.asked == 2, "a word of half an hour ago is none"
        assert await first.states(job.id) == ["in_progress"]


@in_a_loop
async def test_a_yes_that_comes_late_ends_the_doubt(tmp_path: Path) -> None:
    """The API's own answer is proof: no search, no wait for results, and nothing is sent again."""
    async with two_engines(tmp_path, with_the_answer) as (first, second, ice):
        job = await first.submit(30)
        sending = await taken_over(first, second, ice, job)
        ice.thaw()
        assert await sending == 1
        (batch,) = await second.batches(job.id)
        assert (batch.state, batch.remote_id) == ("in_progress", second.machine.list().data[0].id)
        await second.settle()
        assert (await second.status(job.id)).job.requests.succeeded == 30
        assert (second.creates, set(second.bought().values())) == (1, {1})
        assert await second.attention(job.id) == []


@in_a_loop
async def test_a_yes_that_comes_after_others_found_the_batch_changes_nothing(tmp_path: Path) -> None:
    """It was claimed by its results, and perhaps settled."""
    async with two_engines(tmp_path, with_the_answer) as (first, second, ice):
        job = await first.submit(30)
        sending = await taken_over(first, second, ice, job)
        await second.settle()
        ice.thaw()
        assert await sending == 1
        assert await second.states(job.id) == ["settled"]
        assert (second.creates, set(second.bought().values())) == (1, {1})
        assert await second.attention(job.id) == []
        assert (await second.store.read(lambda reads: reads.meta())).duplicates_total == 0


@pytest.mark.parametrize("cancels", [True, False])
@in_a_loop
async def test_a_yes_for_a_batch_that_was_given_up_is_told_at_once_and_cancelled(tmp_path: Path, cancels: bool) -> None:
    """The list hid it for longer than the wait: what is not processed by then need not be paid for twice.

    Also where the API did not take the cancellation at once; the results are kept when there are some.
    """
    slow = MachineSettings(batch_seconds=(7200, 7200))
    async with two_engines(tmp_path, with_the_answer, machine=slow) as (first, second, ice):
        job = await first.submit(30)
        first.machine.plan.set({"list_lag": 10**6})
        sending = await taken_over(first, second, ice, job)
        for _ in range(40):
            await second.tick("doubt")
            second.advance(MINUTE)
        assert await second.states(job.id) == ["void"]
        await second.tick("plan", "submit")
        if not cancels:
            second.script("cancel", "500", 3)
        ice.thaw()
        assert await sending == 1
        assert await second.attention(job.id) == ["duplicate"]
        assert (await second.store.read(lambda reads: reads.meta())).duplicates_total == 1
        second.machine.plan.set({})
        spare, ours = sorted(second.machine.list().data, key=lambda batch: batch.created_at)
        assert (spare.cancel_initiated_at is not None, ours.cancel_initiated_at) == (cancels, None)
        await second.settle()
        assert (await second.status(job.id)).job.requests.succeeded == 30
        assert sum(second.bought().values()) < 60, "what was cancelled in time is not billed"
        assert len(second.bought()) == 30
        assert await second.store.sweep.unkept() == {}
        assert (await second.store.read(lambda reads: reads.meta())).duplicates_total == 1, "once"


@in_a_loop
async def test_a_no_that_comes_late_writes_nothing(tmp_path: Path) -> None:
    """A cut, or a busy API: whoever took the batch over finds out by itself that there is none."""
    async with two_engines(tmp_path, with_the_answer) as (first, second, ice):
        job = await first.submit(30)
        first.script("create", "429")
        sending = await taken_over(first, second, ice, job)
        before = await second.batches(job.id)
        ice.thaw()
        assert await sending == 1
        assert await second.batches(job.id) == before
        await second.settle()
        assert set(second.bought().values()) == {1}


async def passed_by(first: World, second: World, ice: Ice, most: int = 1000) -> JobRow:
    """Both have a batch to send; the first stands still before its intent, the second inside its POST."""
    job = await first.submit(30)
    await first.tick("plan")
    one, two = await first.store.submit.sendable(2)
    first.context.settings = second.context.settings = replace(first.context.settings, max_in_flight_batches=most)
    slow = Ice()
    second.context.provider = StillApi(second.provider, slow, len(BODY_TAIL))
    sending = asyncio.create_task(first.units.look(UnitKind.SUBMIT, one.id))
    await ice.frozen.wait()
    other = asyncio.create_task(second.units.look(UnitKind.SUBMIT, two.id))
    await slow.frozen.wait()
    assert await second.states(job.id) == ["planned", "submitting"]
    ice.thaw()
    assert await sending is not None, "it is looked at again"
    assert await second.states(job.id) == ["planned", "submitting"]
    slow.thaw()
    assert await other is None
    return job


@in_a_loop
async def test_after_a_create_that_failed_two_daemons_send_one_at_a_time(tmp_path: Path) -> None:
    """Promise 5: what both asked before is old; in a storm each pause leaves at most one more batch in doubt."""
    async with two_engines(tmp_path, before_the_intent, max_requests=15) as (first, second, ice):
        await first.store.gates.shut("create", first.clock.now(), "a 529", first.clock.now())
        job = await passed_by(first, second, ice)
        await second.settle()
        assert (await second.status(job.id)).job.requests.succeeded == 30


@in_a_loop
async def test_two_daemons_that_see_room_for_one_more_send_one(tmp_path: Path) -> None:
    """Promise 5: the limit on batches is asked in the step that takes the room."""
    async with two_engines(tmp_path, before_the_intent, max_requests=15) as (first, second, ice):
        job = await passed_by(first, second, ice, most=1)
        await second.settle()
        assert (await second.status(job.id)).job.requests.succeeded == 30


@pytest.mark.parametrize("where", [before_the_intent, with_an_old_time])
@in_a_loop
async def test_a_pause_that_one_daemon_stores_holds_whoever_asked_before(tmp_path: Path, where: Wrap) -> None:
    """Promise 5: the gate is asked in the step that commits the intent, so no POST begins in a pause."""
    async with two_engines(tmp_path, where) as (first, second, ice):
        job = await first.submit(30)
        await first.tick("plan")
        (batch,) = await first.store.submit.sendable(2)
        sending = asyncio.create_task(first.units.look(UnitKind.SUBMIT, batch.id))
        await ice.frozen.wait()
        second.advance(MINUTE)
        await Gates(second.context).shut(CREATE_GATE, "429", 30)
        ice.thaw()
        wait = await sending
        assert wait is not None
        assert timedelta(seconds=29) < wait < MINUTE
        assert (await second.states(job.id), second.creates) == (["planned"], 0)
        second.advance(wait)
        assert await second.units.look(UnitKind.SUBMIT, batch.id) is None
        assert await second.states(job.id) == ["in_progress"]


@in_a_loop
async def test_a_pause_from_before_the_clock_was_set_back_holds_nobody(tmp_path: Path) -> None:
    """It would last as long as the clock was wrong."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        await world.tick("plan")
        await Gates(world.context).shut(CREATE_GATE, "429", 30)
        world.advance(-MINUTE * 600, api=timedelta(0))
        assert await world.tick("submit") == 1
        assert await world.states(job.id) == ["in_progress"]


@in_a_loop
async def test_a_create_that_works_does_not_end_a_pause_that_is_stored_meanwhile(tmp_path: Path) -> None:
    """Promise 5: what was read before is an older pause, which is over."""
    async with two_engines(tmp_path, with_an_old_gate) as (first, second, ice):
        await Gates(second.context).shut(CREATE_GATE, "429", 1)
        first.advance(MINUTE)
        opening = asyncio.create_task(Gates(first.context).open(CREATE_GATE))
        await ice.frozen.wait()
        await Gates(second.context).shut(CREATE_GATE, "429", 30)
        ice.thaw()
        await opening
        assert await Gates(second.context).is_shut(CREATE_GATE, second.clock.now())
