"""A world for engine tests: the real store, the real provider code, the sandbox as the API, and time moved by hand.

Nothing here is a mock: the clock and the chance are injected through the engine's own ports, and the API is the
sandbox's machine behind its in-process transport. `new_world` is a process; `next_life` kills it and is the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Final, ParamSpec

from orchestrator.domain.ids import NONCE_ALPHABET, NONCE_LENGTH, JobId, Nonce
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import BatchRow, JobRow, JobSnapshot, JobStatus
from orchestrator.domain.params import ParamRules
from orchestrator.domain.waiting import Pace
from orchestrator.engine.commands import EngineCommands
from orchestrator.engine.context import Context, EngineSettings, Tick
from orchestrator.engine.export import export
from orchestrator.engine.runner import Turns
from orchestrator.engine.units import EngineUnits
from orchestrator.inputs import source_from_objects
from orchestrator.ports.engine import IngestOptions
from orchestrator.provider.client import AnthropicProvider
from orchestrator.provider.credentials import find, from_file
from orchestrator.provider.settings import ProviderSettings
from orchestrator.sandbox import Machine, MachineSettings, Sandbox, SandboxSettings, ScaledClock, build_sandbox
from orchestrator.store.database import Start
from orchestrator.store.identity import Trust
from orchestrator.store.sqlite_store import SqliteStore
from support import stores
from support.inline import Inline
from support.prices import PriceTable

P = ParamSpec("P")

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
API_VERSION = "2023-06-01"

#: How long a call is waited for, in real time: long on a loaded machine; where silence is what is tested, short.
PATIENT: Final = timedelta(seconds=10)
IMPATIENT: Final = timedelta(seconds=0.3)

QUICK = EngineSettings(
    max_requests=100,
    max_bytes=1_000_000,
    linger=timedelta(seconds=5),
    max_in_flight_requests=100_000,
    max_in_flight_batches=1000,
    max_uploads=2,
    max_downloads=2,
    poll=Pace(shortest=timedelta(seconds=30), longest=timedelta(minutes=5)),
    doubt_wait=timedelta(minutes=20),
    max_attempts=3,
    delete_after_collect=False,
)


def in_a_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def whole() -> None:
            await test(*args, **kwargs)

        asyncio.run(whole())

    return run


class HandClock:
    """Our clock and the API's, moved by hand; `sleep` returns once time was moved far enough."""

    def __init__(self, api: ScaledClock) -> None:
        self._now = START
        self._slept = timedelta(0)
        self._api = api

    def now(self) -> datetime:
        """The time."""
        return self._now

    def elapsed(self) -> timedelta:
        """What was moved by hand: a pause takes no time here, so no answer grows old by one of another task."""
        return self._now - START - self._slept

    async def sleep(self, pause: timedelta) -> None:
        """Move time on: nobody else lives in this world."""
        self._slept += pause
        self.advance(pause)
        await asyncio.sleep(0)

    async def sleep_seconds(self, seconds: float) -> None:
        """The same, for the provider."""
        await self.sleep(timedelta(seconds=seconds))

    def advance(self, pause: timedelta, *, api: timedelta | None = None) -> None:
        """Both clocks go on; *api* gives the API's its own step (only it may not go back)."""
        self._now += pause
        self._api.advance(pause if api is None else api)


class SeededEntropy:
    """Chance from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def nonce(self) -> Nonce:
        """A new nonce."""
        return Nonce("".join(self._random.choices(NONCE_ALPHABET, k=NONCE_LENGTH)))

    def jitter(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()


@dataclass
class World:
    """One process's life on one store and one API; `restarted` gives the next life."""

    path: Path
    sandbox: Sandbox
    clock: HandClock
    store: SqliteStore
    provider: AnthropicProvider
    context: Context
    commands: EngineCommands
    life: int = 1
    dead: bool = False
    units: EngineUnits = field(init=False)
    turns: Turns = field(init=False)
    stages: dict[str, Tick] = field(init=False)

    def wire(self, context: Context) -> None:
        """The stages on *context*, to be ticked in the order of the road."""
        self.units = EngineUnits(context)
        self.turns = Turns(context, self.units.look)
        ticks = {**{name: make() for name, make in self.units.makers.items()}, **self.turns.ticks()}
        first = ("recover", "mend", "reconcile", "plan", "submit", "doubt", "poll", "collect")
        self.stages = {name: ticks.pop(name) for name in first} | ticks

    def beside(self) -> World:
        """Another engine on the same store, with a memory of its own: a fleet of two."""
        mine = self.context
        context = Context(
            store=mine.store,
            provider=mine.provider,
            prices=mine.prices,
            clock=mine.clock,
            entropy=SeededEntropy(2),
            settings=mine.settings,
        )
        other = replace(self, context=context, commands=EngineCommands(context))
        other.wire(context)
        return other

    @property
    def machine(self) -> Machine:
        """The API's ground truth."""
        return self.sandbox.machine

    @property
    def creates(self) -> int:
        """How many POSTs the API counted."""
        return self.machine.calls["create"]

    def script(self, endpoint: str, fault: str, times: int = 1) -> None:
        """The next *times* calls of *endpoint* go wrong this way."""
        self.machine.plan.script(endpoint, fault, times)

    def advance(self, pause: timedelta, *, api: timedelta | None = None) -> None:
        """Let time pass."""
        self.clock.advance(pause, api=api)

    async def submit(
        self,
        count: int = 10,
        *,
        name: str = "job",
        params: Sequence[dict[str, object]] | None = None,
        priority: int = 10,
        ids: Sequence[str] | None = None,
        cache: str = "prime",
        pilot: int | None = None,
        after_pilot: str = "wait",
        limit: int | None = None,
        sample: int | None = None,
        seed: int | None = None,
        force_new: bool = True,
        dedupe: bool = False,
        still_open: bool = False,
        max_cost: str | None = None,
        schema: str | None = None,
        retry_invalid: int = 1,
    ) -> JobRow:
        """Take *count* requests in, `r1`…; or one for each of *params*, or of *ids*."""
        many = count if ids is None else len(ids)
        bodies = [message(f"{name} {i}") for i in range(1, many + 1)] if params is None else list(params)
        names = [f"r{i}" for i in range(1, len(bodies) + 1)] if ids is None else ids
        requests = [{"custom_id": own, "params": body} for own, body in zip(names, bodies, strict=True)]
        source = source_from_objects(requests, name=f"<{name}>", rules=ParamRules(api_version=API_VERSION))
        new = NewJob(
            name=name,
            source=f"<{name}>",
            api_version=API_VERSION,
            betas=(),
            priority=priority,
            cache=cache,
            pilot=pilot,
            after_pilot=after_pilot,
            limit=limit,
            sample=sample,
            seed=seed,
            dedupe=dedupe,
            still_open=still_open,
            max_cost=max_cost,
            schema=schema,
            retry_invalid=retry_invalid,
        )
        taken = await self.commands.ingest(source, new, IngestOptions(force_new=force_new))
        assert taken.job is not None, taken.problems
        return await self.store.commands.get(taken.job.id)

    async def tick(self, *stages: str) -> int:
        """Tick these stages in order, now."""
        moved = 0
        for stage in stages:
            moved += await self.stages[stage](self.clock.now())
        return moved

    async def round(self) -> int:
        """Tick every stage once, in the order of the road."""
        return await self.tick(*self.stages)

    async def settle(self, *, step: timedelta = timedelta(minutes=1), rounds: int = 400) -> None:
        """Let time pass and stages tick until every job is over or waits for a person."""
        jobs: list[JobSnapshot] = []
        for _ in range(rounds):
            await self.round()
            jobs = await self.store.read(lambda reads: reads.unfinished())
            if all(job.state == "paused" for job in jobs):
                return
            self.advance(step)
        raise AssertionError(f"not settled: {[await self.status(job.id) for job in jobs]}")

    async def status(self, job: JobId) -> JobStatus:
        """One look."""
        return await self.store.read(lambda reads: reads.status(reads.get(job)))

    async def batches(self, job: JobId) -> list[BatchRow]:
        """Every batch of the job, in the order of planning."""
        return (await self.store.read(lambda reads: reads.batches_page(job=job, limit=10_000)))[::-1]

    async def states(self, job: JobId) -> list[str]:
        """The batches' states, in the order of planning."""
        return [batch.state.value for batch in await self.batches(job)]

    async def results(self, job: JobId) -> list[dict[str, object]]:
        """The exported lines, decoded."""
        sink = MemorySink()
        await export(self.store, job, sink)
        return [json.loads(line) for line in sink.text.splitlines()]

    async def attention(self, job: JobId) -> list[str]:
        """The kinds of what a person should look at."""
        return [item.kind for item in (await self.status(job)).attention]

    async def until(self, batch_state: str, job: JobId, *, step: timedelta = timedelta(minutes=1)) -> None:
        """Let time pass until every batch of *job* is in *batch_state*."""
        for _ in range(200):
            if set(await self.states(job)) == {batch_state}:
                return
            await self.round()
            self.advance(step)
        raise AssertionError(await self.states(job))

    async def until_collected(self, job: JobId, *, step: timedelta = timedelta(minutes=1)) -> None:
        """Let time pass until nothing of *job* is at the API any more."""
        live = {"submitting", "in_doubt", "in_progress", "canceling", "ended"}
        for _ in range(200):
            await self.round()
            if not live & set(await self.states(job)):
                return
            self.advance(step)
        raise AssertionError(await self.states(job))

    async def die(self) -> None:
        """End this process as a crash does: nothing is finished, given back or written; the kernel frees the lock."""
        if not self.dead:
            self.dead = True
            await self.provider.aclose()
            await self.store.aclose()

    async def intents(self) -> int:
        """How many intents to POST were stored."""
        query = "SELECT count(*) FROM event WHERE kind = 'batch.moved' AND new = 'submitting'"
        found: int = await self.store._database.read(lambda c: c.execute(query).fetchone()[0])
        return found

    def bought(self) -> Counter[str]:
        """How often each body of params was executed and billed, by its sha256."""
        return Counter(row.params_sha256 for row in self.machine.ledger() if row.billed)


class MemorySink:
    """A sink in memory."""

    def __init__(self) -> None:
        self.text = b""
        self.state = "open"

    async def write(self, chunk: bytes) -> None:
        """Keep it."""
        self.text += chunk

    async def commit(self) -> None:
        """Done."""
        self.state = "committed"

    async def abort(self) -> None:
        """Given up."""
        self.state = "aborted"


def message(text: str, **more: object) -> dict[str, object]:
    """Params that the API takes."""
    return {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": text}], **more}


def sha256_of(params: bytes) -> str:
    """How the API's books name a body of params."""
    return hashlib.sha256(params).hexdigest()


@asynccontextmanager
async def new_world(
    path: Path,
    *,
    settings: EngineSettings = QUICK,
    sandbox: Sandbox | None = None,
    clock: HandClock | None = None,
    seed: int = 1,
    machine: MachineSettings | None = None,
    key: str | Path = "sandbox",
    patience: timedelta = PATIENT,
    start: Start[Any] = Inline.start,
    wrap: Callable[[Context], Context] = lambda context: context,
    adopt: bool = False,
    **changes: object,
) -> AsyncIterator[World]:
    """Open a world on the store at *path*; hand in *sandbox* and *clock* of an earlier one to be its next process.

    adopt: a person takes a copy of a store into use; key: the API key, or the file that holds it; patience: how long a
    call is waited for (real time); start: where SQLite runs; wrap: puts something between the stages and the ports.
    Others: fields of `EngineSettings`.
    """
    if sandbox is None:
        chosen = MachineSettings(batch_seconds=(60, 600)) if machine is None else machine
        api_clock = ScaledClock(0, start=START)
        sandbox = build_sandbox(SandboxSettings(machine=chosen, speed=0), clock=api_clock)
    if clock is None:
        clock = HandClock(sandbox.clock)
    trust = Trust.ADOPTED if adopt else Trust.OWN
    store = await stores.open_store(path, now=clock.now(), sandbox=True, start=start, trust=trust)
    provider = AnthropicProvider(
        ProviderSettings(base_url="http://127.0.0.1", timeout=patience),
        transport=sandbox.transport(),
        credentials=find({"ANTHROPIC_API_KEY": key}) if isinstance(key, str) else from_file(key),
        sleep=clock.sleep_seconds,
    )
    context = wrap(
        Context(
            store=store,
            provider=provider,
            prices=PriceTable(),
            clock=clock,
            entropy=SeededEntropy(seed),
            settings=replace(settings, **changes),  # type: ignore[arg-type]  # names are checked by `replace`
        )
    )
    world = World(path, sandbox, clock, store, provider, context, EngineCommands(context), life=seed)
    world.wire(context)
    try:
        await store.discard_leftovers()
        await world.turns.recover(clock.now())
        yield world
    finally:
        await world.die()


@asynccontextmanager
async def next_life(world: World, **more: Any) -> AsyncIterator[World]:
    """Kill *world*'s process, wherever it stands, and start the next one on its store, its API and its clocks."""
    await world.die()
    settings: Final = more.pop("settings", world.context.settings)
    async with new_world(
        world.path, sandbox=world.sandbox, clock=world.clock, seed=world.life + 1, settings=settings, **more
    ) as born:
        yield born
