"""The worst dispatcher there can be: of a fleet whose units come twice, late, never, or to an engine that stands still.

Every engine believes that it holds every stage. A batch is handed to whoever asks, also while another has it, and also
when it is being sent: then it is taken for recovery. Which engines stand still, and when, is drawn as well: at any
step, or around a POST. Only in the calm at the end each unit has one holder, and none that is dead or frozen.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from typing_extensions import override

from orchestrator.domain.errors import StoreFull
from orchestrator.domain.ids import BatchId
from orchestrator.engine.context import Context
from orchestrator.ports.dispatch import Claim, Dispatcher, Held, UnitKind, Units
from proof.lives import Lives
from proof.shelf import Looker, Shelf

_DUE: Final = """
SELECT id, state FROM batch WHERE state IN ('planned', 'submitting') OR (state = 'ended' AND collected = 0) ORDER BY id
"""
#: Where a process that stands still hurts most: around a POST.
_MOMENTS: Final = (
    "GET batches answered 200",
    "POST batches asks",
    "POST batches asks",
    "POST batches piece",
    "POST batches sent",
    "POST batches acted 200",
    "POST batches answered 200",
    "POST batch cancel answered 200",
    "GET results answered 200",
)
_FROZEN_S: Final = (0.1, 3, 60, 600, 2000, 7200)
_CLOSES: Final = 0.5  #: of the traps, so that not all close at the first bytes
_ASKS: Final = timedelta(seconds=2.5)
_AT_ONCE: Final = 6  #: units of batches in hand, of one engine


@dataclass(slots=True, kw_only=True)
class Board:
    """What the dispatchers of a world believe together. has: who looks at a batch now; calm: they know, and are right.

    is_well: whether an engine is alive and does not stand still. note: told of every unit that comes as it should not.
    """

    shelf: Shelf
    chance: random.Random
    note: Callable[[str], None]
    is_well: Callable[[int], bool]
    calm: bool = False
    _rows: Looker | None = None
    has: Counter[tuple[int, BatchId]] = field(default_factory=Counter)

    def due(self) -> list[tuple[BatchId, str]]:
        """The batches that somebody should look at, with their states."""
        if self._rows is None:
            self._rows = self.shelf.connect()
        return [(BatchId(batch), state) for batch, state in self._rows.execute(_DUE)]

    def is_had(self, batch: BatchId) -> bool:
        """Whether an engine that is well has *batch* in hand."""
        return any(times and known == batch and self.is_well(engine) for (engine, known), times in self.has.items())

    def deals(self, batch: BatchId, state: str) -> int:
        """How often the one who asks now is handed *batch*."""
        if self.is_had(batch):
            often = 0.0 if self.calm else 0.02 if state == "submitting" else 0.3
            if self.chance.random() >= often:
                return 0
            self.note("unit handed out again")
            return 1
        if self.calm:
            return 1
        return self.chance.choice((0, 0, 1, 1, 1, 2))


class WorstDispatcher(Dispatcher):
    """Of one engine, *number*."""

    def __init__(self, board: Board, number: int, context: Context) -> None:
        self._board = board
        self._number = number
        self._clock = context.clock

    @override
    async def run(self, units: Units, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(units.hold(name, None, stop), name=name) for name in units.own]
            tasks += [group.create_task(self._hold(units, name, stop), name=name) for name in units.stages]
            tasks.append(group.create_task(self._deal(units, group), name="deal"))
            await stop.wait()
            for task in tasks:
                task.cancel()

    async def _hold(self, units: Units, stage: str, stop: asyncio.Event) -> None:
        """Again and again: what is lost is soon held anew, by an engine that remembers nothing."""
        while not stop.is_set():
            await units.hold(stage, Claim(is_ours=self._believes, every=_ASKS), stop)
            await self._pause(60)

    async def _believes(self) -> bool:
        return self._board.calm or self._board.chance.random() > 0.01

    async def _deal(self, units: Units, group: asyncio.TaskGroup) -> None:
        """Ask for batches, seldom or often; some come late."""
        board, chance = self._board, self._board.chance
        while True:
            await asyncio.sleep(chance.expovariate(1 / (200 if board.calm else chance.choice((5, 20, 60)))))
            for batch, state in board.due():
                for _ in range(board.deals(batch, state)):
                    if sum(times for (engine, _), times in board.has.items() if engine == self._number) < _AT_ONCE:
                        board.has[self._number, batch] += 1
                        group.create_task(self._look(units, batch, state), name=f"look {batch}")

    async def _look(self, units: Units, batch: BatchId, state: str) -> None:
        try:
            if not self._board.calm and self._board.chance.random() < 0.1:
                self._board.note("unit late")
                await self._pause(300)
            with suppress(StoreFull):  # it is dealt again
                await units.look(UnitKind.COLLECT if state == "ended" else UnitKind.SUBMIT, batch)
        finally:
            self._board.has[self._number, batch] -= 1

    async def _pause(self, most: float) -> None:
        await asyncio.sleep(self._board.chance.random() * most)

    @override
    async def holders(self) -> Sequence[Held]:
        return []


@dataclass(slots=True, kw_only=True)
class Frost:
    """Lets engines stand still, at any step or where it hurts, and go on again."""

    lives: Lives
    chance: random.Random
    _traps: dict[int, str] = field(default_factory=dict)
    _thaws: set[asyncio.Task[None]] = field(default_factory=set)

    async def reign(self) -> None:
        """One engine after the other, until cancelled."""
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / 120))
            if well := self.lives.standing:
                self._strike(self.chance.choice(well))

    def _strike(self, number: int) -> None:
        if self.chance.random() < 0.7:
            self._traps[number] = self.chance.choice(_MOMENTS)
        else:
            self._freeze(number)

    def happens(self, number: int, what: str) -> None:
        """The network of an engine did something: a trap may close."""
        if self._traps.get(number) != what or number not in self.lives.standing:
            return
        if self.chance.random() < _CLOSES:
            del self._traps[number]
            self._freeze(number)

    def _freeze(self, number: int) -> None:
        self.lives.freeze(number)
        self._thaws.add(self.lives.loop.spawn(self._thaw(number), 0, "thaw"))

    async def _thaw(self, number: int) -> None:
        await asyncio.sleep(self.chance.choice(_FROZEN_S) * self.chance.random())
        self.lives.thaw(number)
