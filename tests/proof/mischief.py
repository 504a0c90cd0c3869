"""What goes wrong in a world: the API's faults in phases, neighbours, batches that vanish or drag on, clocks, the disk.

Every act is drawn from the world's seed and noted as a fault, so that the report can say which faults met which states.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from orchestrator.sandbox import Machine, ScaledClock

CREATE: Final = ("refuse", "drop", "drop_reset", "drop_mid", "hang", "408", "409", "429", "500", "502", "503", "504")
CREATE_MORE: Final = ("400", "413", "529", "overloaded_500", "html_200", "garbled_200", "redirect", "early_413")
ACCEPTED: Final = ("drop_after_accept", "hang_after_accept", "error_after_accept", "garbled_after_accept")
READ: Final = ("500", "429", "529", "drop", "drop_reset", "hang", "html_200", "404", "refuse")
RESULTS: Final = ("404", "500", "cut_clean", "cut_line", "cut_reset", "stall", "html_200")
PERSON: Final = ("401", "403", "402", "credit", "spend")
CALLS: Final = tuple(
    f"{endpoint}.{fault}"
    for endpoint, faults in (
        ("create", CREATE + CREATE_MORE + ACCEPTED + PERSON),
        ("list", (*READ, "401", "403")),
        ("retrieve", READ),
        ("results", RESULTS),
        ("cancel", (*READ, "409")),
    )
    for fault in faults
    if (endpoint, fault) != ("list", "404")
)
ROWS: Final = ("error", "overloaded", "timeout", "expire", "cancel", "invalid", "credit_row", "odd_error", "refusal")
LINES: Final = ("garbled", "duplicated", "foreign_lines", "blank_lines", "missing_once")
SPOILT: Final = ("bad_json", "bad_schema", "cut")
ODD_LINES: Final = ("bad_bytes", "odd_kind")
ODD_STATUSES: Final = ("results.202", "results.203", "results.204", "results.206", "list.203", "create.202")
STORMS: Final = ("create.429", "create.500", "create.529", "list.500", "list.429", "results.500", "create.refuse")


@dataclass(slots=True, kw_only=True)
class Mischief:
    """Draws what goes wrong. note: told of every fault that strikes. ours: the remote ids that the store knows.

    acting: how many creates the API has taken whole and not acted on; while there are any no clock jumps.
    """

    machine: Machine
    clock: ScaledClock
    chance: random.Random
    note: Callable[[str], None]
    ours: Callable[[], Sequence[str]]
    fill_disk: Callable[[bool], None]
    acting: Callable[[], int]
    deleted: set[str] = field(default_factory=set)  #: what neighbours deleted of their own
    lags: Sequence[float] = (0, 5, 60, 900)
    accepted_rate: float = 0.0
    odd: bool = False
    spoils: bool = False
    twin_sizes: Sequence[int] = ()
    kinds: Sequence[str] = ("phase", "storm", "hide", "delay", "twins", "jump", "disk", "delete_cursor")

    async def reign(self) -> None:
        """One act after the other, until cancelled."""
        if not self.kinds:
            await self.only_lost_answers()
            return
        await self.phase()
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / 240))
            await getattr(self, self.chance.choice(self.kinds))()

    def calm(self, *, late: bool) -> None:
        """Nothing goes wrong any more; but a list that is too late stays so, or nothing would come of it."""
        lag = self.machine.plan.amount("list_lag_each")
        self.machine.plan.set({"list_lag_each": lag} if late else {})
        self.fill_disk(False)

    async def only_lost_answers(self) -> None:
        """The API does nothing wrong, but answers to creates get lost."""
        self.machine.plan.set({f"create.{fault}": self.accepted_rate / len(ACCEPTED) for fault in ACCEPTED})

    async def phase(self) -> None:
        """Other faults from now on: some calls, rows and lines, a list lag, neighbours."""
        chance = self.chance
        rate = chance.choice((0.02, 0.1, 0.3))
        options = dict.fromkeys(chance.sample(CALLS, 10), rate)
        options |= dict.fromkeys(chance.sample(ROWS, 3), 0.05) | dict.fromkeys(chance.sample(LINES, 3), 0.04)
        if self.accepted_rate:
            options |= {f"create.{fault}": self.accepted_rate / len(ACCEPTED) for fault in ACCEPTED}
        options |= {
            "list_lag_each": chance.choice(self.lags),
            "list_miss": chance.choice((0, 0.5, 1)),
            "flicker404": chance.choice((0, 0, 0.1, 0.4)),
            "foreign_batches": chance.choice((0, 0, 1, 2)),
            "retry_after": chance.choice((0.0, 1.0, 30.0, 600.0)),
        }
        if self.odd:
            options |= self._oddities()
        if self.spoils:
            options |= dict.fromkeys(SPOILT, chance.choice((0.1, 0.3))) | {"sticky": float(chance.random() < 0.3)}
        self.machine.plan.set(options)

    def _oddities(self) -> dict[str, float]:
        """Entries and lines that cannot be read, pages that are refused, downloads answered with another 2xx."""
        chance = self.chance
        return {
            "odd_entries": chance.choice((0, 0.2, 0.6)),
            "list_limit": chance.choice((0, 100, 5)),
            **dict.fromkeys(chance.sample(ODD_LINES, 2), 0.1),
            **dict.fromkeys(chance.sample(ODD_STATUSES, 3), 0.1),
        }

    async def storm(self) -> None:
        """For a while nearly every call of one kind fails."""
        before = dict(self.machine.plan.options)
        fault = self.chance.choice(STORMS)
        self.machine.plan.set({**before, fault: 0.9})
        self.note(f"storm {fault}")
        await asyncio.sleep(self.chance.uniform(60, 2400))
        self.machine.plan.set(before)

    async def hide(self) -> None:
        """A batch that the store knows vanishes from the API, and comes back within three hours."""
        if known := self.ours():
            self.note("batch hidden")
            hours = self.chance.uniform(0.05, 3)
            self.machine.hide(self.chance.choice(known), self.machine.now() + timedelta(hours=hours))

    async def delay(self) -> None:
        """A batch drags on, some beyond the 24 hours after which what is not done expires."""
        now = self.machine.now()
        if known := [one for one in self.ours() if not self.machine._by_id[one].has_ended(now)]:
            self.note("batch stuck")
            hours = self.chance.choice((0.1, 0.2, 0.2, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 2.0, 2.0, 30.0))
            self.machine.delay(self.chance.choice(known), timedelta(hours=hours))

    async def twins(self) -> None:
        """A neighbour in the workspace makes batches of the same size as ours."""
        if self.twin_sizes:
            self.note("foreign twin")
            self.machine.add_foreign(self.chance.choice(self.twin_sizes), count=self.chance.choice((1, 1, 3)))

    async def jump(self) -> None:
        """Our machine was suspended: the API's time goes on and ours stands still."""
        if not self.acting():
            self.note("suspended")
            self.clock.advance(timedelta(hours=self.chance.choice((0.1, 1, 1, 12, 24))))

    async def disk(self) -> None:
        """The disk under the store is full for a while."""
        self.note("disk full")
        self.fill_disk(True)
        await asyncio.sleep(self.chance.uniform(5, 900))
        self.fill_disk(False)

    async def delete_cursor(self) -> None:
        """Neighbours delete the newest of their batches that ended, which may be somebody's cursor."""
        now = self.machine.now()
        for batch in reversed(self.machine._batches):
            if batch.foreign and not batch.deleted and batch.has_ended(now):
                self.note("neighbour deleted")
                batch.deleted = True
                self.deleted.add(batch.id)
                return
