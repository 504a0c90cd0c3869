"""What the engine and the provider tell whoever measures them. A face for numbers: nothing decides by it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from orchestrator.domain.model import Batch, Job


class Meter(Protocol):
    """Hears what happened, right after it. Every method is quick and never fails."""

    def called(self, op: str, code: str, took: timedelta) -> None:
        """One call of the API ended: "create", "list", …; its HTTP status, or "none" if no answer came.

        took: until the answer's head was there, which for a file of results is not the end.
        """
        ...

    def turned_around(self, took: timedelta) -> None:
        """A batch of ours ended; *took* since it was created, by the API's clock."""
        ...

    def listed(self, lag: timedelta) -> None:
        """A new batch was in the API's list for the first time, *lag* after it was created, by the API's clock."""
        ...

    def spent(self, kind: str, tokens: int) -> None:
        """A batch is collected, and its answers took so many tokens of *kind*."""
        ...

    def worked(self, stage: str, moved: int, took: timedelta) -> None:
        """A tick of *stage* moved something."""
        ...

    def batch_over(self, batch: Batch, at: datetime) -> None:
        """A batch is settled."""
        ...

    def job_over(self, job: Job, at: datetime) -> None:
        """A job is over; *job* is as it was just before."""
        ...


class Unmetered:
    """Nobody listens."""

    def called(self, op: str, code: str, took: timedelta) -> None:
        """Nothing."""

    def turned_around(self, took: timedelta) -> None:
        """Nothing."""

    def listed(self, lag: timedelta) -> None:
        """Nothing."""

    def spent(self, kind: str, tokens: int) -> None:
        """Nothing."""

    def worked(self, stage: str, moved: int, took: timedelta) -> None:
        """Nothing."""

    def batch_over(self, batch: Batch, at: datetime) -> None:
        """Nothing."""

    def job_over(self, job: Job, at: datetime) -> None:
        """Nothing."""
