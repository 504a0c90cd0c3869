"""What pages send: actions (a confirmation first if they cannot be undone), and the form for a new job.

A POST is accepted only from a page of this same address, so that no other site can act through somebody's browser. The
form works without JavaScript; with it, the file is streamed to the REST API.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from orchestrator.domain import errors, humanize, job_spec, model
from orchestrator.http_api.api.form import Form
from orchestrator.http_api.api.job_upload import body_blocks
from orchestrator.http_api.dashboard import page
from orchestrator.http_api.upload_memory import claim_of
from orchestrator.ports import engine

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

    from orchestrator.http_api.services import Services
    from orchestrator.ports.reads import Reads

_MOST: Final = 200
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class _Action:
    """The question before an action, what it means, and the confirmation after it."""

    question: str
    meaning: str
    yes: str
    done: str


_VERBS: Final = MappingProxyType(
    {
        "pause": _Action(
            "Pause {}?", "Nothing new is sent; what is at the API goes on and is collected.", "Pause", "paused"
        ),
        "resume": _Action("Resume {}?", "What waits is sent again.", "Resume", "resumed"),
        "cancel": _Action(
            "Cancel {}?",
            "Nothing new is sent, and the API is asked to stop what it has. Whatever had succeeded is kept. "
            "This cannot be taken back; a retry sends the canceled requests again.",
            "Yes, cancel",
            "canceled",
        ),
        "retry": _Action(
            "Retry what failed in {}?", "Failed and canceled requests are queued again and paid for again.", "Retry", ""
        ),
        "adopt": _Action(
            "Is this batch ours?", "Its results are taken for those of the batch in doubt.", "Yes, ours", ""
        ),
        "disown": _Action(
            "Is this batch not ours?", "The batch in doubt is looked for elsewhere, or sent again.", "Not ours", ""
        ),
    }
)


async def load_confirmation(request: page.PageRequest) -> dict[str, object]:
    """The confirmation page. Raises UsageError, NoSuchThing."""
    verb = request.one_of("verb", frozenset(_VERBS))
    if verb is None:
        raise errors.UsageError("no action is chosen", hint="go back and choose one")
    jobs = await request.services.reader.read(partial(_jobs, request.query.getlist("job")))
    remote = request.query.get("remote")
    if not jobs and remote is None:
        raise errors.UsageError("no job is selected", hint="go back and select some")
    told, only = _VERBS[verb], request.query.get("only")
    subject = "this job" if len(jobs) == 1 else humanize.count(len(jobs), "job")
    meaning = told.meaning if only is None else f"Only those that failed with {humanize.plain(only)}. {told.meaning}"
    return {
        "title": told.yes,
        "verb": verb,
        "question": told.question.format(subject),
        "meaning": meaning,
        "yes": told.yes,
        "jobs": jobs,
        "remote": remote,
        "only": only,
        "back": "/batches" if remote is not None else f"/jobs/{jobs[0].public_id}" if len(jobs) == 1 else "/jobs",
    }


def _jobs(refs: list[str], reads: Reads) -> list[model.JobSnapshot]:
    if len(refs) > _MOST:
        raise errors.UsageError(f"{len(refs)} jobs are selected", hint=f"at most {_MOST} at once")
    return [reads.sole(ref) for ref in refs]


def act(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The route of all actions: performs one, and redirects to the page that shows the effect."""

    async def done(request: Request) -> Response:
        try:
            check_origin(request)
            form = await _form(request)
            where, flash = await _do(services, form)
        except errors.OrchestratorError as exc:
            return page.error_page(request, services, exc)
        return redirect_with_flash(request, where, flash)

    return done


def redirect_with_flash(request: Request, where: str, flash: str) -> Response:
    """Redirect to a page that shows what was done; reloading it does not repeat the action."""
    answer = RedirectResponse(where, status_code=303, headers=page.HEADERS)
    page.set_flash(answer, request, flash)
    return answer


def check_origin(request: Request) -> None:
    """Raise HTTPException unless the request comes from a page of this address."""
    origin = request.headers.get("origin")
    if origin is not None and origin != "null":
        same = urlsplit(origin).netloc == request.headers.get("host")
    else:
        same = request.headers.get("sec-fetch-site") == "same-origin"
    if not same:
        raise HTTPException(HTTPStatus.FORBIDDEN, "this does not come from a page of this engine")


async def _form(request: Request) -> FormData:
    if request.headers.get("content-type", "").partition(";")[0].strip() != _FORM:
        raise errors.UsageError("this form is not from these pages", hint="use the buttons")
    return await request.form(max_fields=_MOST + 10)


async def _do(services: Services, form: FormData) -> tuple[str, str]:
    """Perform the action; returns where to redirect to, and the message there."""
    verb, refs, remote = str(form.get("verb")), [str(ref) for ref in form.getlist("job")], form.get("remote")
    if verb in {"adopt", "disown"} and isinstance(remote, str):
        asked = services.commands.adopt(remote, None) if verb == "adopt" else services.commands.disown(remote)
        return "/batches", await asked
    if verb not in {"pause", "resume", "cancel", "retry"} or not refs:
        raise errors.UsageError("no action is chosen", hint="go back and choose one")
    jobs = await services.reader.read(partial(_jobs, refs))
    where = f"/jobs/{jobs[0].public_id}" if len(jobs) == 1 else "/jobs"
    if verb == "retry":
        only = form.get("only")
        return where, await _retried(services, jobs, only if isinstance(only, str) else None)
    moves = {"pause": services.commands.pause, "resume": services.commands.resume, "cancel": services.commands.cancel}
    moved = sum([await moves[verb](job.id) for job in jobs])
    rest = "" if moved == len(jobs) else f"; {humanize.count(len(jobs) - moved, 'job')} in no state for it"
    return where, f"{humanize.count(moved, 'job')} {_VERBS[verb].done}{rest}"


async def _retried(services: Services, jobs: list[model.JobSnapshot], only: str | None) -> str:
    queued, refused = 0, 0
    for job in jobs:
        try:
            queued += await services.commands.retry(job.id, only)
        except (errors.GuardRefused, errors.NoSuchThing):
            if len(jobs) == 1:
                raise
            refused += 1
    rest = f"; {humanize.count(refused, 'job')} in no state for it" if refused else ""
    return f"{humanize.count(queued, 'request')} queued again{rest}"


CONFIRM: Final = page.Page(template="confirm.html", load=load_confirmation, title="Sure?")


_NOTHING: Final[dict[str, object]] = {"problems": None, "problem_count": 0}


async def load_form(_: page.PageRequest) -> dict[str, object]:
    """The empty form."""
    return _NOTHING


def submit_form(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The route of the form: the file is read as it arrives."""

    async def taken_in(request: Request) -> Response:
        try:
            check_origin(request)
            taken = await _ingest(request, services)
        except errors.OrchestratorError as exc:
            return page.error_page(request, services, exc)
        if taken.job is None:
            problems = {"problems": taken.problems, "problem_count": taken.problem_count}
            return page.page_response(
                "new.html", {**page.base_context(request, services), "title": NEW_JOB.title, **problems}, status=422
            )
        flash = "the same content is this job already" if taken.attached else "submitted"
        if taken.renamed_from is not None:
            flash += f"; it was called {taken.renamed_from}"
        return redirect_with_flash(request, f"/jobs/{taken.job.public_id}", flash)

    return taken_in


async def _ingest(request: Request, services: Services) -> engine.IngestResult:
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise errors.UsageError("this form is not from these pages", hint="choose a file and submit it")
    form = Form(kind, body_blocks(request))
    fields = await form.fields()
    source, name = str(fields.get("source", "")), str(fields.get("name", "")).strip()
    if not source:
        raise errors.UsageError("no file was chosen", hint="choose one, and submit it again")
    version = services.identity.api_version
    tags = [tag for part in str(fields.get("tags", "")).split(",") if (tag := part.strip())]
    options = job_spec.JobOptions(name=name or None, tags=tags)
    new = options.new_job(source, default_name=job_spec.name_of(source), default_version=version)
    opened = services.opener(form.blocks(), name=source, api_version=version, claim=claim_of(request))
    return await services.commands.ingest(opened, new, engine.IngestOptions(skip_bad=fields.get("skip_bad") == "1"))


NEW_JOB: Final = page.Page(template="new.html", load=load_form, title="New job")
