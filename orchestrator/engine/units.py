"""The units of an engine: what is done when a dispatcher hands it a stage to hold, or a batch to look at.

The only place where stages loop and wait. A full disk, or a database that does not answer, ends no stage: it is tried
again every five seconds. It sends nothing meanwhile, because it cannot store an intent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from typing_extensions import override

from orchestrator.domain import errors
from orchestrator.domain.ids import BatchId
from orchestrator.domain.model import BatchRow
from orchestrator.domain.states import BatchState
from orchestrator.engine import api_calls, ingest
from orchestrator.engine.collect import CollectStage
from orchestrator.engine.context import Context, Tick, sleep_or_signal
from orchestrator.engine.doubt import DoubtStage
from orchestrator.engine.mend import MendStage
from orchestrator.engine.notify import NotifyStage
from orchestrator.engine.plan import PlanStage
from orchestrator.engine.poll import PollStage
from orchestrator.engine.probe import ProbeStage
from orchestrator.engine.purge import PurgeStage
from orchestrator.engine.reconcile import ReconcileStage
from orchestrator.engine.sample import SampleStage
from orchestrator.engine.settle import SettleStage
from orchestrator.engine.submit import SubmitStage
from orchestrator.engine.sweep import SweepStage
from orchestrator.observability.logs import get_logger
from orchestrator.ports.dispatch import Claim, UnitKind, Units

log = get_logger(__name__)

#: From one tick to the next when there was nothing to do. A tick that finds nothing is a few indexed reads.
_SHORTEST: Final = timedelta(milliseconds=20)
_LONGEST: Final = timedelta(seconds=1)
_STORE_AGAIN: Final = timedelta(seconds=5)
#: What is waited for: it passes, and until then nothing is sent.
_WAITED_FOR: Final = (errors.StoreFull, errors.StoreUnreachable)
#: Background stages: ticked every 10 s, and not woken by the others.
_BACKGROUND: Final = frozenset({"keep", "sample"})
_BACKGROUND_PAUSE: Final = timedelta(seconds=10)
#: For the notices that are due when an engine stops.
_LAST_NOTICES: Final = timedelta(seconds=5)
#: When to look again at what could not be sent, or downloaded, and names no time itself.
_AGAIN: Final = timedelta(seconds=2)


class StageLoop:
    """Ticks, again and again."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self, tick: Tick, name: str, stop: asyncio.Event) -> None:
        """Tick until *stop*, and sleep in between. If a tick fails, its error rises."""
        if name in _BACKGROUND:
            await self._run_in_background(tick, name, stop)
        else:
            await self._run_stage(tick, name, stop)

    async def ticked(self, tick: Tick, name: str) -> int:
        """One tick, and how much it moved. Retried while the store has no space, or does not answer."""
        while True:
            begun = self._context.clock.now()
            self._context.liveness.working(name)
            try:
                moved = await tick(begun)
            except _WAITED_FOR as exc:
                await self._wait_for_store(name, exc)
                continue
            self._context.liveness.idle(name, self._context.clock.now())
            if moved:
                self._context.meter.worked(name, moved, self._context.clock.now() - begun)
            return moved

    async def _run_stage(self, tick: Tick, name: str, stop: asyncio.Event) -> None:
        """Longer and longer pauses while there is nothing to do, and never past another stage's move."""
        pause = _SHORTEST
        while not stop.is_set():
            signal = self._context.wakeup.event
            moved = await self.ticked(tick, name)
            if moved:
                self._context.wakeup.notify_all()
            pause = _SHORTEST if moved else min(pause * 2, self._longest())
            await sleep_or_signal(self._context.clock, pause, signal)

    async def _run_in_background(self, tick: Tick, name: str, stop: asyncio.Event) -> None:
        """Long pauses, unless there is more to do."""
        while not stop.is_set():
            moved = await self.ticked(tick, name)
            await self._context.clock.sleep(_SHORTEST if moved else _BACKGROUND_PAUSE)

    async def _wait_for_store(self, stage: str, exc: errors.StoreError) -> None:
        name = "store.full" if isinstance(exc, errors.StoreFull) else "store.unreachable"
        log.error(name, stage=stage, why=exc.message)
        self._context.liveness.waits_for_store(stage, exc)
        await self._context.clock.sleep(_STORE_AGAIN)

    def _longest(self) -> timedelta:
        """The longest idle pause: half a poll interval at most, so that a short interval is kept."""
        return min(_LONGEST, max(self._context.settings.poll.shortest / 2, _SHORTEST))


class EngineUnits(Units):
    """All that an engine can be asked to do. makers: give a stage that begins anew, by its name.

    keep_probing: this is a daemon: it asks for the account, takes samples, and deletes old bodies. is_alone: no other
    engine works on the store. Names of stages are theirs in metrics, logs and `health` as well.
    """

    def __init__(self, context: Context, *, keep_probing: bool = False, is_alone: bool = True) -> None:
        self._context = context
        self._loop = StageLoop(context)
        self._gates = api_calls.Gates(context)
        self._is_notifying = False
        self.submit = SubmitStage(context)
        self.collect = CollectStage(context)
        self.makers: Mapping[str, Callable[[], Tick]] = MappingProxyType(
            {**_own_stages(context), **_held_stages(context, keep_probing=keep_probing, is_alone=is_alone)}
        )

    @property
    @override
    def own(self) -> Sequence[str]:
        return list(_own_stages(self._context))

    @property
    @override
    def stages(self) -> Sequence[str]:
        own = _own_stages(self._context)
        return [name for name in self.makers if name not in own]

    @override
    async def hold(self, stage: str, claim: Claim | None, stop: asyncio.Event) -> None:
        tick = self.makers[stage]()
        self._is_notifying |= stage == "notify"
        try:
            if claim is None:
                await self._loop.run(tick, stage, stop)
            else:
                await self._hold_while(claim, tick, stage, stop)
        finally:
            self._context.liveness.released(stage)

    async def _hold_while(self, claim: Claim, tick: Tick, stage: str, stop: asyncio.Event) -> None:
        """Until one of the two ends: the stage, which only fails, or the watch on whose it is."""
        both = {
            asyncio.ensure_future(self._loop.run(tick, stage, stop)),
            asyncio.ensure_future(self._lost(claim, stage, stop)),
        }
        try:
            ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        for task in ended:
            task.result()

    async def _lost(self, claim: Claim, stage: str, stop: asyncio.Event) -> None:
        """Returns at *stop*, or when *claim* is not ours any more."""
        while not stop.is_set():
            await sleep_or_signal(self._context.clock, claim.every, stop)
            if not stop.is_set() and not await claim.is_ours():
                log.info("stage.lost", stage=stage)
                self._is_notifying &= stage != "notify"
                return

    @override
    async def look(self, kind: UnitKind, batch: BatchId) -> timedelta | None:
        row = await self._context.store.submit.find(batch)
        if row is None:
            return None
        return await (self._look_to_send(row) if kind is UnitKind.SUBMIT else self._look_to_collect(row))

    async def last_notices(self) -> None:
        """Send the last notices before the process ends: `run` ends with its job, and others wait to hear of that.

        Only if the stage was ours. Limited to five seconds; the rest is left to the next engine.
        """
        if self._is_notifying:
            with suppress(TimeoutError, *_WAITED_FOR):
                async with asyncio.timeout(_LAST_NOTICES.total_seconds()):
                    await self.makers["notify"]()(self._context.clock.now())

    # --- batches: level-triggered, by the row as it is now ---------------------------------------------------------

    async def _look_to_send(self, batch: BatchRow) -> timedelta | None:
        store, now = self._context.store.submit, self._context.clock.now()
        if batch.state is BatchState.SUBMITTING:
            if await store.doubt(batch, "the POST was interrupted", now):
                log.warning("batch.in_doubt", batch_id=batch.id)
            return None
        if batch.state is not BatchState.PLANNED or not await store.is_sendable(batch):
            return None
        if (wait := await self._gates.shut_for(api_calls.CREATE_GATE, now)) is not None:
            return wait
        if not await self.submit.admit():
            return _AGAIN
        await self.submit.advance(batch)
        after = await store.find(batch.id)
        if after is None or after.state is not BatchState.PLANNED or not await store.is_sendable(after):
            return None
        wait = await self._gates.shut_for(api_calls.CREATE_GATE, self._context.clock.now())
        return _AGAIN if wait is None else wait

    async def _look_to_collect(self, batch: BatchRow) -> timedelta | None:
        now = self._context.clock.now()
        if batch.state is not BatchState.ENDED or batch.collected:
            return None
        if (wait := _until_due(batch, now)) is not None:
            return wait
        if await self.collect.advance(batch):
            return None
        after = await self._context.store.submit.find(batch.id)
        if after is None or after.state is not BatchState.ENDED or after.collected:
            return None
        wait = _until_due(after, self._context.clock.now())
        return _AGAIN if wait is None else wait


def _until_due(batch: BatchRow, now: datetime) -> timedelta | None:
    """How long until the download is due; None: it is."""
    due = batch.download_due_at
    return None if due is None or due <= now else due - now


def _own_stages(context: Context) -> dict[str, Callable[[], Tick]]:
    """What every process does for itself, whoever holds the rest."""

    async def place(_now: datetime) -> int:
        await context.store.check_files()
        return 0

    async def imports(_now: datetime) -> int:
        return await ingest.discard_left(context)

    return {"place": lambda: place, "imports": lambda: imports}


def _held_stages(context: Context, *, keep_probing: bool, is_alone: bool) -> dict[str, Callable[[], Tick]]:
    """What one process does for all, in the order in which a request passes the stages."""
    stages: dict[str, Callable[[], Tick]] = {
        "mend": lambda: MendStage(context).tick,
        "reconcile": lambda: ReconcileStage(context).tick,
        "plan": lambda: PlanStage(context).tick,
        "doubt": lambda: DoubtStage(context).tick,
        "poll": lambda: PollStage(context).tick,
        "settle": lambda: SettleStage(context).tick,
        "sweep": lambda: SweepStage(context).tick,
    }
    if (courier := context.courier) is not None:
        stages["notify"] = lambda: NotifyStage(context, courier).tick
    if keep_probing or is_alone:  # beside daemons, a command that held it would suspend their `keep_bodies`
        stages["keep"] = lambda: PurgeStage(context, looks_for_old=keep_probing).tick
    if keep_probing:
        stages["probe"] = lambda: ProbeStage(context).tick
        stages["sample"] = lambda: SampleStage(context).tick
    return stages
