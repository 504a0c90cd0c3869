"""What is refused where requests are handed in, or tried again with other params, as it would stop their job later.

Caps: which one a job gets, and which requests have no bound. And what changed params must be to go into a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import NoReturn

from orchestrator.domain import account, errors
from orchestrator.domain.humanize import plain
from orchestrator.domain.ids import JobId
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.json_text import UNREADABLE
from orchestrator.domain.model import JobRow
from orchestrator.domain.money import as_text
from orchestrator.domain.param_change import ParamChange, applied, composed, grown
from orchestrator.domain.param_problem import ParamProblem
from orchestrator.domain.params import ParamRules, problems_in
from orchestrator.domain.states import OVER, JobState
from orchestrator.engine.context import Context
from orchestrator.engine.worst_costs import SLICE_BYTES, NoBound, WorstCosts
from orchestrator.observability.logs import get_logger
from orchestrator.ports.job_store import ChangedRequest, Retriable
from orchestrator.ports.streams import InputLine

log = get_logger(__name__)

_PRICE_HINT = "put it into a prices.toml ([prices] file): `{}` shows how; or hand it in without a cap"
_BOUND_HINT = "allow_per_request (--allow-per-request '$0.50') reserves that for each; or hand it in without a cap"


class CapsAtHandIn:
    """What the caps say of a job that is handed in."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.budgets

    def capped(self, new: NewJob) -> NewJob:
        """*new* with the cap that it gets: its own, or that of the settings."""
        default = self._context.settings.max_job
        return new if new.max_cost is not None or default is None else replace(new, max_cost=as_text(default))

    async def bounds_of(self, job: JobRow) -> WorstCosts | None:
        """The bounds that the requests of *job* must have; None: no cap is in force for it."""
        context = self._context
        at = context.api_time(context.clock.now())
        if not await self._store.limits(job.id, at) and all(cap is None for cap in context.settings.budgets.values()):
            return None
        return await context.worst_costs(job, at)

    async def recapped(self, found: JobRow, new: NewJob) -> JobRow:
        """*found*, which is there already, with the cap that *new* names: if a lower one had stopped it, it goes on."""
        cap = new.cap_nanos
        if cap is None or cap == found.cap_nanos or found.state in OVER:
            return found
        goes_on = await self._store.cap_job(found.id, cap, self._context.clock.now())
        log.info("job.capped", job=found.public_id, cap=as_text(cap))
        return replace(found, state=JobState.RUNNING, reason_code=None, reason=None) if goes_on else found


def refuse_unbounded(bounds: WorstCosts | None, lines: Iterable[InputLine]) -> None:
    """Raise UnknownPrice or BudgetRefused for the first of *lines* whose cost has no bound, if it must have one."""
    if bounds is None:
        return
    for line in lines:
        try:
            bounds.of(line.params)
        except NoBound as exc:
            words = f"line {line.line}: {exc.words}, and a cap is in force"
            cause = "nothing was stored or sent"
            if exc.code == account.UNKNOWN_PRICE:
                raise errors.UnknownPrice(
                    words, cause=cause, hint=_PRICE_HINT.format(account.asking_price(exc.model))
                ) from exc
            raise errors.BudgetRefused(words, cause=cause, hint=_BOUND_HINT) from exc


async def retry(
    context: Context, job: JobId, only: Collection[str], change: ParamChange, causes: Collection[str] = ()
) -> int:
    """Queue what *only* and *causes* say again, with *change*; how many. After a crash the same again does the rest.

    Raises InputError if one may not be sent with it (nothing is queued then), and as requests that are handed in
    under a cap do.
    """
    store, now = context.store.retries, context.clock.now()
    if change.is_empty:
        return await store.retry(job, only, now, causes)
    change.refuse_contradictions()
    found = await context.store.commands.get(job)
    changer = _Changer(found, change, await CapsAtHandIn(context).bounds_of(found))
    above = 0
    while some := await store.page(job, only, above, SLICE_BYTES, causes):  # all of them, before the first is queued
        changer.changed(some)
        above = some[-1].number
    count = above = 0
    while some := await store.page(job, only, above, SLICE_BYTES, causes):
        count += await store.retry_changed(job, changer.changed(some), now)
        above = some[-1].number
    return count


class _Changer:
    """Changes requests of *job*, and refuses what could not be handed in as it is then."""

    def __init__(self, job: JobRow, change: ParamChange, bounds: WorstCosts | None) -> None:
        self._change = ParamChange(set=change.set, drop=change.drop)
        self._grows = change.grow
        self._betas = job.betas
        self._rules = ParamRules(api_version=job.api_version)
        self._bounds = bounds

    def changed(self, some: Collection[Retriable]) -> list[ChangedRequest]:
        """*some* as they are to be sent; requests that are changed alike share the bytes that say it."""
        specs: dict[bytes, bytes] = {}
        changed: list[ChangedRequest] = []
        for each in some:
            spec, size_bytes = self._of(each)
            changed.append(ChangedRequest(each.number, each.retries, specs.setdefault(spec, spec), size_bytes))
        return changed

    def _of(self, request: Retriable) -> tuple[bytes, int]:
        change = composed(request.change, self._change)
        try:
            params = applied(request.params, change)
            if self._grows:
                more = grown(params, self._betas)
                if isinstance(more, ParamProblem):
                    _refuse(request, more)
                change = composed(change, more)
                params = applied(request.params, change)
        except UNREADABLE as exc:
            _refuse(request, ParamProblem("params", f"cannot be read: {exc}", "submit it again"))
        for problem in problems_in(params, self._rules):
            _refuse(request, problem)
        refuse_unbounded(self._bounds, [InputLine(request.line, request.custom_id, params)])
        return change.spec, len(params)


def _refuse(request: Retriable, problem: ParamProblem) -> NoReturn:
    words = f"request {plain(request.custom_id)} would not be taken: {problem.field} {problem.message}"
    raise errors.InputError(words, cause="nothing was queued", hint=problem.remedy)
