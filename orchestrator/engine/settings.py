"""What the stages need to know of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from orchestrator.domain.waiting import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Limits and waits.

    max_requests: None means 100,000 minus the store's own random 1–999, so that our full batches differ in size from
    everybody else's. max_bytes: of an exact body. keep_bodies: for how long a daemon keeps those of a job
    that is over; None: for ever.
    """

    max_requests: int | None
    max_bytes: int
    linger: timedelta
    max_in_flight_requests: int
    max_in_flight_batches: int
    max_uploads: int
    max_downloads: int
    poll: Pace
    doubt_wait: timedelta
    max_attempts: int
    delete_after_collect: bool
    keep_bodies: timedelta | None = None
