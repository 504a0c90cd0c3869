"""What may be deleted: the bodies of jobs that are over."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Protocol

from orchestrator.domain.ids import JobId
from orchestrator.domain.model import Job

#: Who purges: `Job.purged_by`.
BY_PERSON: Final = "person"
BY_RETENTION: Final = "retention"


class BodiesStore(Protocol):
    """Marks jobs as purged, then deletes what was handed in and what was answered; all else of them stays."""

    async def mark(self, job: JobId, by: str, now: datetime) -> bool:
        """Nobody is shown the bodies of *job* from now on. False: it was purged already.

        Raises GuardRefused while it is not over.
        """
        ...

    async def old(self, until: datetime) -> list[Job]:
        """Jobs that were over at *until* and have their bodies still."""
        ...

    async def clear_some(self) -> bool:
        """Delete the next bodies of jobs that are marked; False when nothing is left. May run beside itself."""
        ...
