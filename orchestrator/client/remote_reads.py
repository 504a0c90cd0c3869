"""Reads of a server over its HTTP API: the same questions and values as those of a store on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self, TypeVar
from urllib.parse import quote

import msgspec
from typing_extensions import override

from orchestrator.client.errors import ServerSilent
from orchestrator.client.transport import ServerTransport, cause_of
from orchestrator.domain import ids, model, notices, queries, row_columns, spending, states
from orchestrator.domain.budgets import Limit
from orchestrator.domain.errors import NoSuchThing
from orchestrator.domain.json_text import mask_lone_surrogates
from orchestrator.domain.result_choice import ALL_OF_A_JOB, RequestChoice
from orchestrator.ports import reads, streams
from orchestrator.views import batch_views, cost_views, job_views, request_views, service_views
from orchestrator.views.view import View

if TYPE_CHECKING:
    import httpx2


V = TypeVar("V", bound=View)
P = TypeVar("P", job_views.JobsView, batch_views.BatchesView, service_views.DeliveriesView)
Query = Mapping[str, str | int | list[str] | None]
#: The JSON that a GET of a path gives.
Fetch = Callable[[str, Query], bytes]

#: The most that a page of the API holds. Source: `http_api.api.routing.Limit`.
_PAGE: Final = 1000
#: As much as the list of jobs takes as `q`. Source: `http_api.api.job_routes`.
_LONGEST_Q: Final = 200
#: As many ended batches as the store itself judges by. Source: `ended_spans` in store/sql/batches.sql.
_SPANS: Final = 50


#: Of results fewer: one may have hundreds of kilobytes.
_RESULTS: Final = 200
#: References that are no segment of a path.
_NO_PATH: Final = frozenset({"", ".", ".."})


def number_of(public_id: str) -> ids.JobId:
    """The JobId of a server's job: its public id read as a number, so that every reader has the same one."""
    return ids.JobId(int.from_bytes(public_id.encode(), "big"))


def public_id_of(number: ids.JobId) -> str:
    """The public id of a `number_of`."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big").decode()


class HttpReads(reads.RemoteReads):
    """The reads of one look. A job and its batches are fetched once, so that what is shown is of one moment."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._statuses: dict[ids.JobId, model.JobStatus] = {}
        self._batches: dict[ids.JobId, list[model.Batch]] = {}

    @override
    def meta(self) -> model.StoreIdentity:
        version = self._ask(service_views.VersionView, "version", {})
        return model.StoreIdentity(lineage=version.lineage, sandbox=version.sandbox)

    @override
    def find(self, ref: str) -> model.JobSnapshot:
        if ref in _NO_PATH or "/" in ref:
            return self._find_by_name(ref)
        return self._remember(self._ask(job_views.JobView, f"jobs/{quote(ref, safe='@')}", {})).job

    @override
    def sole(self, ref: str) -> model.JobSnapshot:
        job = self.find(ref)
        if ref not in {job.public_id, "@last"} and job.name == ref:
            queries.refuse_several(
                ref, [view.id for view in self._jobs(queries.JobFilter(text=ref[:_LONGEST_Q])) if view.name == ref]
            )
        return job

    @override
    def get(self, job: ids.JobId) -> model.JobSnapshot:
        return self._status(job).job

    @override
    def jobs(self, *, limit: int, where: queries.JobFilter = queries.ALL_JOBS) -> list[model.JobSnapshot]:
        return [self._remember(view).job for view in self._jobs(where, most=limit)]

    @override
    def unfinished(self) -> list[model.JobSnapshot]:
        return [self._remember(view).job for view in self._jobs(queries.JobFilter(states=queries.UNFINISHED))][::-1]

    @override
    def status(self, job: model.JobSnapshot) -> model.JobStatus:
        return self._status(job.id)

    @override
    def cost(self, job: model.JobSnapshot) -> spending.JobCost:
        return self._ask(cost_views.JobCostView, self._path(job.id, "cost"), {}).to_job_cost()

    @override
    def spending(self, by: spending.SpendBy, *, since: date | None = None) -> list[spending.Spending]:
        query: Query = {"by": by.value, "since": None if since is None else since.isoformat()}
        return [line.to_spending() for line in self._ask(cost_views.SpendView, "spend", query).lines]

    @override
    def budgets(self, now: datetime) -> list[Limit]:
        """As they stand at the server's own now."""
        return [view.to_limit() for view in self._ask(cost_views.BudgetsView, "budgets", {}).budgets]

    @override
    def refused(self, job: ids.JobId, *, after: int = 0, limit: int = _PAGE) -> list[streams.InputProblem]:
        page = self._ask(request_views.LeftOutView, self._path(job, "refused"), {"after": after, "limit": limit})
        return [view.to_left_out() for view in page.refused]

    @override
    def errors(self, job: ids.JobId, *, groups: int = 50, examples: int = 3) -> list[queries.ErrorGroup]:
        found = self._ask(request_views.ErrorsView, self._path(job, "errors"), {"groups": groups, "examples": examples})
        return [view.to_group() for view in found.groups]

    @override
    def request(self, job: ids.JobId, custom_id: str) -> queries.RequestDetails:
        content = self._fetch(self._path(job, "requests", _path_segment(custom_id)), {})
        return request_views.RequestView.decode(content).to_details()

    @override
    def chosen_requests(
        self, job: ids.JobId, choice: RequestChoice, *, above: int, limit: int
    ) -> list[queries.RequestRow]:
        place = {"cursor": queries.encode_cursor(above) if above else None, "limit": min(limit, _PAGE)}
        page = self._ask(request_views.RequestsView, self._path(job, "requests"), {**_wanted(choice), **place})
        return [view.to_row() for view in page.requests]

    @override
    def request_lines(
        self, job: ids.JobId, choice: RequestChoice, *, after: str | None, limit: int, rows: bool = False
    ) -> list[queries.RequestLine]:
        place: Query = {"after": after, "limit": min(limit, _PAGE), "rows": "true" if rows else None}
        content = self._fetch(self._path(job, "requests.jsonl"), {**_wanted(choice), **place})
        return [queries.RequestLine(_own_id(line), line) for line in content.splitlines(keepends=True)]

    @override
    def results(
        self,
        job: ids.JobId,
        *,
        above: int,
        limit: int,
        rows: bool = False,
        trial: bool = False,
        choice: RequestChoice = ALL_OF_A_JOB,
    ) -> list[queries.ResultRow]:
        told: Query = {"rows": "true" if rows else None, "trial": "true" if trial else None, **_wanted(choice)}
        query: Query = {"above": above, "limit": min(limit, _RESULTS), **told}
        page = request_views.ResultPageView.decode(self._fetch(self._path(job, "results", "page"), query))
        return [row.to_row() for row in page.results]

    @override
    def row_columns(self, job: ids.JobId) -> tuple[row_columns.RowColumn, ...]:
        return self._ask(request_views.RowColumnsView, self._path(job, "results", "columns"), {}).to_columns()

    @override
    def request_costs(self, job: ids.JobId, *, above: int, limit: int) -> list[queries.RequestCost]:
        query: Query = {"above": above, "limit": min(limit, _PAGE)}
        page = self._ask(cost_views.RequestCostsView, self._path(job, "costs"), query)
        return [row.to_row() for row in page.costs]

    @override
    def events(self, job: ids.JobId | None, *, after: int = 0, limit: int = _PAGE) -> list[model.Event]:
        path = "events" if job is None else self._path(job, "events")
        page = self._ask(service_views.EventsView, path, {"after": after, "limit": limit})
        return [view.to_event(None if view.job is None else number_of(view.job)) for view in page.events]

    @override
    def batches(self, job: ids.JobId) -> list[model.Batch]:
        if job not in self._batches:
            pages = self._pages(batch_views.BatchesView, self._path(job, "batches"), {})
            found = [view.to_batch(job) for page in pages for view in page.batches]
            self._batches[job] = sorted(found, key=lambda batch: batch.id)
        return self._batches[job]

    @override
    def batch(self, ref: str) -> model.Batch:
        if ref in _NO_PATH or "/" in ref:
            raise NoSuchThing(f"no batch {ref!r}", hint="orchestrator batches ls shows every batch")
        view = self._ask(batch_views.BatchInFullView, f"batches/{quote(ref, safe='')}", {})
        return view.to_batch(number_of(view.job))

    @override
    def spans(self, job: ids.JobId) -> list[tuple[datetime, datetime]]:
        ended = [
            (batch.created_at, batch.ended_at)
            for batch in self.batches(job)
            if batch.created_at is not None and batch.ended_at is not None
        ]
        return ended[-_SPANS:]

    @override
    def over_since(self, until: datetime) -> list[model.JobSnapshot]:
        views = self._jobs(queries.JobFilter(states=states.OVER))
        jobs = [self._remember(view).job for view in views]
        return [
            job
            for job in reversed(jobs)
            if job.purged_at is None and job.finished_at is not None and job.finished_at <= until
        ]

    @override
    def endpoints(self) -> list[notices.Endpoint]:
        return [view.to_endpoint() for view in self._ask(service_views.EndpointsView, "webhooks", {}).endpoints]

    @override
    def deliveries(self, *, limit: int, state: notices.DeliveryState | None = None) -> list[notices.Delivery]:
        query: Query = {} if state is None else {"state": state.value}
        pages = self._pages(service_views.DeliveriesView, "webhooks/deliveries", query, most=limit)
        return [view.to_delivery() for page in pages for view in page.deliveries]

    def _ask(self, kind: type[V], path: str, query: Query) -> V:
        return msgspec.json.decode(self._fetch(path, query), type=kind)

    def _jobs(self, where: queries.JobFilter, *, most: int | None = None) -> Iterator[job_views.JobView]:
        query: Query = {"state": sorted(where.states), "tag": sorted(where.tags), "q": where.text}
        days = {name: day.isoformat() for name, day in (("since", where.since), ("until", where.until)) if day}
        more = {"by": where.submitted_by, **days}
        # A server of before knows none of these.
        query = {**query, **{name: value for name, value in more.items() if value is not None}}
        for page in self._pages(job_views.JobsView, "jobs", query, most=most):
            yield from page.jobs

    def _pages(self, kind: type[P], path: str, query: Query, *, most: int | None = None) -> Iterator[P]:
        """The pages of a list with at most *most* entries."""
        cursor: str | None = None
        while most is None or most > 0:
            limit = _PAGE if most is None else min(most, _PAGE)
            page = self._ask(kind, path, {**query, "limit": limit, "cursor": cursor})
            yield page
            most = None if most is None else most - limit
            cursor = page.next
            if cursor is None:
                return

    def _status(self, job: ids.JobId) -> model.JobStatus:
        if job not in self._statuses:
            return self._remember(self._ask(job_views.JobView, self._path(job), {}))
        return self._statuses[job]

    def _remember(self, view: job_views.JobView) -> model.JobStatus:
        status = view.to_status(number_of(view.id))
        self._statuses[status.job.id] = status
        return status

    def _find_by_name(self, ref: str) -> model.JobSnapshot:
        """The newest job with a name that no path can hold. Raises NoSuchThing."""
        views = self._jobs(queries.JobFilter(text=ref)) if ref else iter(())
        found = next((view for view in views if view.name == ref), None)
        if found is None:
            raise NoSuchThing(f"no job {ref!r}", hint=queries.LISTED_JOBS)
        return self._remember(found).job

    def _path(self, job: ids.JobId, *more: str) -> str:
        return "/".join(("jobs", quote(public_id_of(job), safe=""), *more))


def _wanted(choice: RequestChoice) -> dict[str, str | int | list[str] | None]:
    within = choice.within
    return {
        "state": sorted(choice.states),
        "stop_reason": sorted(choice.stops),
        "only": sorted(choice.only),
        "batch": within.batch,
        "error_type": within.error_type,
        "error_message": within.error_message,
        "error_cause": within.cause,
        "custom_id_prefix": within.id_prefix,
    }


class _LineId(msgspec.Struct):
    custom_id: str


def _own_id(line: bytes) -> str:
    return msgspec.json.decode(mask_lone_surrogates(line), type=_LineId).custom_id


def _path_segment(text: str) -> str:
    """*text* as one segment of a path; a segment of dots alone would be normalised away."""
    return text.replace(".", "%2E") if text in _NO_PATH else quote(text, safe="")


T = TypeVar("T")


#: A server that has answered once and is gone is waited for: it may be starting again.
PATIENCE: Final = timedelta(minutes=5)
_SHORTEST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0


class HttpReader:
    """Reads a server over one connection. Safe to use from several threads; close it at the end.

    patience: how long a silent server is asked again, if it answered before. has_answered: it did already. say: is
    called once when that begins.
    """

    def __init__(
        self,
        transport: ServerTransport,
        *,
        patience: timedelta = PATIENCE,
        has_answered: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._transport = transport
        self._patience = patience
        self._say = say
        self._client: httpx2.Client | None = None
        self._has_answered = has_answered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    async def read(self, look: Callable[[reads.RemoteReads], T]) -> T:
        """Run *look* in a thread; repeat it while a server that answered before is silent. Raises ServerSilent."""
        pauses = self._pauses()
        while True:
            try:
                return await asyncio.to_thread(self._once, look)
            except ServerSilent as exc:
                await asyncio.sleep(self._pause(pauses, exc))

    @contextmanager
    def snapshot(self) -> Iterator[reads.RemoteReads]:
        """Reads that are not repeated."""
        with self._checked_form():
            yield HttpReads(self.fetch)

    def ask(self, kind: type[V], path: str, query: Query) -> V:
        """What the server answers to a GET of *path*, which is a *kind*."""
        return msgspec.json.decode(self.fetch(path, query), type=kind)

    def fetch(self, path: str, query: Query) -> bytes:
        """The JSON body of a GET of *path*. Raises ServerSilent, and the error that a problem document describes."""
        import httpx2

        if self._client is None:
            self._client = self._transport.blocking_client()
        given = {key: value for key, value in query.items() if value is not None}
        try:
            response = self._client.get(path, params=given)
        except httpx2.TransportError as exc:
            raise self._transport.unavailable(cause_of(exc)) from exc
        self._transport.check(response)
        return response.content

    def _once(self, look: Callable[[reads.RemoteReads], T]) -> T:
        with self._checked_form():
            found = look(HttpReads(self.fetch))
        self._has_answered = True
        return found

    @contextmanager
    def _checked_form(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, ValueError, msgspec.DecodeError) as exc:
            raise self._transport.unreadable(f"its answer has another form ({cause_of(exc)})") from exc

    def _pauses(self) -> Iterator[float]:
        """The pauses between tries until the patience is over; none for a server that never answered."""
        give_up_at = time.monotonic() + self._patience.total_seconds()
        pause = _SHORTEST_PAUSE_S
        while self._has_answered and time.monotonic() < give_up_at:
            yield pause
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _pause(self, pauses: Iterator[float], silence: ServerSilent) -> float:
        pause = next(pauses, None)
        if pause is None:
            raise silence
        if pause == _SHORTEST_PAUSE_S and self._say is not None:
            self._say(f"{silence.message}, trying again ({silence.cause})")
        return pause
