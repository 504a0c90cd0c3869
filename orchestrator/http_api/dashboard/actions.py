"""What pages send: actions, with a confirmation first if they cannot be undone.

A POST is accepted only from a page of this same address, so that no other site can act through somebody's browser.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from orchestrator.domain import errors, humanize, model, money, states
from orchestrator.domain.access import AccessRole
from orchestrator.http_api.dashboard import page, retry_form
from orchestrator.http_api.dashboard.page import set_flash
from orchestrator.ports import caller
from orchestrator.views.problem_details import problem_of

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

    from orchestrator.http_api.services import Services
    from orchestrator.ports.reads import Reads

_MOST: Final = 200
_LONG_NUMBER: Final = 16
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
        "cap": _Action(
            "What may {} cost at most?",
            "It is never exceeded: what may be billed is set aside before it is sent. A job that its cap stopped goes "
            "on if the new one is enough. 10, $10 or 10.50usd; empty: no cap.",
            "Set the cap",
            "",
        ),
        "retry": _Action(
            "Try requests of {} again?",
            "What is chosen is queued again and paid for again; if nothing is, {}. "
            "An answer that was paid for stays in the cost.",
            "Retry",
            "",
        ),
        "adopt": _Action(
            "Is this batch ours?", "Its results are taken for those of the batch in doubt.", "Yes, ours", ""
        ),
        "disown": _Action(
            "Is this batch not ours?", "The batch in doubt is looked for elsewhere, or sent again.", "Not ours", ""
        ),
    }
)


async def load_confirmation(
    request: page.PageRequest, wrong: errors.OrchestratorError | None = None
) -> dict[str, object]:
    """The confirmation page; wrong: why the form was refused. Raises UsageError, NoSuchThing."""
    verb = request.one_of("verb", frozenset(_VERBS))
    if verb is None:
        raise errors.UsageError("no action is chosen", hint="go back and choose one")
    jobs, choices = await request.services.reader.read(partial(_subjects, request.query, verb))
    remote = request.query.get("remote")
    if not jobs and remote is None:
        raise errors.UsageError("no job is selected", hint="go back and select some")
    _check_steering(jobs)
    if remote is not None:
        caller.check_role(AccessRole.ADMIN)
    told = _VERBS[verb]
    subject = "this job" if len(jobs) == 1 else humanize.count(len(jobs), "job")
    return {
        "title": told.yes,
        "verb": verb,
        "question": told.question.format(subject),
        "meaning": told.meaning.format(_all_of(jobs)),
        "yes": told.yes,
        "jobs": jobs,
        "remote": remote,
        "choices": choices,
        "given": retry_form.given_in(request.query, is_sent=wrong is not None),
        "wrong": wrong,
        "asks_amount": verb == "cap",
        "back": "/batches" if remote is not None else f"/jobs/{jobs[0].public_id}" if len(jobs) == 1 else "/jobs",
    }


def _all_of(jobs: list[model.JobSnapshot]) -> str:
    """What is tried again if nothing is chosen: `all that failed or was canceled: 39 requests`."""
    number = sum(job.requests.failed + job.requests.canceled for job in jobs)
    return f"all that failed or was canceled: {humanize.count(number, 'request')}"


def _subjects(query: QueryParams, verb: str, reads: Reads) -> tuple[list[model.JobSnapshot], list[retry_form.Choice]]:
    """The jobs, and, of one that is to be tried again, what there is to choose from."""
    jobs = _jobs(query.getlist("job"), reads)
    return jobs, retry_form.choices_of(jobs[0], reads, query) if verb == "retry" and len(jobs) == 1 else []


def _check_steering(jobs: list[model.JobSnapshot]) -> None:
    """Raise RoleRefused, before anything is done, if one of *jobs* is not for who asks to steer."""
    for job in jobs:
        caller.check_steering(job.public_id, job.submitted_by)


def _jobs(refs: list[str], reads: Reads) -> list[model.JobSnapshot]:
    if len(refs) > _MOST:
        raise errors.UsageError(f"{len(refs)} jobs are selected", hint=f"at most {_MOST} at once")
    return [reads.sole(ref) for ref in refs]


def act(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The route of all actions: performs one, and redirects to the page that shows the effect."""

    async def done(request: Request) -> Response:
        form = None
        try:
            check_origin(request)
            form = await _form(request)
            where, flash = await _do(services, form)
        except errors.OrchestratorError as exc:
            again = None if form is None else await _form_again(request, services, form, exc)
            return page.error_page(request, services, exc) if again is None else again
        return redirect_with_flash(request, services, where, flash)

    return done


async def _form_again(
    request: Request, services: Services, form: FormData, wrong: errors.OrchestratorError
) -> Response | None:
    """A retry's form with what was typed, and why it was refused; None of another, or if who asks may not have it."""
    if form.get("verb") != "retry":
        return None
    asked = page.PageRequest(services=services, path="/confirm", params={}, query=_texts(form))
    try:
        facts = await load_confirmation(asked, wrong)
    except errors.OrchestratorError:
        return None
    context = {**page.base_context(request, services), **facts}
    return page.page_response(CONFIRM.template, context, status=problem_of(wrong).status)


def _texts(form: FormData) -> QueryParams:
    return QueryParams([(key, value) for key, value in form.multi_items() if isinstance(value, str)])


def redirect_with_flash(request: Request, services: Services, where: str, text: str) -> Response:
    """Redirect to a page that shows what was done; reloading it does not repeat the action."""
    answer = RedirectResponse(where, status_code=303, headers=page.HEADERS)
    set_flash(answer, request, services, text)
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
    if verb in {"test", "replay"}:
        return "/webhooks", await _noticed(services, verb, form)
    if verb not in {"pause", "resume", "cancel", "retry", "cap"} or not refs:
        raise errors.UsageError("no action is chosen", hint="go back and choose one")
    jobs = await services.reader.read(partial(_jobs, refs))
    _check_steering(jobs)
    where = f"/jobs/{jobs[0].public_id}" if len(jobs) == 1 else "/jobs"
    if verb == "retry":
        return where, await retry_form.send_again(services, jobs, _texts(form))
    if verb == "cap":
        return where, await _capped(services, jobs, str(form.get("amount", "")).strip())
    moves = {"pause": services.commands.pause, "resume": services.commands.resume, "cancel": services.commands.cancel}
    moved = sum([await moves[verb](job.id) for job in jobs])
    rest = "" if moved == len(jobs) else f"; {humanize.count(len(jobs) - moved, 'job')} in no state for it"
    return where, f"{humanize.count(moved, 'job')} {_VERBS[verb].done}{rest}"


async def _noticed(services: Services, verb: str, form: FormData) -> str:
    """A test to one endpoint or each, or a notice again."""
    if verb == "test":
        sent = await services.commands.test_notice(str(form.get("url", "")) or None)
        return f"notice {', '.join(map(str, sent))} on its way"
    text = str(form.get("notice", ""))
    if not (text.isascii() and text.isdigit() and len(text) < _LONG_NUMBER):
        raise errors.UsageError("no notice is chosen", hint="go back and choose one")
    await services.commands.replay_notice(int(text))
    return f"notice {text} on its way again"


async def _capped(services: Services, jobs: list[model.JobSnapshot], amount: str) -> str:
    try:
        cap = money.parse_cap(amount) if amount else None
    except ValueError as exc:
        raise errors.UsageError("the cap cannot be used", cause=str(exc), hint="go back and write it as 10.50") from exc
    some = jobs if len(jobs) == 1 else [job for job in jobs if job.state not in states.OVER]
    going_on = sum([await services.commands.cap_job(job.id, cap) for job in some])
    rest = f"; {humanize.count(going_on, 'job')} tried again" if going_on else ""
    return f"{'no cap any more' if cap is None else f'capped at {money.shown_cap(cap)}'}{rest}"


CONFIRM: Final = page.Page(template="confirm.html", load=load_confirmation, title="Sure?")
