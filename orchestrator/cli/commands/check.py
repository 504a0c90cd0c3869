"""`check`: validates an input and shows the batches that it would become."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from orchestrator.cli import console, input_options, job_files, signals, store_access
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.options import GlobalOptions
from orchestrator.cli.table_options import TableOptions, with_table_options
from orchestrator.domain import errors, humanize, job_spec, limits, packing
from orchestrator.domain.known_answers import AnswersKnown
from orchestrator.domain.prime_plan import PlannedBatch, Turn
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.version_choice import version_words
from orchestrator.ports.estimates import CountMode, refused_under_a_cap
from orchestrator.views import check_report, estimate_views, job_views

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from orchestrator.config import Settings
    from orchestrator.domain.billing import Rates
    from orchestrator.ports.estimates import Estimate, Estimator

EXAMPLES = """
Examples:
  orchestrator check reviews.jsonl
  orchestrator check reviews.jsonl --api-version 2023-06-01
  orchestrator check reviews.jsonl --exact             every request is counted: 1,000 take half a minute
  orchestrator check reviews.jsonl --offline           nothing is asked
  orchestrator check reviews.jsonl --max-cost 10       how it will go under this cap
  orchestrator check reviews.jsonl --limit 10          all is checked, and what the first 10 would cost is told
  orchestrator check reviews.jsonl --cache auto        what it costs if shared beginnings are marked
  orchestrator check reviews.jsonl --dedupe            what it costs if identical requests are sent once
  zcat big.jsonl.gz | orchestrator check -
  orchestrator check reviews.csv -p 'Classify: {{ text }}' -m claude-haiku-4-5
  orchestrator check job.toml                           a job file: `orchestrator init` writes one

The API counts a sample of the requests, which is free: 200 calls at most, or one a request with --exact. No batch is
made. Without a key, or with --offline, tokens are told by bytes alone: rough, 40 % either way. With --server it is the
daemon that estimates, with its key, prices and history; standard input, which is read once, is told by bytes here.

Exit codes: 0 fit to be sent, 2 it has problems (each with its line and a remedy), 5 it would be refused under its
cap (--max-cost or [budget] max_job): what some request costs has no bound that is known.

The batches are counted as if every line were sent; how many go at a time is up to [limits].
"""


@command(EXAMPLES)
@job_files.input_argument
@with_table_options
@input_options.sending_options
@click.option(
    "--max-problems", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Show at most N problems."
)
@click.option("--exact", is_flag=True, help="Have the API count every request, not a sample.")
@click.option("--offline", is_flag=True, help="Ask nothing: tokens by bytes alone, rough.")
def check(  # noqa: PLR0913, PLR0917 - one argument per option, as click hands them over
    options: GlobalOptions,
    paths: tuple[str, ...],
    table: TableOptions,
    job_options: job_spec.JobOptions,
    max_problems: int,
    exact: bool,
    offline: bool,
    job_file: job_files.JobFile | None,
) -> int:
    chosen = input_options.InputOptions(paths=paths, table=table, job_options=job_options, job_file=job_file).fit()
    mode = _mode(options, chosen.path, exact=exact, offline=offline)
    settings = options.settings()
    api = console.say_api_address(options, settings, sandbox=options.sandbox)
    source, new, (most, is_exact) = chosen.source(settings), chosen.new_job(settings), _max_requests(settings)
    use, cap = CacheUse(job_options.cache or settings.cache.mode), _cap(settings, chosen)
    caps = packing.Caps(requests=most, size_bytes=settings.batching.max_bytes)

    async def look() -> tuple[check_report.CheckReport, Estimate | None]:
        async with _estimator(options, settings, mode) as estimator:
            survey = estimator.survey(source, new, mode, use, cap)
            plan = await check_report.check_source(
                survey, caps, max_problems=max_problems, use=use, rates=partial(_rates, settings)
            )
            if plan.problem_count:
                return plan, None
            told = await _by_server(options, settings, chosen, mode) if _asks_server(options, mode) else None
            return plan, await survey.estimate() if told is None else told

    plan, estimate = signals.run_async(look, signals.nothing_changed)
    estimate, is_refused = _under(cap, estimate, new.per_request_nanos)
    if estimate is not None and not _asks_server(options, mode):
        _warn_of_old_prices(options, settings)
    if options.as_json:
        view = job_views.CheckView.of(source.name, plan, new, sandbox=options.sandbox)
        told = None if estimate is None else estimate_views.EstimateView.of(estimate)
        console.show_json({**view.fields(), "api": api, "estimate": told})
    else:
        console.show_banner(options, sandbox=options.sandbox)
        _show(source.name, plan, new, most, is_exact=is_exact)
        for line in () if estimate is None else estimate_views.estimate_lines(estimate, cap):
            console.show(humanize.plain(line))
    return 2 if plan.problem_count else errors.GuardRefused.exit_code * is_refused


def _under(cap: int | None, estimate: Estimate | None, allowance: int | None) -> tuple[Estimate | None, bool]:
    """*estimate*, with why a hand-in under *cap* would be refused; whether it would."""
    refused = None if estimate is None or cap is None else refused_under_a_cap(estimate, allowance)
    if estimate is None or refused is None:
        return estimate, False
    return replace(estimate, under_cap=refused), True


def _cap(settings: Settings, chosen: input_options.InputOptions) -> int | None:
    """The most that the job may cost; None: no cap."""
    own = chosen.new_job(settings).cap_nanos
    return settings.budget.max_job if own is None else own


def _warn_of_old_prices(options: GlobalOptions, settings: Settings) -> None:
    from orchestrator.prices.price_book import PriceBook

    old = PriceBook(settings.prices).staleness(datetime.now(UTC).date())
    if old is not None:
        console.say(options, console.coloured(console.completed(options, ": ".join(old)), "yellow"))


async def _rates(settings: Settings, models: Collection[str]) -> Mapping[str, Rates]:
    from orchestrator.ports.runtime import rates_now
    from orchestrator.prices.price_book import PriceBook

    return await rates_now(PriceBook(settings.prices), models, datetime.now(UTC))


def _mode(options: GlobalOptions, path: str, *, exact: bool, offline: bool) -> CountMode:
    """How the tokens are told. A server reads the input once more."""
    if exact and offline:
        raise HintedUsageError("--exact and --offline exclude each other", hint="--exact asks, --offline does not")
    if offline or (options.remote() is not None and path == input_options.STDIN):
        return CountMode.OFFLINE
    return CountMode.EXACT if exact else CountMode.SAMPLED


def _asks_server(options: GlobalOptions, mode: CountMode) -> bool:
    return options.remote() is not None and mode is not CountMode.OFFLINE


async def _by_server(
    options: GlobalOptions, settings: Settings, chosen: input_options.InputOptions, mode: CountMode
) -> Estimate | None:
    """What the server expects; None, which is said: it is away."""
    from orchestrator.client import errors as client_errors

    try:
        async with store_access.open_session(options, settings) as session:
            source = chosen.source(settings)
            found = await session.handle.estimates.estimate(source, chosen.new_job(settings), chosen.terms(), mode)
    except client_errors.ServerSilent as exc:
        console.say(options, f"{humanize.plain(str(exc))}; tokens are told by bytes alone, without its history")
        return None
    if found.estimate is None:
        raise client_errors.refusal(console.near_path(source.name), found, hint="the server's limits are its own")
    return found.estimate


@asynccontextmanager
async def _estimator(options: GlobalOptions, settings: Settings, mode: CountMode) -> AsyncIterator[Estimator]:
    from orchestrator.api_side import estimator_of
    from orchestrator.daemon import open_provider

    async def history(kind: str | None, models: Collection[str]) -> AnswersKnown:
        return AnswersKnown() if options.remote() is not None else _known_answers(options, settings, kind, models)

    if mode is CountMode.OFFLINE or options.remote() is not None:
        yield estimator_of(settings, None, history=history)
        return
    # Nothing is sent that another daemon should see: a sandbox of this process counts, whatever the store is.
    alone = replace(settings, database=replace(settings.database, url=None)) if options.sandbox else settings
    async with open_provider(alone, sandbox=options.sandbox) as provider:
        yield estimator_of(settings, provider, history=history)


def _known_answers(
    options: GlobalOptions, settings: Settings, kind: str | None, models: Collection[str]
) -> AnswersKnown:
    """What the store knows; nothing of an API that it does not work with, and nothing where there is none."""
    from orchestrator.store.location import open_reader

    try:
        with open_reader(settings) as reads:
            if reads.meta().sandbox is not options.sandbox:
                return AnswersKnown()
            return reads.known_answers(kind, models)
    except errors.NoSuchThing:
        return AnswersKnown()


def _max_requests(settings: Settings) -> tuple[int, bool]:
    """The most requests of one batch, and whether that is exact: a store draws its own limit when it is made."""
    from orchestrator.store.location import open_reader

    if settings.batching.max_requests is not None:
        return settings.batching.max_requests, True
    try:
        with open_reader(settings) as reads:
            return limits.API_MAX_REQUESTS - reads.meta().size_jitter, True
    except errors.NoSuchThing:
        return limits.API_MAX_REQUESTS - 999, False


def _show(name: str, plan: check_report.CheckReport, new: job_spec.NewJob, most: int, *, is_exact: bool) -> None:
    bad = f", {humanize.count(plan.problem_count, 'problem')}" if plan.problem_count else ", all valid"
    shown = humanize.plain(console.near_path(name))
    console.show(f"read     {shown}: {humanize.count(plan.requests, 'request')}, {humanize.size(plan.size_bytes)}{bad}")
    for notice in plan.notices:
        console.show(f"notice   {humanize.plain(notice)}")
    for line in input_options.problems_as_text(name, plan.problems, plan.problem_count, shown=len(plan.problems)):
        console.show(f"  {line}")
    if plan.problem_count:
        can_skip = plan.requests and not input_options.concerns_whole_file(plan.problems)
        console.show(
            "nothing of it would be sent" + ("; with --skip-bad `run` leaves these lines out" if can_skip else "")
        )
        return
    sent = new.with_version(plan.version)
    if sent.version_reason is not None:
        console.show(humanize.plain(f"version  {version_words(sent.api_version, sent.version_reason)}"))
    total = sum(each.size_bytes for each in plan.batches)
    most_text = f"at most {most:,} requests each" if is_exact else "just under 100,000 requests each"
    console.show(f"plan     {humanize.batches(len(plan.batches))}, {humanize.size(total)} to send; {most_text}")
    for number, each in enumerate(plan.batches[:_SHOWN], start=1):
        size = f"{humanize.count(each.requests, 'request')}, {each.size_bytes:,} bytes"
        console.show(humanize.plain(f"  batch {number}: {size}{_turn(each, plan.ahead if number == 1 else [])}"))
    if len(plan.batches) > _SHOWN:
        console.show(f"  … and {len(plan.batches) - _SHOWN:,} more")


def _turn(batch: PlannedBatch, ahead: list[str]) -> str:
    """When *batch* is sent, where that is not at once."""
    if batch.turn is Turn.AFTER:
        return ", once those ahead have ended"
    if batch.turn is Turn.AT_ONCE:
        return ""
    named = f" ({', '.join(ahead[:_NAMED])}{', …' if len(ahead) > _NAMED else ''})" if ahead else ""
    return f", ahead of those with the same prefix{named}"


_SHOWN = 10
_NAMED = 3
