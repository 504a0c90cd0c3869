"""The process around the engine, injected: time, chance, measurements, and memory that uploads share."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from typing_extensions import override

from orchestrator.domain.ids import Nonce
from orchestrator.domain.model import BatchRow, JobRow


class Clock(Protocol):
    """A clock that never runs backwards within a process.

    `now` is the wall time at the start of the process plus the monotonic time since: a machine's clock that is set
    forward or back while we run changes nothing. For display and for pauses; promises use the API's own Date.
    """

    def now(self) -> datetime:
        """The time, aware, UTC."""

    async def sleep(self, pause: timedelta) -> None:
        """Sleep for *pause*; only cancellation ends it early."""


class Entropy(Protocol):
    """Randomness, injected so that a seed repeats a run."""

    def nonce(self) -> Nonce:
        """A new nonce, `NONCE_LENGTH` characters of `NONCE_ALPHABET`, never the same twice."""

    def jitter(self) -> float:
        """A number in [0, 1)."""


class Meter(Protocol):
    """Receives measurements of engine and provider. Every method is quick and never fails; nothing depends on it."""

    def called(self, op: str, code: str, took: timedelta) -> None:
        """One call of the API ended: "create", "list", …; its HTTP status, or "none" if no answer came.

        took: until the answer's head was there, which for a file of results is not the end.
        """

    def turned_around(self, took: timedelta) -> None:
        """A batch of ours ended; *took* since it was created, by the API's clock."""

    def listed(self, lag: timedelta) -> None:
        """A new batch was in the API's list for the first time, *lag* after it was created, by the API's clock."""

    def spent(self, kind: str, tokens: int) -> None:
        """A batch is collected, and its answers took so many tokens of *kind*."""

    def worked(self, stage: str, moved: int, took: timedelta) -> None:
        """A tick of *stage* moved something."""

    def batch_over(self, batch: BatchRow, at: datetime) -> None:
        """A batch is settled."""

    def job_over(self, job: JobRow, at: datetime) -> None:
        """A job is over; *job* is as it was just before."""


class NullMeter(Meter):
    """Discards every measurement."""

    @override
    def called(self, op: str, code: str, took: timedelta) -> None: ...

    @override
    def turned_around(self, took: timedelta) -> None: ...

    @override
    def listed(self, lag: timedelta) -> None: ...

    @override
    def spent(self, kind: str, tokens: int) -> None: ...

    @override
    def worked(self, stage: str, moved: int, took: timedelta) -> None: ...

    @override
    def batch_over(self, batch: BatchRow, at: datetime) -> None: ...

    @override
    def job_over(self, job: JobRow, at: datetime) -> None: ...


class MemoryReservation(Protocol):
    """One upload's part of the memory that all uploads share for large lines."""

    async def hold(self, size_bytes: int) -> None:
        """Hold *size_bytes* in place of what was held before; waits a limited time for others to release theirs.

        Raises ServerBusy when there was no room in time.
        """


class UnlimitedMemory(MemoryReservation):
    """Not shared with anybody: for a file of this machine's own user."""

    @override
    async def hold(self, size_bytes: int) -> None: ...
