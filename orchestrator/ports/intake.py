"""What the store does while requests come in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.domain.ids import JobId
from orchestrator.domain.model import (
    Concluded,
    Content,
    Duplicate,
    Job,
    NewJob,
    RepeatsPlace,
)
from orchestrator.ports.source import InputLine, Problem


class IntakeStore(Protocol):
    """A job and its requests come in, whole or not at all."""

    async def begin(self, new: NewJob, public_id: str, now: datetime) -> Job:
        """A new job, importing; nothing of it is planned before `finish`."""
        ...

    async def add(self, job: JobId, lines: Sequence[InputLine], now: datetime) -> None:
        """Store the next requests of an import. Whether custom ids repeat is for `repeated` to say, at its end."""
        ...

    async def repeated(
        self, job: JobId, after: RepeatsPlace, *, leave_out: bool
    ) -> tuple[list[Duplicate], RepeatsPlace | None]:
        """The next requests of an import whose custom_id an earlier one has, a few hundred above *after*.

        leave_out: they are taken out of the import. Returns them and where to go on; None: there are no more.
        """
        ...

    async def extend(self, job: JobId, lines: Sequence[InputLine], now: datetime) -> list[Duplicate]:
        """Add *lines* to an open job, all or none: with duplicates, which are returned, nothing is added."""
        ...

    async def close_open(self, job: JobId, now: datetime) -> bool:
        """No more requests will come: the job may finish."""
        ...

    async def add_refused(self, job: JobId, problems: Sequence[Problem]) -> None:
        """Keep refused lines with their reasons."""
        ...

    async def finish(self, job: JobId, content_hash: str | None, size_bytes: int, now: datetime) -> Job:
        """The whole input is in: the job runs from here on."""
        ...

    async def conclude(
        self, job: JobId, new: NewJob, content: Content, now: datetime, *, anew: bool
    ) -> tuple[Concluded, Job]:
        """As `finish`, unless a job of the same content is there, or one made from the same file when it was another.

        The key of *new* comes first: it stands for one job, even *anew*. Raises KeyReused if that job has other
        content. A job that is there gets the name that was chosen in *new*; raises GuardRefused where that name means
        another job. Looking and finishing are one transaction: of two that bring the same at once, one runs. Returns
        what it came to, and the job as it ran before (the import is then the caller's to discard) or runs now.
        """
        ...

    async def importing(self) -> list[Job]:
        """Jobs that are importing, once everything that was asked for before is written."""
        ...

    async def discard(self, job: JobId) -> None:
        """Take an import away without a trace; safe to repeat. One whose `finish` was committed stays."""
        ...
