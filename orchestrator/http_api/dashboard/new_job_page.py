"""The form for a new job from a file. It works without JavaScript; with it, the file is streamed to the REST API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from orchestrator.domain.errors import OrchestratorError, UsageError
from orchestrator.domain.job_spec import JobOptions, name_of
from orchestrator.http_api.api.form import Form
from orchestrator.http_api.api.job_upload import body_blocks
from orchestrator.http_api.dashboard.actions import check_origin, redirect_with_flash
from orchestrator.http_api.dashboard.page import Page, PageRequest, base_context, error_page, page_response
from orchestrator.http_api.upload_memory import claim_of
from orchestrator.ports.engine import IngestOptions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from orchestrator.http_api.services import Services
    from orchestrator.ports.engine import IngestResult

_NOTHING: Final[dict[str, object]] = {"problems": None, "problem_count": 0}


async def load(_: PageRequest) -> dict[str, object]:
    """The empty form."""
    return _NOTHING


def submit_form(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The route of the form: the file is read as it arrives."""

    async def taken_in(request: Request) -> Response:
        try:
            check_origin(request)
            taken = await _ingest(request, services)
        except OrchestratorError as exc:
            return error_page(request, services, exc)
        if taken.job is None:
            problems = {"problems": taken.problems, "problem_count": taken.problem_count}
            return page_response(
                "new.html", {**base_context(request, services), "title": PAGE.title, **problems}, status=422
            )
        flash = "the same content is this job already" if taken.attached else "submitted"
        if taken.renamed_from is not None:
            flash += f"; it was called {taken.renamed_from}"
        return redirect_with_flash(request, f"/jobs/{taken.job.public_id}", flash)

    return taken_in


async def _ingest(request: Request, services: Services) -> IngestResult:
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise UsageError("this form is not from these pages", hint="choose a file and submit it")
    form = Form(kind, body_blocks(request))
    fields = await form.fields()
    source, name = str(fields.get("source", "")), str(fields.get("name", "")).strip()
    if not source:
        raise UsageError("no file was chosen", hint="choose one, and submit it again")
    version = services.identity.api_version
    tags = [tag for part in str(fields.get("tags", "")).split(",") if (tag := part.strip())]
    new = JobOptions(name=name or None, tags=tags).new_job(
        source, default_name=name_of(source), default_version=version
    )
    opened = services.opener(form.blocks(), name=source, api_version=version, claim=claim_of(request))
    return await services.commands.ingest(opened, new, IngestOptions(skip_bad=fields.get("skip_bad") == "1"))


PAGE: Final = Page(template="new.html", load=load, title="New job")
