"""What every HTTP route is handed: one engine, seen through ports. Holds no rules and no routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from orchestrator.config import Settings
from orchestrator.domain.packing import Caps
from orchestrator.http_api.change_feed import ChangeFeed
from orchestrator.http_api.job_cache import JobCache
from orchestrator.http_api.upload_memory import LargeLineMemory
from orchestrator.observability.metrics import Meters
from orchestrator.ports.engine import Commands, EngineHealth, NoticeCommands, OpenJobs
from orchestrator.ports.reads import Reader, StoreLocation

if TYPE_CHECKING:
    from orchestrator.domain.api_answers import RemoteBatch
    from orchestrator.domain.batches_api import LoopGuard
    from orchestrator.ports.runtime import MemoryReservation
    from orchestrator.ports.streams import Source


class AllCommands(Commands, OpenJobs, NoticeCommands, Protocol):
    """All commands of a running engine."""


class SourceOpener(Protocol):
    """Opens a source of raw JSON Lines (also gzip, zstd) that arrive in blocks."""

    def __call__(
        self, blocks: AsyncIterator[bytes], *, name: str, api_version: str, claim: MemoryReservation
    ) -> Source:
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
    reader: Reader  #: for short reads
    bulk: Reader  #: for long ones, which would hold up short ones
    health: EngineHealth
    identity: EngineIdentity
    location: StoreLocation
    opener: SourceOpener
    remote_batches: Callable[[], AsyncGenerator[RemoteBatch, None]]  #: everything that the API lists, newest first
    feed: ChangeFeed
    job_cache: JobCache
    settings: Settings
    caps: Caps  #: of one batch
    meters: Meters  #: counters of this process
    memory: LargeLineMemory  #: shared by all uploads
    passed: LoopGuard  #: the stores that a create came through
    why_not_ready: Callable[[], str | None]  #: None: it is ready
    #: The dashboard's address, and a path that opens it (with a login code if one is needed); None: no dashboard.
    dashboard_link: Callable[[], tuple[str, str] | None]
