"""What every HTTP route is handed: one engine, seen through ports. Holds no rules and no routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from orchestrator.config import Settings
from orchestrator.domain import api_answers, batches_api, packing, table_spec
from orchestrator.domain.answer_schema import AnswerSchema
from orchestrator.http_api import change_feed, upload_memory
from orchestrator.http_api.job_cache import JobCache
from orchestrator.observability.telemetry import Meters
from orchestrator.ports import dispatch, engine, reads, runtime, streams
from orchestrator.ports.estimates import Estimates


class AllCommands(engine.Commands, engine.OpenJobs, engine.NoticeCommands, Protocol):
    """All commands of a running engine."""


class SourceOpener(Protocol):
    """Opens a source of raw JSON Lines (also gzip, zstd) that arrive in blocks."""

    def __call__(
        self, blocks: AsyncIterator[bytes], *, name: str, api_version: str | None, claim: runtime.MemoryReservation
    ) -> streams.Source:
        """*name* stands before ":line"; *api_version*: that the requests are checked against; None: they decide it."""
        ...


class RowOpener(Protocol):
    """Opens a source of requests that are made of the rows of a table, which arrives in blocks."""

    def __call__(
        self,
        blocks: AsyncGenerator[bytes, None],
        rows: table_spec.RowOptions,
        *,
        schema: AnswerSchema | None,
        name: str,
        api_version: str | None,
        claim: runtime.MemoryReservation,
    ) -> streams.Source:
        """As `SourceOpener`; the ending of *name* tells the kind. Raises UsageError for a template that is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineIdentity:
    """Identifies the engine. db: the database's absolute path."""

    db: str
    sandbox: bool
    lineage: str
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One running engine, as handed to every route."""

    commands: AllCommands
    estimates: Estimates
    reader: reads.Reader  #: for short reads
    bulk: reads.Reader  #: for long ones, which would hold up short ones
    health: engine.EngineHealth
    identity: EngineIdentity
    location: reads.StoreLocation
    opener: SourceOpener
    row_opener: RowOpener
    remote_batches: Callable[
        [], AsyncGenerator[api_answers.RemoteBatch, None]
    ]  #: everything that the API lists, newest first
    feed: change_feed.ChangeFeed
    job_cache: JobCache
    clock: runtime.Clock  #: of a fleet: the database's time
    page_key: bytes = field(repr=False)  #: for what a page carries to whichever daemon of the store shows the next
    settings_in_force: Callable[[], Settings]  #: they may be read again while it runs
    prices: runtime.Prices
    caps: packing.Caps  #: of one batch
    meters: Meters  #: counters of this process
    memory: upload_memory.LargeLineMemory  #: shared by all uploads
    passed: batches_api.LoopGuard  #: the stores that a create came through
    why_not_ready: Callable[[], str | None]  #: None: it is ready
    view_fleet: Callable[[], Awaitable[dispatch.FleetView | None]]  #: None: this process owns the store
    taken_over: Callable[[], int]  #: units that came here because their holder was silent
    #: The dashboard's address, and a path that opens it (with a login code if one is needed); None: no dashboard.
    dashboard_link: Callable[[], tuple[str, str] | None]

    @property
    def settings(self) -> Settings:
        """Those in force now."""
        return self.settings_in_force()
