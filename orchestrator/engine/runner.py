"""The embedded dispatcher: one process holds every stage, and looks at what is due in a few slots side by side.

Its tasks live and die together (promise 11): one that fails ends the others, and its error rises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain.ids import BatchId
from orchestrator.domain.model import BatchRow
from orchestrator.engine.context import Context, Tick, run_slots, slot_ticks
from orchestrator.engine.units import StageLoop
from orchestrator.ports.dispatch import Dispatcher, Held, UnitKind, Units

Look = Callable[[UnitKind, BatchId], Awaitable[timedelta | None]]


class Runner(Dispatcher):
    """Hands the units of one process to that process, which is alone on its store."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._loop = StageLoop(context)
        self._stages: Sequence[str] = ()
        self._since = context.clock.now()

    @override
    async def run(self, units: Units, stop: asyncio.Event) -> None:
        """Recover, then do everything until *stop*, which cuts it off; the error of a task that fails ends all."""
        turns = Turns(self._context, units.look)
        await self._loop.ticked(turns.recover, "recover")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work, name=name) for name, work in self._works(units, turns, stop).items()]
            self._stages, self._since = units.stages, self._context.clock.now()
            await stop.wait()
            for task in tasks:
                task.cancel()

    def _works(self, units: Units, turns: Turns, stop: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs side by side: every stage, submit and collect by the slot, so that no slot waits for another."""
        stages = {name: units.hold(name, None, stop) for name in (*units.own, *units.stages)}
        ticks = {"recover": turns.recover, **turns.uploads.slots(), **turns.downloads.slots()}
        return {**stages, **{name: self._loop.run(tick, name, stop) for name, tick in ticks.items()}}

    @override
    async def holders(self) -> Sequence[Held]:
        return [Held(kind=UnitKind.STAGE, what=name, daemon="", since=self._since) for name in self._stages]


class Turns:
    """Which batch is looked at next: what the rows say is due, less what a task of this process has in hand."""

    def __init__(self, context: Context, look: Look) -> None:
        self._store = context.store.submit
        self._look = look
        self.uploads = UploadSlots(context, look)
        self.downloads = DownloadSlots(context, look)

    async def recover(self, _now: datetime) -> int:
        """Look at each batch whose POST no task watches (at the start: any): it is in doubt. How many there were."""
        lost = [batch for batch in await self._store.stranded() if batch.id not in self.uploads.active]
        for batch in lost:
            await self._look(UnitKind.SUBMIT, batch.id)
        return len(lost)

    def ticks(self) -> Mapping[str, Tick]:
        """All slots together, for those who step through an engine."""
        return {"recover": self.recover, "submit": self.uploads.tick, "collect": self.downloads.tick}


class _Slots:
    """Looks at batch after batch, side by side. active: those that a task of this process has in hand.

    WAITS_FOR_ALL: what one batch waits for, all others do as well.
    """

    KIND: UnitKind
    NAME: str
    WAITS_FOR_ALL = False

    def __init__(self, context: Context, look: Look, slots: int) -> None:
        self._context = context
        self._look = look
        self._slots: Final = slots
        self.active: set[BatchId] = set()

    async def tick(self, _now: datetime) -> int:
        """Work in every slot until nothing is due. Returns how many batches moved on."""
        return await run_slots(self.work, self._slots, self.NAME)

    def slots(self) -> dict[str, Tick]:
        """The slots, each as a tick of its own."""
        return slot_ticks(self.work, self._slots, self.NAME)

    async def work(self, _number: int) -> int:
        """One slot. A batch that is still due after a look waits for the next tick."""
        moved, seen = 0, set[BatchId]()
        while (batch := await self._next(seen)) is not None:
            seen.add(batch)
            try:
                wait = await self._look(self.KIND, batch)
            finally:
                self.active.discard(batch)
            moved += wait is None
            if wait is not None and self.WAITS_FOR_ALL:
                break
        return moved

    async def _next(self, seen: set[BatchId]) -> BatchId | None:
        """The next that is due, neither in hand nor *seen*; it is in hand now."""
        raise NotImplementedError

    def _taken(self, due: Sequence[BatchRow], seen: set[BatchId]) -> BatchId | None:
        for batch in due:
            if batch.id not in self.active and batch.id not in seen:  # another slot may have been faster
                self.active.add(batch.id)
                return batch.id
        return None


class UploadSlots(_Slots):
    """Planned batches. What keeps one from being sent (a gate, the limit) keeps all: the look at one asks for all."""

    KIND = UnitKind.SUBMIT
    NAME = "upload"
    WAITS_FOR_ALL = True

    def __init__(self, context: Context, look: Look) -> None:
        super().__init__(context, look, context.settings.max_uploads)
        self._store = context.store.submit

    @override
    async def _next(self, seen: set[BatchId]) -> BatchId | None:
        return self._taken(await self._store.sendable(self._context.settings.max_uploads + 1), seen)


class DownloadSlots(_Slots):
    """Ended batches whose download is due."""

    KIND = UnitKind.COLLECT
    NAME = "download"

    def __init__(self, context: Context, look: Look) -> None:
        super().__init__(context, look, context.settings.max_downloads)
        self._store = context.store.collect

    @override
    async def _next(self, seen: set[BatchId]) -> BatchId | None:
        most = self._context.settings.max_downloads + 1 + len(seen)
        return self._taken(await self._store.to_collect(self._context.clock.now(), most), seen)
