"""Who works on what: units of work, and the dispatcher that hands them out.

A unit is one stage that somebody holds for as long as nobody else shall (`poll`, `plan`, …), or one batch to look at
once. The engine knows what a unit means (`Units`), a `Dispatcher` knows whose turn it is: the embedded one of a single
process, or one that shares the units over a fleet of daemons on one store.

At least once: every unit is handed out until it says that nothing more is due, also twice, late, to two daemons at
once, or to one that stood still meanwhile and was given up. Safety never rests on the dispatcher: the rows of the store
and their fences decide who may move what; a unit that comes to the wrong one, or too often, finds a row that is moved
already and does nothing. A dispatcher that is wrong costs time, never money.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.domain.ids import BatchId

if TYPE_CHECKING:  # the store's readers load this file, and nothing of asyncio
    import asyncio

#: With this begins what stands for a setting whose value is nobody else's to see.
HASHED: Final = "#"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a stage that one daemon holds is handed out with: others may be given it.

    is_ours: whether the dispatcher still counts us as its holder. every: how often that is to be asked, a quarter of
    the silence after which it counts us as gone.
    """

    is_ours: Callable[[], Awaitable[bool]]
    every: timedelta


class UnitKind(StrEnum):
    """What a unit is about: a stage that one daemon holds, a batch to be sent, a batch to be downloaded."""

    STAGE = "stage"
    SUBMIT = "submit"
    COLLECT = "collect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A unit that somebody has. what: a stage's name, or a batch's id. since: by the dispatcher's clock."""

    kind: UnitKind
    what: str
    daemon: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetDaemon:
    """One process on a shared store. seen_at: its last sign of life.

    settings: what all must have alike, a text by the name of each setting; one that begins with `HASHED` is no value,
    but its hash. works: it takes units; a command that only writes takes none.
    """

    name: str
    host: str
    pid: int
    version: str
    settings: Mapping[str, str]
    works: bool
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsWaiting:
    """Units of one kind that are due and nobody has yet: how many, and since when the oldest of them is due."""

    kind: UnitKind
    count: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """A fleet at one moment, for faces. at: by the database's clock, which is *offset* ahead of this machine's."""

    at: datetime
    offset: timedelta
    daemons: Sequence[FleetDaemon]
    held: Sequence[Held]
    waiting: Sequence[UnitsWaiting]


class Units(Protocol):
    """The engine's side: what is to be done when a unit comes. Only a dispatcher calls it."""

    @property
    def own(self) -> Sequence[str]:
        """Names of the stages that every process holds for itself, whoever holds the others; `hold` runs them."""
        ...

    @property
    def stages(self) -> Sequence[str]:
        """Names of the stages that one daemon holds: every one of them is some daemon's at any time."""
        ...

    async def hold(self, stage: str, claim: Claim | None, stop: asyncio.Event) -> None:
        """Run the loop of *stage* until *stop*, or until *claim* is not ours; then whatever it was doing is cut off.

        claim: None: nobody else can hold it; then what is being done at *stop* is finished first. What `is_ours`
        raises, and what the stage raises, rises. The stage begins anew: nothing is remembered from an earlier hold.
        """

    async def look(self, kind: UnitKind, batch: BatchId) -> timedelta | None:
        """Look at one batch (SUBMIT or COLLECT), and do what its row says: send, call in doubt, download, or nothing.

        Returns when to look again at the latest, None: nothing more is due until the row moves again. A `submitting`
        batch becomes `in_doubt`: the unit was handed out again, so its poster is gone, or counts as gone. So whoever
        calls it for a batch that this process is sending, and still has, costs that batch the wait of a doubt. Raises
        what the store raises, and nothing of the API's. To cancel it is to crash: a POST without an answer stays
        `submitting`.
        """


class Dispatcher(Protocol):
    """Hands the units out, each to one daemon at a time as far as it can tell."""

    async def run(self, units: Units, stop: asyncio.Event) -> None:
        """Hand out what is ours until *stop*; what ends it early is raised."""

    async def holders(self) -> Sequence[Held]:
        """Who has what now, for faces."""
