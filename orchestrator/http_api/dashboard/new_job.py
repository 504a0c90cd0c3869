"""The form for a new job. It works without JavaScript; with it, a file is shown and checked before it is sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from starlette.responses import JSONResponse, Response

from orchestrator.domain import errors, job_spec, money, table_spec
from orchestrator.domain.answer_schema import AnswerSchema
from orchestrator.domain.api_versions import API_VERSIONS
from orchestrator.domain.pilot import LEAST_PILOT, MOST_PILOT
from orchestrator.domain.priming import CacheUse
from orchestrator.http_api import responses
from orchestrator.http_api.api.form import Form
from orchestrator.http_api.api.job_upload import TEMPLATE_HINT, body_blocks
from orchestrator.http_api.dashboard import page, table_preview
from orchestrator.http_api.dashboard.actions import check_origin, redirect_with_flash
from orchestrator.http_api.upload_memory import claim_of
from orchestrator.ports import engine
from orchestrator.views import cost_question
from orchestrator.views.problem_details import problem_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from orchestrator.http_api.services import Services
    from orchestrator.ports.runtime import MemoryReservation


class _Unconfirmed(Exception):
    """The file may cost more than was said yes to; *fields* are what the form said."""

    def __init__(self, question: cost_question.CostQuestion, fields: Mapping[str, str]) -> None:
        super().__init__(question.what)
        self.told = {"question": question.what, "yes": f"{money.as_text(question.most)}{_AND_MORE * question.is_open}"}
        self.fields = fields


class _Refused(Exception):
    """The file has problems; *fields* are what the form said."""

    def __init__(self, taken: engine.IngestResult, fields: Mapping[str, str]) -> None:
        super().__init__("the file has problems")
        self.taken = taken
        self.fields = fields


class _NotTaken(Exception):
    """*error* came of the form; *fields* are what it said."""

    def __init__(self, error: errors.OrchestratorError, fields: Mapping[str, str]) -> None:
        super().__init__(error.message)
        self.error = error
        self.fields = fields


_Outcome: TypeAlias = engine.IngestResult | errors.OrchestratorError | _NotTaken | _Unconfirmed | _Refused

_EMPTY: Final[dict[str, object]] = {
    "problems": None,
    "problem_count": 0,
    "wrong": None,
    "question": None,
    "yes": "",
    "given": {},
}
#: What a pasted text may be, in words.
_KINDS: Final[Mapping[str, str]] = {
    table_spec.TableKind.JSONL.value: "requests or rows as JSON Lines",
    table_spec.TableKind.TSV.value: "cells of a spreadsheet, with tabs",
    table_spec.TableKind.CSV.value: "CSV",
    table_spec.TableKind.JSON.value: "a JSON array",
    table_spec.TableKind.TXT.value: "prompts, one a line",
}
_CHOICES: Final = {
    "rough": cost_question.ROUGH,
    "cache_uses": [use.value for use in CacheUse],
    "least_pilot": LEAST_PILOT,
    "most_pilot": MOST_PILOT,
    "retry_invalid": job_spec.DEFAULT_RETRY_INVALID,
    "most_retries": job_spec.OPTIONS["retry_invalid"].schema["maximum"],
    "versions": API_VERSIONS,
    "priority": job_spec.DEFAULT_PRIORITY,
    "most_priority": job_spec.OPTIONS["priority"].schema["maximum"],
    "pasted_kinds": _KINDS.items(),
}
#: Options that are whole numbers.
_NUMBERS: Final = ("priority", "pilot", "limit", "sample", "seed", "retry_invalid")
#: The field of a text that stands for a file, and the one that says what it is.
_PASTED: Final = "paste"
_PASTED_AS: Final = "paste_as"
#: After an amount that was confirmed: nobody can bound what it may cost.
_AND_MORE: Final = "+"


async def load_form(request: page.PageRequest) -> dict[str, object]:
    """The empty form."""
    return {**_EMPTY, **_CHOICES, **_from_settings(request.services)}


def _from_settings(services: Services) -> dict[str, object]:
    return {"defaults": services.settings.defaults, "fixed_version": services.settings.api.version}


def submit_form(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The route of the form: the file is read as it arrives. The script of the page asks for JSON."""

    async def taken_in(request: Request) -> Response:
        found: _Outcome
        try:
            check_origin(request)
            found = await _ingest(request, services)
        except (errors.OrchestratorError, _NotTaken, _Unconfirmed, _Refused) as exc:
            found = exc
        show = _as_json if "application/json" in request.headers.get("accept", "") else _as_page
        return show(request, services, found)

    return taken_in


def _as_json(request: Request, services: Services, found: _Outcome) -> Response:
    if isinstance(found, errors.OrchestratorError | _NotTaken):
        return responses.problem_response(found.error if isinstance(found, _NotTaken) else found)
    if isinstance(found, _Unconfirmed):
        return JSONResponse(found.told, HTTPStatus.CONFLICT, headers=page.HEADERS)
    if isinstance(found, _Refused):
        return responses.input_refused(found.taken)
    answer = JSONResponse({"page": _page_of(found)}, HTTPStatus.CREATED, headers=page.HEADERS)
    page.set_flash(answer, request, services, _taken_words(found))
    return answer


def _as_page(request: Request, services: Services, found: _Outcome) -> Response:
    if isinstance(found, errors.OrchestratorError):
        return page.error_page(request, services, found)
    if isinstance(found, _NotTaken):
        told = {"wrong": found.error, "given": found.fields}
        return _form_again(request, services, told, problem_of(found.error).status)
    if isinstance(found, _Unconfirmed):
        return _form_again(request, services, {**found.told, "given": found.fields}, HTTPStatus.CONFLICT)
    if isinstance(found, _Refused):
        problems = {"problems": found.taken.problems, "problem_count": found.taken.problem_count, "given": found.fields}
        return _form_again(request, services, problems, HTTPStatus.UNPROCESSABLE_ENTITY)
    return redirect_with_flash(request, services, _page_of(found), _taken_words(found))


def _page_of(taken: engine.IngestResult) -> str:
    assert taken.job is not None  # noqa: S101 - one that was refused is `_Refused`
    return f"/jobs/{taken.job.public_id}"


def _form_again(request: Request, services: Services, told: Mapping[str, object], status: int) -> Response:
    context = {
        **page.base_context(request, services),
        "title": PAGE.title,
        **_EMPTY,
        **_CHOICES,
        **_from_settings(services),
        **told,
    }
    return page.page_response("new.html", context, status=status)


def _taken_words(taken: engine.IngestResult) -> str:
    words = "the same content is this job already" if taken.attached else "submitted"
    return words if taken.renamed_from is None else f"{words}; it was called {taken.renamed_from}"


async def _ingest(request: Request, services: Services) -> engine.IngestResult:
    """Raises UsageError for what is no form of ours, _NotTaken, _Unconfirmed, _Refused."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise errors.UsageError("this form is not from these pages", hint="choose a file and submit it")
    form = Form(kind, body_blocks(request), long=frozenset({_PASTED}))
    given = await form.fields()
    fields = table_preview.texts_of(given)
    if fields.get(_PASTED):
        fields[_PASTED] = str(given[_PASTED])  # blanks may be cells
    try:
        return await _hand_in(form, fields, services, claim_of(request))
    except errors.OrchestratorError as exc:
        raise _NotTaken(exc, fields) from exc


async def _hand_in(
    form: Form, fields: Mapping[str, str], services: Services, claim: MemoryReservation
) -> engine.IngestResult:
    """What the form says, handed in."""
    if fields.get(_PASTED):
        source, blocks = await _pasted(form, fields)
    else:
        source, blocks = fields.get("source", ""), form.blocks()
    if not source:
        raise errors.UsageError("no file was chosen", hint="choose one, or paste a text, and submit it again")
    rows = table_preview.row_options(fields)
    if rows is None:
        table_spec.refuse_untold(source, None, TEMPLATE_HINT)
    new = _options(fields).new_job(
        source, default_name=job_spec.name_of(source), default_version=services.settings.api.version
    )
    terms = engine.IngestOptions(force_new=fields.get("new") == "1", skip_bad=fields.get("skip_bad") == "1")
    how: dict[str, Any] = {"name": source, "api_version": new.fixed_version, "claim": claim}
    if rows is None:
        opened = services.opener(blocks, **how)
    else:
        opened = services.row_opener(blocks, rows, schema=AnswerSchema.of_job(new.schema), **how)
    asking = _asking(services, fields)
    taken = await services.commands.ingest(
        cost_question.confirmed(opened, new, terms, services.bulk, asking), new, terms
    )
    if taken.job is None:
        raise _Refused(taken, fields)
    return taken


async def _pasted(form: Form, fields: Mapping[str, str]) -> tuple[str, AsyncGenerator[bytes, None]]:
    """What a pasted text is called, and its bytes. Raises UsageError beside a file."""
    if fields.get("source") or [block async for block in form.blocks() if block]:
        raise errors.UsageError("there is a file and a pasted text", hint="submit one of them")
    kind = fields.get(_PASTED_AS, "")
    if kind not in _KINDS:
        raise errors.UsageError("what was pasted is not told", hint=f"say its form: {', '.join(_KINDS)}")
    text = fields[_PASTED].replace("\r\n", "\n")  # as forms break lines
    if kind == table_spec.TableKind.JSONL.value and not text.lstrip().startswith("{"):
        raise errors.UsageError(
            "what was pasted is no JSON Lines", hint="choose beside “It is” what it is, such as CSV"
        )
    return f"pasted.{kind}", table_preview.once(text.encode())


def _options(fields: Mapping[str, str]) -> job_spec.JobOptions:
    numbers: dict[str, Any] = {
        name: table_preview.whole_number(name, text, job_spec.OPTIONS[name].rule)
        for name in _NUMBERS
        if (text := fields.get(name, ""))
    }
    return job_spec.JobOptions(
        name=fields.get("name") or None,
        tags=_listed(fields.get("tags", "")),
        key=fields.get("key") or None,
        api_version=fields.get("api_version") or None,
        betas=_listed(fields.get("betas", "")),
        max_cost=fields.get("max_cost") or None,
        cache=fields.get("cache") or None,
        dedupe=fields.get("dedupe") == "1",
        schema=fields.get("schema") or None,
        **numbers,
    )


def _listed(text: str) -> list[str]:
    return [each for part in text.split(",") if (each := part.strip())]


def _asking(services: Services, fields: Mapping[str, str]) -> cost_question.Asking:
    """The ticked box says yes to an amount, or to that and more: a file that may cost more is asked about again."""
    yes = fields.get("yes", "")
    try:
        confirmed = money.parse_amount(yes.removesuffix(_AND_MORE)) if yes else -1
    except ValueError as exc:
        raise errors.UsageError("yes cannot be used", cause=str(exc), hint="yes is dollars, as 10.50") from exc

    async def ask(question: cost_question.CostQuestion) -> None:
        if question.most > confirmed or (question.is_open and not yes.endswith(_AND_MORE)):
            raise _Unconfirmed(question, fields)

    limit = services.settings.budget.confirm_above
    return cost_question.Asking(limit=limit, prices=lambda: services.prices, ask=ask)


PAGE: Final = page.Page(template="new.html", load=load_form, title="New job")
