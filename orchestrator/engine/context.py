"""What every stage is given, and what stages share: settings, wake-ups, slots, and how each of them is doing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from typing_extensions import override

from orchestrator.config import Settings
from orchestrator.domain import errors
from orchestrator.domain.budgets import Scope
from orchestrator.domain.model import JobRow
from orchestrator.domain.notices import EndpointSpec
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.waiting import Pace
from orchestrator.engine.batch_list import MalformedEntries, PageSize
from orchestrator.engine.bounds import KnownBounds
from orchestrator.engine.worst_costs import WorstCosts
from orchestrator.ports.engine import ChangeSignal, EngineHealth
from orchestrator.ports.runtime import Clock, Courier, Entropy, Meter, NoPrices, NullMeter, Prices, Provider
from orchestrator.ports.store import EngineStore, Window

Tick = Callable[[datetime], Awaitable[int]]
Work = Callable[[int], Coroutine[Any, Any, int]]
#: A stage rests ten seconds at most (`engine/runner.py`); one that rests so long was forgotten.
_TOO_LONG: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Limits and waits.

    max_requests: None means 100,000 minus the store's own random 1–999, so that our full batches differ in size from
    everybody else's. max_bytes: of an exact body. keep_bodies: for how long a daemon keeps those of a job that is over;
    None: for ever. cache: of a job that is handed in without a choice (`CacheUse`); max_job: the cap, in nano-dollars,
    of one that is handed in without one; max_day, max_month: of all jobs together; None: there is none.
    """

    max_requests: int | None
    max_bytes: int
    linger: timedelta
    max_in_flight_requests: int
    max_in_flight_batches: int
    max_uploads: int
    max_downloads: int
    poll: Pace
    doubt_wait: timedelta
    max_attempts: int
    delete_after_collect: bool
    keep_bodies: timedelta | None = None
    cache: str = CacheUse.PRIME.value
    max_job: int | None = None
    max_day: int | None = None
    max_month: int | None = None

    @property
    def budgets(self) -> Mapping[Scope, int | None]:
        """The budgets of all jobs together, by the settings."""
        return {Scope.DAY: self.max_day, Scope.MONTH: self.max_month}

    @property
    def window(self) -> Window:
        """The most that may be in the API's queue."""
        return Window(batches=self.max_in_flight_batches, requests=self.max_in_flight_requests)


def engine_settings(settings: Settings) -> EngineSettings:
    """Take the stages' part out of the configuration."""
    limits = settings.limits
    return EngineSettings(
        max_requests=settings.batching.max_requests,
        max_bytes=settings.batching.max_bytes,
        linger=settings.batching.linger,
        max_in_flight_requests=limits.max_in_flight_requests,
        max_in_flight_batches=limits.max_in_flight_batches,
        max_uploads=limits.max_uploads,
        max_downloads=limits.max_downloads,
        poll=Pace(shortest=limits.poll_interval, longest=limits.poll_interval_max),
        doubt_wait=limits.doubt_wait,
        max_attempts=settings.retry.max_attempts,
        delete_after_collect=settings.api.delete_after_collect,
        keep_bodies=settings.database.keep_bodies,
        cache=settings.cache.mode,
        max_job=settings.budget.max_job,
        max_day=settings.budget.max_day,
        max_month=settings.budget.max_month,
    )


class StageLiveness:
    """Notes since when each stage is idle. A tick itself may take as long as a download does."""

    def __init__(self) -> None:
        self._rests: dict[str, datetime | None] = {}
        self._without_store: dict[str, str] = {}

    def working(self, stage: str) -> None:
        """*stage* has begun a tick."""
        self._rests[stage] = None

    def idle(self, stage: str, now: datetime) -> None:
        """*stage* has ended its tick."""
        self._rests[stage] = now
        self._without_store.pop(stage, None)

    def waits_for_store(self, stage: str, exc: errors.StoreError) -> None:
        """*stage* could not work: the disk is full, or the database does not answer."""
        is_full = isinstance(exc, errors.StoreFull)
        self._without_store[stage] = "there is no space left for the store" if is_full else exc.message

    def released(self, stage: str) -> None:
        """*stage* is not ours any more."""
        self._rests.pop(stage, None)
        self._without_store.pop(stage, None)

    def trouble(self, now: datetime) -> str | None:
        """What is wrong, for a person; None if every stage is ticking."""
        if self._without_store:
            return next(iter(self._without_store.values()))
        if not self._rests:
            return "the engine is starting"
        late = sorted(stage for stage, since in self._rests.items() if since is not None and now - since > _TOO_LONG)
        return f"stage {late[0]} does not go round" if late else None


@dataclass(slots=True)
class ApiHealth(EngineHealth):
    """The health of the API, as its calls report it."""

    def note_answer(self) -> None:
        """A call worked."""
        self.api_worked = True
        self.last_trouble = None
        self.reads_blocked = False

    def note_trouble(self, why: str) -> None:
        """A call failed without an answer."""
        self.last_trouble = why

    def note_refusal(self, why: str, *, blocked: bool) -> None:
        """A read was refused; *blocked*: until a person acts."""
        self.api_worked = True
        self.last_trouble = why
        self.reads_blocked = blocked


class Wakeup:
    """Broadcast after every move. A hint, kept in memory: a stage that misses it looks again after its own pause."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def event(self) -> asyncio.Event:
        """Set by the next `notify_all`. Take it before you look at the store: then a move meanwhile is not missed."""
        return self._next

    def notify_all(self) -> None:
        """Wake every waiting stage."""
        current, self._next = self._next, asyncio.Event()
        current.set()


class EngineChanges(ChangeSignal):
    """Waits for the next move of a stage, for those who watch jobs."""

    def __init__(self, wakeup: Wakeup, clock: Clock) -> None:
        self._wakeup = wakeup
        self._clock = clock
        self._event = wakeup.event

    @override
    async def wait(self, at_most: timedelta) -> None:
        await sleep_or_signal(self._clock, at_most, self._event)
        self._event = self._wakeup.event


async def sleep_or_signal(clock: Clock, pause: timedelta, signal: asyncio.Event) -> None:
    """Sleep for *pause*, or until *signal*, whichever comes first."""
    waiting = {asyncio.ensure_future(signal.wait()), asyncio.ensure_future(clock.sleep(pause))}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def run_slots(work: Work, slots: int, name: str) -> int:
    """Run *work* in *slots* tasks, numbered from 0, until each has returned. The sum of what they moved.

    If one fails the others are cancelled, and its own error rises rather than a group: the runner acts on the error (a
    full disk is waited out), whatever the number of tasks.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(number), name=f"{name}-{number}") for number in range(slots)]
    except BaseExceptionGroup as failed:
        raise errors.first_of(failed) from failed
    return sum(task.result() for task in tasks)


def slot_ticks(work: Work, slots: int, name: str) -> dict[str, Tick]:
    """The same slots as single ticks, for the runner: an idle slot looks again while the others work.

    Run together they would be a wave: what is planned during one upload would wait until that is through.
    """

    def tick(number: int) -> Tick:
        return lambda _now: work(number)

    return {f"{name}-{number}": tick(number) for number in range(slots)}


@dataclass(slots=True)
class Imports:
    """Imports of this process.

    left: the public ids of those that failed, each of which may have left an `importing` job.
    """

    left: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Context:
    """Given to every stage.

    settings: replaced as a whole on reload, so read it anew each time. courier: None if no notices are to be sent.
    endpoints: what whoever holds `notify` tells the store; None: it was told when the engine began.
    ask_at_once: a person may have fixed the account, so the probe need not wait. api_ahead: how much later it is by the
    API's Date, at its last list. sandbox: what the commands that a person is told must say, too.
    """

    store: EngineStore
    provider: Provider
    clock: Clock
    entropy: Entropy
    settings: EngineSettings
    prices: Prices = field(default_factory=NoPrices)
    health: ApiHealth = field(default_factory=ApiHealth)
    wakeup: Wakeup = field(default_factory=Wakeup)
    liveness: StageLiveness = field(default_factory=StageLiveness)
    imports: Imports = field(default_factory=Imports)
    meter: Meter = field(default_factory=NullMeter)
    courier: Courier | None = None
    endpoints: Sequence[EndpointSpec] | None = None
    sandbox: bool = False
    ask_at_once: bool = False
    api_ahead: timedelta = timedelta(0)
    page_size: PageSize = field(default_factory=PageSize)
    malformed: MalformedEntries = field(default_factory=MalformedEntries)
    bounds: KnownBounds = field(default_factory=KnownBounds)

    async def loaded_prices(self) -> Prices:
        """The prices, for whoever asks on the event loop."""
        await self.prices.load()
        return self.prices

    def api_time(self, now: datetime) -> datetime:
        """*now* by the API's clock: it decides on which day a batch is made, and so at what price."""
        return now + self.api_ahead

    async def worst_costs(self, job: JobRow, at: datetime) -> WorstCosts:
        """What requests of *job* can cost that the API takes in at *at*, by its clock."""
        return WorstCosts(await self.loaded_prices(), at, job.per_request_nanos)
