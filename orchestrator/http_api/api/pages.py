"""Results by their numbers, and lines that were left out: in pages, for a client that keeps its own place."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from typing import Annotated, Final

import msgspec
from fastapi import Query
from starlette.responses import Response

from orchestrator.domain.ids import MAX_NUMBER, JobId
from orchestrator.domain.model import ResultRow
from orchestrator.domain.result_lines import result_of
from orchestrator.http_api.api import page_shapes as shapes
from orchestrator.http_api.api.jobs import Found
from orchestrator.http_api.api.params import Limit
from orchestrator.http_api.api.routing import The, refusals, router, said
from orchestrator.ports.reads import Reads
from orchestrator.ports.streams import InputProblem
from orchestrator.views.job_views import problem_view

api = router("results")

#: An answer may have hundreds of kilobytes, and a page is held whole.
_MOST_RESULTS: Final = 200


@api.get("/jobs/{ref}/results/page", response_model=shapes.ResultPage, responses=refusals(404, 410))
async def results(
    services: The,
    found: Found,
    above: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="Only requests above this `number`.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_RESULTS, description="At most so many.")] = 100,
) -> Response:
    """The next settled requests, in input order, with their numbers; the stream of all is /results."""
    return said(await services.bulk.read(partial(_results, found.job.id, above, limit)))


def _results(job: JobId, above: int, limit: int, reads: Reads) -> dict[str, object]:
    rows = reads.results(job, above=above, limit=limit)
    return {"results": [_result(row) for row in rows], "next": rows[-1].number if len(rows) == limit else None}


def _result(row: ResultRow) -> dict[str, object]:
    return {
        "number": row.number,
        "custom_id": row.custom_id,
        "state": row.state.value,
        "result": msgspec.Raw(result_of(row)),
    }


@api.get("/jobs/{ref}/refused", response_model=shapes.LeftOut, responses=refusals(404))
async def refused(
    services: The,
    found: Found,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="Only lines behind this one.")] = 0,
    limit: Limit = 100,
) -> Response:
    """The lines that `skip_bad` left out, in file order, with what is wrong; a line may have several problems."""
    job = found.job.id
    problems = await services.bulk.read(lambda reads: reads.refused(job, after=after, limit=limit))
    more = problems[-1].line if len(problems) >= limit else None
    return said({"refused": [_left_out(problem) for problem in problems], "next": more})


def _left_out(problem: InputProblem) -> dict[str, object]:
    return {**problem_view(problem), "raw": b64encode(problem.raw).decode("ascii")}


ROUTERS = (api,)
