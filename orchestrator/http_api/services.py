"""What every HTTP route is handed: one engine, seen through ports. Holds no rules and no routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from orchestrator.config import Settings
from orchestrator.domain import api_answers, batches_api, packing
from orchestrator.http_api import change_feed, upload_memory
from orchestrator.http_api.job_cache import JobCache
from orchestrator.observability.telemetry import Meters
from orchestrator.ports import engine, reads, runtime, streams


class AllCommands(engine.Commands, engine.OpenJobs, engine.NoticeCommands, Protocol):
    """All commands of a running engine."""


class SourceOpener(Protocol):
    """Opens a source of raw JSON Lines (also gzip, zstd) that arrive in blocks."""

    def __call__(
        self, blocks: AsyncIterator[bytes], *, name: str, api_version: str, claim: runtime.MemoryReservation
    ) -> streams.Source:
        """*name* stands before ":line"; the requests are checked against *api_version*."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineIdentity:
    """Identifies the engine. db: the database's absolute path. api_version: for jobs that name none."""

    db: str
    sandbox: bool
    lineage: str
    api_version: str
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One running engine, as handed to every route."""

    commands: AllCommands
    reader: reads.Reader  #: for short reads
    bulk: reads.Reader  #: for long ones, which would hold up short ones
    health: engine.EngineHealth
    identity: EngineIdentity
    location: reads.StoreLocation
    opener: SourceOpener
    remote_batches: Callable[
        [], AsyncGenerator[api_answers.RemoteBatch, None]
    ]  #: everything that the API lists, newest first
    feed: change_feed.ChangeFeed
    job_cache: JobCache
    settings: Settings
    caps: packing.Caps  #: of one batch
    meters: Meters  #: counters of this process
    memory: upload_memory.LargeLineMemory  #: shared by all uploads
    passed: batches_api.LoopGuard  #: the stores that a create came through
    why_not_ready: Callable[[], str | None]  #: None: it is ready
    #: The dashboard's address, and a path that opens it (with a login code if one is needed); None: no dashboard.
    dashboard_link: Callable[[], tuple[str, str] | None]
