"""The store's facets of stages collect and settle: results, what became of requests, and the end of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from orchestrator.domain import ids, model, result_outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadProgress:
    """How many results of an ended batch are stored, by the API's result type."""

    count: int
    by_kind: dict[str, int]

    @property
    def seen(self) -> int:
        """How many requests of the batch have a result."""
        return sum(self.by_kind.values())


class CollectStore(Protocol):
    """Results, each stored once, however often they are downloaded (promise 3)."""

    async def numbers(self, job: ids.JobId, custom_ids: Sequence[str]) -> dict[str, int]:
        """The numbers of these requests by the user's own ids: for a batch that was made elsewhere."""

    async def to_collect(self, now: datetime, limit: int) -> list[model.BatchRow]:
        """Ended batches whose download is due, the oldest first."""

    async def store_lines(self, batch: model.BatchRow, lines: Sequence[model.JudgedLine], now: datetime) -> int:
        """Store a chunk of a download; a line of a request that has its result already changes nothing."""

    async def progress(self, batch: model.BatchRow) -> DownloadProgress:
        """How much of the batch is here, by the API's result types."""

    async def again(self, batch: model.BatchRow, due: datetime, date: datetime | None, *, full: bool) -> bool:
        """Download again at *due*. full: the last download was complete; date: the API's Date of it."""

    async def collected(self, batch: model.BatchRow, now: datetime) -> bool:
        """The batch is collected: every wire id was seen, and the counts agree with the API's."""

    async def unseen(self, batch: model.BatchRow) -> list[int]:
        """The numbers of the requests of *batch* without a result."""

    async def give_up(
        self,
        batch: model.BatchRow,
        error: tuple[str, str],
        body: bytes,
        now: datetime,
        assumed_nanos: int | None = None,
    ) -> int:
        """Fail the requests without a result, with *error* (type, message): the batch is collected.

        assumed_nanos: what they were billed together, as far as anybody can tell; None: that is not known.
        """


class SettleStore(Protocol):
    """The final outcome of requests, and the end of jobs."""

    async def to_settle(self) -> list[model.BatchRow]:
        """Collected batches."""

    async def outcomes(self, batch: model.BatchRow) -> dict[result_outcome.Outcome, int]:
        """How many undecided attempts of a collected batch had which outcome."""

    async def settle(
        self, batch: model.BatchRow, max_attempts: int, now: datetime
    ) -> dict[result_outcome.Settlement, int] | None:
        """Settle a slice of the requests that did not succeed, and count what became of them; None: all are settled.

        Then a slice of the twins of the batch's requests, which are not counted, until none of them waits.
        """

    async def follow_left_over(self) -> int:
        """End a slice of the twins of jobs of which nothing else is left to be sent or answered; how many."""

    async def exceeded(self, batch: model.BatchRow) -> str | None:
        """That *batch* was billed more than its bound, for a person; None: it was not, or has none."""

    async def finish_jobs(self, now: datetime) -> list[model.JobRow]:
        """End jobs that have nothing left to do: finished, or canceled after a cancel. Returns them as they were."""

    async def end_pilots(self, now: datetime) -> list[model.JobRow]:
        """End the pilots of which every request is settled; jobs that are to wait then are paused. As they were."""

    async def cost_ratio(self, job: ids.JobId) -> float | None:
        """What a finished job has cost, as a part of what was expected; None: it is not finished, or nobody knows."""

    async def to_delete(self, limit: int) -> list[model.BatchRow]:
        """Settled batches that still exist at the API, as far as we know."""

    async def deleted(self, batch: model.BatchRow, now: datetime) -> None:
        """Note that *batch* is deleted at the API."""
