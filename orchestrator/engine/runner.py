"""The runner: ticks every stage until told to stop. The only place where stages loop and wait.

Core tasks live and die together (promise 11): one that fails ends the others, and its error rises. A full disk is the
exception: the stage is tried again every five seconds; it sends nothing meanwhile, because it cannot store an intent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.domain import errors
from orchestrator.engine.collect import CollectStage
from orchestrator.engine.context import Context, Tick, sleep_or_signal
from orchestrator.engine.doubt import DoubtStage
from orchestrator.engine.notify import NotifyStage
from orchestrator.engine.plan import PlanStage
from orchestrator.engine.poll import PollStage
from orchestrator.engine.probe import ProbeStage
from orchestrator.engine.purge import PurgeStage
from orchestrator.engine.reconcile import ReconcileStage
from orchestrator.engine.recover import RecoverStage
from orchestrator.engine.sample import SampleStage
from orchestrator.engine.settle import SettleStage
from orchestrator.engine.submit import SubmitStage
from orchestrator.engine.sweep import SweepStage
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

#: From one tick to the next when there was nothing to do. A tick that finds nothing is a few indexed reads.
_SHORTEST: Final = timedelta(milliseconds=20)
_LONGEST: Final = timedelta(seconds=1)
_FULL_DISK: Final = timedelta(seconds=5)
#: Background stages: ticked every 10 s, and not woken by the others.
_BACKGROUND: Final = frozenset({"keep", "sample"})
_BACKGROUND_PAUSE: Final = timedelta(seconds=10)
#: For the notices that are due when an engine stops.
_LAST_NOTICES: Final = timedelta(seconds=5)


class Runner:
    """All stages, in the order in which a request passes them. stages: their ticks by name, for single-stepping."""

    def __init__(self, context: Context, *, keep_probing: bool = False) -> None:
        self._context = context
        self.plan = PlanStage(context)
        self.submit = SubmitStage(context)
        self.doubt = DoubtStage(context)
        self.poll = PollStage(context)
        self.collect = CollectStage(context)
        self.settle = SettleStage(context)
        self.sweep = SweepStage(context)
        self.recover = RecoverStage(context, lambda: self.submit.active)
        self.stages: dict[str, Tick] = {
            "place": self._check_place,
            "recover": self.recover.tick,
            "reconcile": ReconcileStage(context).tick,
            "plan": self.plan.tick,
            "submit": self.submit.tick,
            "doubt": self.doubt.tick,
            "poll": self.poll.tick,
            "collect": self.collect.tick,
            "settle": self.settle.tick,
            "sweep": self.sweep.tick,
        }
        if context.courier is not None:
            self.stages["notify"] = NotifyStage(context, context.courier).tick
        # "keep" and "place" are the names of these stages in metrics, logs and `health`.
        self.stages["keep"] = PurgeStage(context, looks_for_old=keep_probing).tick
        if keep_probing:
            self.stages["probe"] = ProbeStage(context).tick
            self.stages["sample"] = SampleStage(context).tick

    async def _check_place(self, _now: datetime) -> int:
        """Stage place: raises StoreLost, and so ends the engine, if the store's file was removed or replaced."""
        await self._context.store.check_files()
        return 0

    def tasks(self) -> dict[str, Tick]:
        """What runs side by side: every stage, submit and collect by the slot, so that no slot waits for another."""
        single = {name: tick for name, tick in self.stages.items() if name not in {"submit", "collect"}}
        return {**single, **self.submit.slots(), **self.collect.slots()}

    async def run(self, stop: asyncio.Event) -> None:
        """Recover, then tick every stage until *stop*; if one fails, all end and its error rises."""
        await self._start()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._loop_of(name)(tick, name), name=name) for name, tick in self.tasks().items()
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
        await self._last_notices()

    async def _last_notices(self) -> None:
        """Send the last notices before the process ends: `run` ends with its job, and others wait to hear of that.

        Limited to five seconds; the rest is left to the next engine.
        """
        notify = self.stages.get("notify")
        if notify is not None:
            with suppress(TimeoutError, errors.StoreFull):
                async with asyncio.timeout(_LAST_NOTICES.total_seconds()):
                    await notify(self._context.clock.now())

    async def _start(self) -> None:
        """Recover; waits for space if the disk is full."""
        while True:
            try:
                await self.recover.start(self._context.clock.now())
            except errors.StoreFull as exc:
                await self._wait_for_space("recover", exc)
            else:
                return

    async def _wait_for_space(self, stage: str, exc: errors.StoreFull) -> None:
        log.error("store.full", stage=stage, why=exc.message)
        self._context.liveness.disk_full(stage)
        await self._context.clock.sleep(_FULL_DISK)

    def _loop_of(self, name: str) -> Callable[[Tick, str], Coroutine[Any, Any, None]]:
        return self._run_in_background if name in _BACKGROUND else self._run_stage

    async def _run_stage(self, tick: Tick, name: str) -> None:
        """Tick, and sleep: longer and longer while there is nothing to do, and never past another stage's move."""
        pause = _SHORTEST
        while True:
            signal = self._context.wakeup.event
            moved = await self._ticked(tick, name)
            if moved:
                self._context.wakeup.notify_all()
            pause = _SHORTEST if moved else min(pause * 2, self._longest())
            await sleep_or_signal(self._context.clock, pause, signal)

    async def _run_in_background(self, tick: Tick, name: str) -> None:
        """Tick, and sleep long, unless there is more to do."""
        while True:
            moved = await self._ticked(tick, name)
            await self._context.clock.sleep(_SHORTEST if moved else _BACKGROUND_PAUSE)

    async def _ticked(self, tick: Tick, name: str) -> int:
        """One tick, and how much it moved. Retried while the disk is full."""
        while True:
            begun = self._context.clock.now()
            self._context.liveness.working(name)
            try:
                moved = await tick(begun)
            except errors.StoreFull as exc:
                await self._wait_for_space(name, exc)
                continue
            self._context.liveness.idle(name, self._context.clock.now())
            if moved:
                self._context.meter.worked(name, moved, self._context.clock.now() - begun)
            return moved

    def _longest(self) -> timedelta:
        """The longest idle pause: half a poll interval at most, so that a short interval is kept."""
        return min(_LONGEST, max(self._context.settings.poll.shortest / 2, _SHORTEST))
