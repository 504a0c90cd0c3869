"""Routes of a job's requests and their results.

Requests: one in full, failures by cause, and lines that were left out; lists are in `request_lists`. Results: in pages,
and a stream in the format of a result file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Header, Path, Query, Response
from fastapi.responses import StreamingResponse

from orchestrator.domain import ids, model, queries, result_lines, states
from orchestrator.domain.answer_table import OutputFormat, OutputShape
from orchestrator.domain.errors import GuardRefused, UsageError
from orchestrator.domain.result_choice import ALL_OF_A_JOB, RequestChoice, ResultChoice
from orchestrator.http_api import responses
from orchestrator.http_api.api import job_routes, request_query, result_tables, route_docs, routing
from orchestrator.http_api.services import Services
from orchestrator.ports import caller
from orchestrator.ports.reads import Reads
from orchestrator.views import cost_views, request_views

api = routing.router("requests")
result_api = routing.router("results")


@api.get("/jobs/{ref}/requests/{custom_id:path}", responses=route_docs.answers(request_views.RequestView, 404))
async def request(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    custom_id: Annotated[str, Path(description="The request's own id.")],
) -> Response:
    """One request: params, result, usage, and its failed attempts."""

    def look(reads: Reads) -> request_views.RequestView:
        view = reads.request(found.job.id, custom_id)
        return request_views.RequestView.of(found.job, view, reads.neighbours(found.job.id, view.number))

    return routing.json_response(await services.reader.read(look))


@api.get("/jobs/{ref}/errors", responses=route_docs.answers(request_views.ErrorsView, 404))
async def errors(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    groups: Annotated[int, Query(ge=1, le=10_000, description="Maximum number of causes.")] = 50,
    examples: Annotated[int, Query(ge=0, le=1000, description="Examples per cause.")] = 3,
) -> Response:
    """What failed, grouped by cause, the largest group first."""
    grouped = await services.bulk.read(lambda reads: reads.errors(found.job.id, groups=groups, examples=examples))
    return routing.json_response(request_views.ErrorsView.of(found, grouped))


_PAGE: Final = 500
_LOOK: Final = timedelta(seconds=15)
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "One line per settled request, as the API writes them; with `rows` each has its `row`, or null. "
        "By `Accept` a table. A stream that was not ended is cut.",
        "content": {
            result_tables.LINES: {
                "schema": {"type": "string"},
                "example": '{"custom_id":"hello-1","result":{"type":"succeeded","message":{}}}\n',
            },
            **result_tables.CONTENTS,
        },
    }
}


TableDep = Annotated[result_tables.TableQuery, Depends(result_tables.table_query)]
Follow = Annotated[Literal["0", "1"], Query(description="1: wait until the job is over.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ResultQuery:
    """after: the request that the client read last; follow: wait for requests that are not settled yet.

    rows: each line with the row that its request was made of. only: which results; choice: of which requests.
    """

    job: ids.JobId
    after: queries.RequestDetails | None
    follow: bool
    rows: bool
    only: ResultChoice
    choice: RequestChoice

    def lines(self, found: list[queries.ResultRow]) -> bytes:
        """What is wanted of *found*, as it is sent."""
        wanted = self.only.of(found)
        return result_lines.joined_lines(wanted) if self.rows else result_lines.settled_lines(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The query of a download."""

    as_settled: bool
    after: str | None
    follow: bool
    rows: bool


async def _asked(
    order: Annotated[
        Literal["input", "settled"], Query(description="As handed in, or as the batches settled.")
    ] = "input",
    after: routing.AfterLine = None,
    follow: Follow = "0",
    rows: routing.WithRows = False,
) -> _Asked:
    return _Asked(as_settled=order == "settled", after=after, follow=follow == "1", rows=rows)


@result_api.get(
    "/jobs/{ref}/results",
    response_class=StreamingResponse,
    responses={**_STREAM, **route_docs.error_responses(404, 410)},
)
async def results(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    asked: Annotated[_Asked, Depends(_asked)],
    table: TableDep,
    accept_encoding: Annotated[str, Header(include_in_schema=False)] = "",
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """The results so far, one line each; gzipped if `Accept-Encoding` allows it.

    Resume a broken download with `after`: the `custom_id` of the last whole line, in either order. If the job was
    retried meanwhile, start over. In input order, `follow` sends nothing before the job is over. With `Accept:
    text/csv`, `text/tab-separated-values`, `application/vnd.apache.parquet` or `text/plain` it is what `results.csv`,
    `.tsv`, `.parquet` and `.txt` are.
    """
    job = found.job.id
    await services.bulk.read(lambda reads: reads.results(job, above=0, limit=1))  # purged: said before the first byte
    shape = table.shape(result_tables.accepted_format(accept))
    if shape.format is not OutputFormat.JSONL:
        result_tables.refuse_places(shape.format, after=asked.after, as_settled=asked.as_settled)
        return await _table(services, found, table, shape, accept_encoding, follow=asked.follow)
    if asked.as_settled and table.choice != ALL_OF_A_JOB:
        raise UsageError("order=settled has all requests of the job", hint="leave out order=, or what chooses requests")
    after = asked.after
    last = None if after is None else await services.bulk.read(lambda reads: reads.request(job, after))
    choice = table.choice
    walk = _ResultQuery(job=job, after=last, follow=asked.follow, rows=asked.rows, only=shape.only, choice=choice)
    pages = _as_settled(services, walk) if asked.as_settled else _in_input_order(services, walk)
    return responses.download(pages, result_tables.LINES, accept_encoding)


async def _table(
    services: Services,
    found: model.JobStatus,
    table: result_tables.TableQuery,
    shape: OutputShape,
    accept_encoding: str,
    *,
    follow: bool,
) -> Response:
    """The results as a table; with *follow* when the job is over."""
    media_type = result_tables.MEDIA_TYPES[shape.format]
    await result_tables.opened(services, found.job, shape)  # what is wrong with it is said before the first byte
    pages = _table_pages(services, found.job, shape, table.choice, follow=follow)
    return responses.download(pages, media_type, "" if shape.format is OutputFormat.PARQUET else accept_encoding)


async def _table_pages(
    services: Services, job: model.JobSnapshot, shape: OutputShape, choice: RequestChoice, *, follow: bool
) -> AsyncGenerator[bytes, None]:
    while follow and not await services.reader.read(partial(_is_over, job.id)):
        await _wait_for_move(services)
    async with aclosing(result_tables.stream(services, job, shape, choice)) as pages:
        async for piece in pages:
            yield piece


def _table_route(kind: OutputFormat) -> Callable[..., Coroutine[Any, Any, Response]]:
    """The route of one suffix."""

    async def as_table(
        services: routing.ServicesDep,
        found: job_routes.JobDep,
        table: TableDep,
        follow: Follow = "0",
        accept_encoding: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response:
        return await _table(services, found, table, table.shape(kind), accept_encoding, follow=follow == "1")

    as_table.__name__ = f"results_as_{kind.value}"
    as_table.__doc__ = result_tables.ABOUT[kind]
    return as_table


for _kind in result_tables.MEDIA_TYPES:
    result_api.get(
        f"/jobs/{{ref}}/results.{_kind.value}",
        response_class=StreamingResponse,
        responses=result_tables.responses(_kind),
    )(_table_route(_kind))


async def _in_input_order(services: Services, walk: _ResultQuery) -> AsyncGenerator[bytes, None]:
    while walk.follow and not await services.reader.read(partial(_is_over, walk.job)):
        await _wait_for_move(services)
    above = 0 if walk.after is None else walk.after.number
    while found := await services.bulk.read(partial(_results, walk, above)):
        above = found[-1].number
        yield walk.lines(found)


async def _as_settled(services: Services, walk: _ResultQuery) -> AsyncGenerator[bytes, None]:
    place = queries.SettledCursor()
    if walk.after is not None:
        place = await _place_of(services, walk.job, walk.after)
    while True:
        found, place, is_over = await services.bulk.read(partial(_settled, walk, place))
        if found:
            yield walk.lines(found)
        elif is_over or not walk.follow:
            return
        else:
            await _wait_for_move(services)


async def _wait_for_move(services: Services) -> None:
    """Wait for a change of state. Raises GuardRefused when the engine stops, RoleRefused when the token is gone."""
    if services.feed.is_over:
        raise GuardRefused("the engine is stopping", hint="go on with after=")
    await services.feed.change(_LOOK)
    caller.check_still_let_in()


async def _place_of(services: Services, job: ids.JobId, last: queries.RequestDetails) -> queries.SettledCursor:
    """The place of *last* in settling order: behind the event that settled its batch."""
    is_late = last.state is states.RequestState.SUCCEEDED and last.attempts == 0  # a twin that came after its batch
    if last.batch_id is None or is_late:
        return queries.SettledCursor(event=None, number=last.number)
    after, place = 0, None
    while page := await services.bulk.read(partial(_events, job, after)):
        after = page[-1].id
        for event in page:
            if event.batch_id == last.batch_id and event.new == states.BatchState.SETTLED:
                place = queries.SettledCursor(event=event.id, number=last.number)
    if place is None:
        raise GuardRefused(
            "that request is not settled any more", hint="the job was retried: begin anew, without after="
        )
    return place


def _is_over(job: ids.JobId, reads: Reads) -> bool:
    return reads.get(job).state in states.OVER


def _events(job: ids.JobId, after: int, reads: Reads) -> list[model.Event]:
    return reads.events(job, after=after)


def _results(walk: _ResultQuery, above: int, reads: Reads) -> list[queries.ResultRow]:
    return reads.results(walk.job, above=above, limit=_PAGE, rows=walk.rows, choice=walk.choice)


def _settled(
    walk: _ResultQuery, after: queries.SettledCursor, reads: Reads
) -> tuple[list[queries.ResultRow], queries.SettledCursor, bool]:
    found, place = reads.settled_results(walk.job, after=after, limit=_PAGE, rows=walk.rows)
    return found, place, _is_over(walk.job, reads)


#: An answer may have hundreds of kilobytes, and a page is held whole.
_MOST_RESULTS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _AskedPage:
    """The query of a page of results."""

    above: int
    limit: int
    rows: bool
    trial: bool


async def _asked_page(
    above: Annotated[int, Query(ge=0, le=ids.MAX_NUMBER, description="Only requests above this `number`.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_RESULTS, description="Maximum number of entries.")] = 100,
    rows: routing.WithRows = False,
    trial: Annotated[bool, Query(description="Only requests of its trials, or its pilot.")] = False,
) -> _AskedPage:
    return _AskedPage(above=above, limit=limit, rows=rows, trial=trial)


@result_api.get(
    "/jobs/{ref}/results/page", responses=route_docs.answers(request_views.ResultPageView, 404, 410), name="results"
)
async def result_page(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    asked: Annotated[_AskedPage, Depends(_asked_page)],
    choice: Annotated[RequestChoice, Depends(request_query.states_and_filter)],
) -> Response:
    """A page of settled requests in input order, with their numbers; /results streams all of them."""

    def page(reads: Reads) -> request_views.ResultPageView:
        above, limit, rows = asked.above, asked.limit, asked.rows
        page = reads.results(found.job.id, above=above, limit=limit, rows=rows, trial=asked.trial, choice=choice)
        return _result_page(page, limit, rows, is_cut=choice != ALL_OF_A_JOB)

    return routing.json_response(await services.bulk.read(page))


def _result_page(
    found: list[queries.ResultRow], limit: int, with_rows: bool, *, is_cut: bool
) -> request_views.ResultPageView:
    """is_cut: there may be more, although there are fewer than *limit*."""
    more = found[-1].number if len(found) == limit or (found and is_cut) else None
    views = [request_views.ResultRowView.of(row, with_row=with_rows) for row in found]
    return request_views.ResultPageView(results=views, next=more)


@result_api.get("/jobs/{ref}/results/columns", responses=route_docs.answers(request_views.RowColumnsView, 404, 410))
async def row_columns(services: routing.ServicesDep, found: job_routes.JobDep) -> Response:
    """The columns of the rows that the job was made of, which tables of its results begin with."""
    columns = await services.bulk.read(lambda reads: reads.row_columns(found.job.id))
    return routing.json_response(request_views.RowColumnsView.of(columns))


@result_api.get("/jobs/{ref}/costs", responses=route_docs.answers(cost_views.RequestCostsView, 404, 410))
async def costs(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    above: Annotated[int, Query(ge=0, le=ids.MAX_NUMBER, description="Only requests above this `number`.")] = 0,
    limit: routing.Limit = 100,
) -> Response:
    """What settled requests cost, in input order."""
    rows = await services.bulk.read(lambda reads: reads.request_costs(found.job.id, above=above, limit=limit))
    view = cost_views.RequestCostsView(
        costs=[cost_views.RequestCostView.of(row) for row in rows],
        next=rows[-1].number if len(rows) == limit else None,
    )
    return routing.json_response(view)


@result_api.get("/jobs/{ref}/refused", responses=route_docs.answers(request_views.LeftOutView, 404))
async def refused(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    after: Annotated[int, Query(ge=0, le=ids.MAX_NUMBER, description="Only lines behind this one.")] = 0,
    limit: routing.Limit = 100,
) -> Response:
    """The lines that `skip_bad` left out, in file order, with their problems; a line may have several."""
    job = found.job.id
    problems = await services.bulk.read(lambda reads: reads.refused(job, after=after, limit=limit))
    more = problems[-1].line if len(problems) >= limit else None
    return routing.json_response(
        request_views.LeftOutView(
            refused=[request_views.LineLeftOutView.with_line(problem) for problem in problems], next=more
        )
    )


ROUTERS = (api, result_api)
