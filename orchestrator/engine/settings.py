"""The part of the configuration that the stages need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from orchestrator.config import Settings
from orchestrator.domain.waiting import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Limits and waits.

    max_requests: None means 100,000 minus the store's own random 1–999, so that our full batches differ in size from
    everybody else's. max_bytes: of an exact body. keep_bodies: for how long a daemon keeps those of a job that is over;
    None: for ever.
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


def engine_settings(settings: Settings) -> EngineSettings:
    """Take the stages' part out of the configuration."""
    limits = settings.limits
    return EngineSettings(
        max_requests=settings.batching.max_requests,
        max_bytes=settings.batching.max_bytes,
        linger=settings.batching.linger,
        max_in_flight_requests=limits.max_in_flight_requests,
        max_in_flight_batches=limits.max_in_flight_batches,
        max_uploads=limits.max_uploads,
        max_downloads=limits.max_downloads,
        poll=Pace(shortest=limits.poll_interval, longest=limits.poll_interval_max),
        doubt_wait=limits.doubt_wait,
        max_attempts=settings.retry.max_attempts,
        delete_after_collect=settings.api.delete_after_collect,
        keep_bodies=settings.database.keep_bodies,
    )
