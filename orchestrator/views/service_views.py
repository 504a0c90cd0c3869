"""The service itself as JSON: its version, health, events, webhooks, sums and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

import msgspec

from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.model import Event, Gate, RequestCounts
from orchestrator.domain.notices import Delivery, DeliveryState, Endpoint
from orchestrator.views.job_views import BatchCounts, PlannedView, StopReasons
from orchestrator.views.view import Count, Timestamp, View, parse_time, time_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.config import SettingRow
    from orchestrator.domain.queries import Sample, Totals
    from orchestrator.ports.engine import EngineHealth
    from orchestrator.views.health_checks import Finding

#: Jobs by state; every state is a key.
JobCounts = Annotated[
    dict[str, Count],
    msgspec.Meta(extra_json_schema={"propertyNames": {"$ref": "#/components/schemas/JobState"}}),
]


class VersionView(View, frozen=True, kw_only=True):
    """The daemon that answers."""

    version: str
    pid: int
    db: str
    sandbox: bool
    lineage: str


class WayInView(View, frozen=True, kw_only=True):
    """The dashboard's address and a path that opens it; a login code in the path works once, for `expires_in_s`."""

    url: str
    path: str
    expires_in_s: Count | None


class AliveView(View, frozen=True, kw_only=True):
    """Liveness: the process answers."""

    alive: bool


class ReadyView(View, frozen=True, kw_only=True):
    """Readiness: jobs can be handed in and are worked on."""

    ready: bool


class HealthView(View, frozen=True, kw_only=True):
    """How the Message Batches API treats the engine."""

    api_worked: bool
    last_trouble: str | None
    reads_blocked: bool

    @classmethod
    def of(cls, health: EngineHealth) -> Self:
        """The view of *health*."""
        return cls(api_worked=health.api_worked, last_trouble=health.last_trouble, reads_blocked=health.reads_blocked)


class FindingView(View, frozen=True, kw_only=True):
    """The result of one health check. `verdict`: "ok", "warn" or "fail"."""

    check: str
    verdict: str
    fact: str
    remedy: str | None

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """The view of *finding*."""
        return cls(check=finding.check, verdict=finding.verdict, fact=finding.fact, remedy=finding.remedy)


class FindingsView(View, frozen=True, kw_only=True):
    """The results of all health checks. `healthy`: no verdict is "fail"."""

    checks: list[FindingView]
    healthy: bool


class EventView(View, frozen=True, kw_only=True):
    """A change of the state of a job or batch. `actor`: the name of the token that asked for it, if one did."""

    id: int
    at: Timestamp
    job: str | None
    batch: int | None
    kind: str
    old: str | None
    new: str | None
    why: str | None
    actor: str | None = None

    @classmethod
    def of(cls, event: Event, job: str | None) -> Self:
        """The view of *event*. job: its public id, if the job still exists."""
        return cls(
            id=event.id,
            at=time_text(event.at),
            job=job,
            batch=event.batch_id,
            kind=event.kind,
            old=event.old,
            new=event.new,
            why=event.why,
            actor=event.actor,
        )

    def to_event(self, job: JobId | None) -> Event:
        """Convert back to an `Event`. job: the id that stands for its job on this side."""
        return Event(
            id=self.id,
            at=parse_time(self.at),
            job_id=job,
            batch_id=None if self.batch is None else BatchId(self.batch),
            kind=self.kind,
            old=self.old,
            new=self.new,
            why=self.why,
            actor=self.actor,
        )


class EventsView(View, frozen=True, kw_only=True):
    """A page of events; `next` is the `after` of the next page."""

    events: list[EventView]
    next: int | None


class EndpointView(View, frozen=True, kw_only=True):
    """A webhook endpoint; `active` is false once the settings no longer name it."""

    url: str
    events: list[str]
    active: bool

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        """The view of *endpoint*."""
        return cls(url=endpoint.url, events=list(endpoint.events), active=endpoint.active)

    def to_endpoint(self) -> Endpoint:
        """Convert back to an `Endpoint`, without the id that it has in its store."""
        return Endpoint(id=0, url=self.url, events=tuple(self.events), active=self.active)


class EndpointsView(View, frozen=True, kw_only=True):
    """Every endpoint that was ever set."""

    endpoints: list[EndpointView]


class DeliveryView(View, frozen=True, kw_only=True):
    """The delivery of one notice to one endpoint. `event` is null for a test."""

    id: Count
    url: str
    event: int | None
    type: str
    state: DeliveryState
    tries: Count
    created_at: Timestamp
    next_at: Timestamp | None
    last_at: Timestamp | None
    last_status: int | None
    last_error: str | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The view of *delivery*."""
        return cls(
            id=delivery.id,
            url=delivery.url,
            event=delivery.event_id,
            type=delivery.type,
            state=delivery.state,
            tries=delivery.tries,
            created_at=time_text(delivery.created_at),
            next_at=time_text(delivery.next_at),
            last_at=time_text(delivery.last_at),
            last_status=delivery.last_status,
            last_error=delivery.last_error,
        )

    def to_delivery(self) -> Delivery:
        """Convert back to a `Delivery`."""
        return Delivery(
            id=self.id,
            url=self.url,
            event_id=self.event,
            type=self.type,
            state=self.state,
            tries=self.tries,
            created_at=parse_time(self.created_at),
            next_at=parse_time(self.next_at),
            last_at=parse_time(self.last_at),
            last_status=self.last_status,
            last_error=self.last_error,
        )


class DeliveriesView(View, frozen=True, kw_only=True):
    """A page of deliveries, the newest first; `next` is the cursor of the next page."""

    deliveries: list[DeliveryView]
    next: str | None


class SentView(View, frozen=True, kw_only=True):
    """The numbers of the deliveries that were made."""

    sent: list[int]


class SettingView(View, frozen=True, kw_only=True):
    """A setting that is in force. value: as TOML, null where it is not set; origin: where it comes from."""

    name: str
    value: str | None
    origin: str


class SettingsView(View, frozen=True, kw_only=True):
    """Every setting; secrets are none of them."""

    settings: list[SettingView]
    sandbox: bool

    @classmethod
    def of(cls, rows: Iterable[SettingRow], *, sandbox: bool) -> Self:
        """The view of *rows*."""
        found = [SettingView(name=row.name, value=row.text, origin=row.origin) for row in rows]
        return cls(settings=found, sandbox=sandbox)


class SampleView(View, frozen=True, kw_only=True):
    """The load of all jobs from `at` to the next sample; `settled`, `failed` and `resubmitted` are running totals.

    `watched` is false if no engine ran since the sample before: the values may have changed at any time in between.
    """

    at: Timestamp
    queued: Count
    in_flight_requests: Count
    in_flight_batches: Count
    settled: Count
    failed: Count
    resubmitted: Count
    watched: bool

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """The view of *sample*."""
        return cls(
            at=time_text(sample.at),
            queued=sample.queued,
            in_flight_requests=sample.in_flight_requests,
            in_flight_batches=sample.in_flight_batches,
            settled=sample.settled,
            failed=sample.failed,
            resubmitted=sample.resubmitted,
            watched=sample.watched,
        )


class StatsView(View, frozen=True, kw_only=True):
    """Samples, oldest first."""

    samples: list[SampleView]


class TotalsView(View, frozen=True, kw_only=True):
    """Requests, jobs and batches by state, and other sums over all jobs."""

    requests: RequestCounts
    jobs: JobCounts
    batches: BatchCounts
    stop_reasons: StopReasons
    invalid_answers: Count = 0
    in_flight_requests: Count
    next_expiry: Timestamp | None
    resubmitted: Count
    duplicates_total: Count
    oldest_unfinished_at: Timestamp | None

    @classmethod
    def of(cls, totals: Totals) -> Self:
        """The view of *totals*."""
        return cls(
            requests=totals.requests,
            jobs={state.value: count for state, count in totals.jobs.items()},
            batches={state.value: count for state, count in totals.batches.items()},
            stop_reasons=dict(totals.stop_reasons),
            invalid_answers=totals.invalid_answers,
            in_flight_requests=totals.in_flight_requests,
            next_expiry=time_text(totals.next_expiry),
            resubmitted=totals.resubmitted,
            duplicates_total=totals.duplicates_total,
            oldest_unfinished_at=time_text(totals.oldest_unfinished_at),
        )


class GateView(View, frozen=True, kw_only=True):
    """A wait that the API asked for, or that followed its refusals; `tries`: how often in a row."""

    name: str
    set_at: Timestamp
    until: Timestamp
    tries: Count
    why: str

    @classmethod
    def of(cls, gate: Gate) -> Self:
        """The view of *gate*."""
        return cls(
            name=gate.call, set_at=time_text(gate.set_at), until=time_text(gate.until), tries=gate.tries, why=gate.why
        )


class LimitsView(View, frozen=True, kw_only=True):
    """The limits of the engine: settings, the size of a batch, current load and waits."""

    settings: dict[str, int | str | None]
    batch: PlannedView
    in_flight_requests: Count
    waits: list[GateView]
    api: HealthView
