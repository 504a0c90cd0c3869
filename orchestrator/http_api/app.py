"""The routes: what each one asks of the engine, and how its answer looks as JSON. No rules of its own."""

from __future__ import annotations

import os
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.domain.errors import InputError, OrchestratorError
from orchestrator.domain.limits import API_MAX_BYTES
from orchestrator.http_api import asking, lines, metrics, problems
from orchestrator.http_api.answers import problem, problem_response
from orchestrator.http_api.services import Services
from orchestrator.http_api.views import does_not_apply, job_view, jobs_view, problem_view
from orchestrator.ports.commands import TakenIn
from orchestrator.ports.source import InputLine, Problem
from orchestrator.version import VERSION

if TYPE_CHECKING:
    from orchestrator.domain.model import Job, JobStatus
    from orchestrator.ports.source import Source

PREFIX: Final = "/api/v1"
_INTERNAL: Final = 8
_WRONG_REQUEST: Final = 2


def build_app(services: Services) -> Starlette:
    """The ASGI application over one engine. Needs no lifespan."""
    api = _Api(services)
    return Starlette(
        routes=[
            Route(f"{PREFIX}/version", api.version, methods=["GET"]),
            Route(f"{PREFIX}/health", api.health, methods=["GET"]),
            Route(f"{PREFIX}/jobs", api.jobs, methods=["GET"]),
            Route(f"{PREFIX}/jobs", api.take_in, methods=["POST"]),
            Route(f"{PREFIX}/jobs/{{ref}}", api.job, methods=["GET"]),
            Route(f"{PREFIX}/jobs/{{ref}}/requests", api.add, methods=["POST"]),
            Route(f"{PREFIX}/jobs/{{ref}}/close", api.close, methods=["POST"]),
            Route(f"{PREFIX}/jobs/{{ref}}/retry", api.retry, methods=["POST"]),
            *(Route(f"{PREFIX}/jobs/{{ref}}/{verb}", api.mover(verb), methods=["POST"]) for verb in api.moves),
            Route(f"{PREFIX}/batches/{{remote_id}}/adopt", api.adopt, methods=["POST"]),
            Route(f"{PREFIX}/batches/{{remote_id}}/disown", api.disown, methods=["POST"]),
            *metrics.routes(services),
        ],
        exception_handlers={
            OrchestratorError: _our_error,
            HTTPException: _wrong_request,
            ClientDisconnect: _nobody_listens,
            Exception: _bug,
        },
    )


class _Api:
    """One method per route."""

    def __init__(self, services: Services) -> None:
        commands = services.commands
        self._commands = commands
        self._reader = services.reader
        self._health = services.health
        self._identity = services.identity
        self._opener = services.opener
        self.moves = {"pause": commands.pause, "resume": commands.resume, "cancel": commands.cancel}

    async def version(self, _: Request) -> Response:
        """Who answers: also the proof that the engine is alive."""
        identity = self._identity
        return JSONResponse(
            {
                "version": VERSION,
                "pid": os.getpid(),
                "db": identity.db,
                "sandbox": identity.sandbox,
                "lineage": identity.lineage,
            }
        )

    async def health(self, _: Request) -> Response:
        """Whether the API answers the engine."""
        health = self._health
        return JSONResponse(
            {
                "api_worked": health.api_worked,
                "last_trouble": health.last_trouble,
                "reads_blocked": health.reads_blocked,
            }
        )

    async def jobs(self, request: Request) -> Response:
        """The newest jobs."""
        limit = asking.whole_number(request.query_params, "limit", default=100, highest=1000)
        found = await self._reader.read(lambda reads: [reads.status(job) for job in reads.jobs(limit=limit)])
        return JSONResponse(jobs_view(found))

    async def job(self, request: Request) -> Response:
        """One job."""
        return JSONResponse(job_view(await self._status(request)))

    async def take_in(self, request: Request) -> Response:
        """A new job from the body, or the one that was made of the same bytes."""
        query = request.query_params
        new = asking.new_job(query, api_version=self._identity.api_version)
        source = self._source(request, name=asking.shown_as(query, new), api_version=new.api_version)
        taken = await self._commands.take_in(source, new, asking.terms(query))
        if taken.job is None:
            return _input_refused(taken)
        view = {"job": await self._view(taken.job), "attached": taken.attached, "refused": taken.refused}
        return JSONResponse(view, status_code=HTTPStatus.OK if taken.attached else HTTPStatus.CREATED)

    async def add(self, request: Request) -> Response:
        """More requests for an open job: all of the body, or nothing of it."""
        job = (await self._status(request)).job
        source = self._source(request, name=job.name, api_version=job.api_version)
        added, wrong = await _whole(source)
        if wrong:
            refused = TakenIn(job=None, attached=False, problems=tuple(wrong[:20]), problem_count=len(wrong), refused=0)
            return _input_refused(refused)
        await self._commands.add(job.id, lines.numbered_on(added, above=job.requests.total))
        return JSONResponse({"added": len(added), "job": await self._view(job)})

    async def close(self, request: Request) -> Response:
        """No more requests will come."""
        job = (await self._status(request)).job
        await self._commands.close(job.id)
        return JSONResponse(await self._view(job))

    def mover(self, verb: str) -> Any:  # noqa: ANN401 - Starlette's own type for endpoints
        """The endpoint of "pause", "resume" or "cancel"."""
        move = self.moves[verb]

        async def moved(request: Request) -> Response:
            job = (await self._status(request)).job
            if not await move(job.id):
                status, document = problems.problem_of(does_not_apply(verb, (await self._status(request)).job))
                return problem(status, {**document, "type": problems.DOES_NOT_APPLY})
            return JSONResponse(await self._view(job))

        return moved

    async def retry(self, request: Request) -> Response:
        """Queue failed and canceled requests again."""
        job = (await self._status(request)).job
        queued = await self._commands.retry(job.id, request.query_params.get("only"))
        return JSONResponse({"queued": queued, "job": await self._view(job)})

    async def adopt(self, request: Request) -> Response:
        """Take a remote batch for ours."""
        ref = request.query_params.get("job")
        job = None if ref is None else (await self._reader.read(lambda reads: reads.find(ref))).id
        return JSONResponse({"done": await self._commands.adopt(request.path_params["remote_id"], job)})

    async def disown(self, request: Request) -> Response:
        """Say that a remote batch is not ours."""
        return JSONResponse({"done": await self._commands.disown(request.path_params["remote_id"])})

    async def _status(self, request: Request) -> JobStatus:
        ref: str = request.path_params["ref"]
        return await self._reader.read(lambda reads: reads.status(reads.find(ref)))

    async def _view(self, job: Job) -> dict[str, object]:
        return job_view(await self._reader.read(lambda reads: reads.status(reads.get(job.id))))

    def _source(self, request: Request, *, name: str, api_version: str) -> Source:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        blocks = asking.blocks(request)
        if kind == lines.CONTENT_TYPE:
            return lines.HandedSource(blocks, name=name)
        return self._opener(blocks, name=name, api_version=api_version)


async def _whole(source: Source) -> tuple[list[InputLine], list[Problem]]:
    """Everything in *source*, which must be small enough to be held: it is stored whole or not at all."""
    good: list[InputLine] = []
    wrong: list[Problem] = []
    held = 0
    async with aclosing(cast("Any", source.chunks())) as chunks:
        async for chunk in chunks:
            good += [item for item in chunk if isinstance(item, InputLine)]
            wrong += [item for item in chunk if isinstance(item, Problem)]
            held += sum(len(item.params) for item in chunk if isinstance(item, InputLine))
            if held > API_MAX_BYTES:
                raise InputError("that is too much at once", hint="add the requests in several steps")
    return good, wrong


def _input_refused(taken: TakenIn) -> Response:
    document = problems.document(
        problems.INPUT_REFUSED,
        "the input was refused",
        detail=f"{taken.problem_count:,} problems; nothing was stored or sent",
        hint="mend the lines, or leave them out with skip_bad=1",
        exit_code=InputError.exit_code,
    )
    document["problems"] = [problem_view(problem) for problem in taken.problems]
    document["problem_count"] = taken.problem_count
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, document)


async def _our_error(_: Request, exc: Exception) -> Response:
    return problem_response(cast("OrchestratorError", exc))


async def _wrong_request(_: Request, exc: Exception) -> Response:
    wrong = cast("HTTPException", exc)
    slug = HTTPStatus(wrong.status_code).phrase.lower().replace(" ", "-")
    hint = f"the routes are below {PREFIX}: jobs, batches, version, health"
    document = problems.document(slug, wrong.detail, detail=None, hint=hint, exit_code=_WRONG_REQUEST)
    response = problem(wrong.status_code, document)
    response.headers.update(wrong.headers or {})
    return response


async def _nobody_listens(_: Request, __: Exception) -> Response:
    """The client went away in the middle of its body; what was read of it is discarded already."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _bug(_: Request, __: Exception) -> Response:
    """Starlette raises the error again behind this answer, and the server logs it."""
    title = "the engine failed while it worked on this"
    document = problems.document("internal", title, detail=None, hint="its log says more", exit_code=_INTERNAL)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, document)
