"""The store's facet of caps: what is in force, what is taken of it, and what batches can cost at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from orchestrator.domain import ids, model
from orchestrator.domain.budgets import Limit, Scope


class UnknownCosts(NamedTuple):
    """How many answers have no known cost. numbers: of their requests, where known; models: those without a price."""

    answers: int
    numbers: Sequence[int] = ()
    models: Sequence[str] = ()


class BudgetStore(Protocol):
    """Caps of jobs, and budgets of all jobs together. Amounts are nano-dollars."""

    async def limits(self, job: ids.JobId, now: datetime) -> list[Limit]:
        """The limits that hold for what *job* plans at *now*; none: it may spend whatever it costs."""

    async def queued_params(self, job: ids.JobId, above: int, limit_bytes: int) -> list[tuple[int, bytes]]:
        """(number, params) of the queued requests of *job* above *above*, as `ParamsStore.slice` gives a batch's."""

    async def price(self, batch: model.BatchRow, worst: int) -> bool:
        """*batch* can cost *worst* at most; if it was sent before there was a cap, that is reserved whatever it is."""

    async def price_anew(self, batch: model.BatchRow, worst: int) -> bool:
        """*batch*, which is planned, can cost *worst* at most by the prices of now. False: it moved."""

    async def reached(self, job: ids.JobId, limit: Limit, reason: str, now: datetime) -> bool:
        """A limit stops *job*, which is paused for *reason*. False: it is not running."""

    async def waits(self, job: ids.JobId, limit: Limit, words: str, now: datetime) -> None:
        """*job* waits for a limit to have room again: *words* are shown with it until `goes_on`."""

    async def goes_on(self, job: ids.JobId) -> None:
        """*job* waits no more."""

    async def unknown_costs(self, batch: model.BatchRow) -> UnknownCosts:
        """The answers of *batch* whose cost is not known, if something is reserved for it."""

    async def hold_only(self, batch: model.BatchRow, nanos: int) -> None:
        """Keep *nanos* at most reserved for *batch*, all answers of which are stored."""

    async def warn(self, job: ids.JobId, now: datetime) -> list[Limit]:
        """The limits of *job* of which four fifths are spent, each told once, with its event."""

    async def cap_job(self, job: ids.JobId, cap: int | None, now: datetime) -> bool:
        """Set the cap of *job*, or take it away; True: it was paused by a cap, and goes on."""

    async def cap_scope(self, scope: Scope, cap: int | None, set_by: str, now: datetime) -> int:
        """Set the budget of *scope*, or take it away; how many jobs go on that were paused by a cap."""

    async def follow_settings(self, caps: Mapping[Scope, int | None], now: datetime) -> None:
        """Set the budgets of the settings, where no person has set another; None: there is none in the settings."""
