"""Asks before an input is taken in that may cost much: once, on a terminal; else `--yes` must have said so."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from orchestrator.cli import console, input_options
from orchestrator.domain import errors, humanize, job_spec, money, states
from orchestrator.views import cost_question, guarded_source

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.config import Settings
    from orchestrator.ports.reads import RemoteReader
    from orchestrator.ports.runtime import Prices
    from orchestrator.ports.streams import Source


def confirmed(
    options: GlobalOptions,
    settings: Settings,
    source: Source,
    chosen: input_options.InputOptions,
    reader: RemoteReader,
) -> Source:
    """*source*, asked about at its end as `cost_question.confirmed` says, unless --yes or --sandbox was given.

    Whatever was given, it is refused at its end if a job file would raise the cap of the job that it is already.
    """
    new, limit = chosen.new_job(settings), settings.budget.confirm_above
    cap = new.cap_nanos
    if cap is not None and chosen.has_cap_of_file:
        source = _capped_before(source, new, chosen, reader)
        if limit is not None and cap > limit:
            new = replace(new, max_cost=None)  # a file bounds what is spent, and confirms nothing
    if chosen.yes or options.sandbox:
        return source
    asking = cost_question.Asking(
        limit=limit,
        prices=lambda: _prices(settings),
        ask=partial(_ask, options),
    )
    return cost_question.confirmed(source, new, chosen.terms(), reader, asking)


def _capped_before(
    source: Source, new: job_spec.NewJob, chosen: input_options.InputOptions, reader: RemoteReader
) -> Source:
    """*source*, refused at its end if it is a job already that has a lower cap than *new*."""
    terms = chosen.terms()

    async def refuse(content_hash: str, resolved: job_spec.NewJob) -> None:
        job = guarded_source.attached_to(await guarded_source.living_jobs(reader), content_hash, resolved, terms)
        if job is None or job.state in states.OVER:
            return
        status, told = await reader.read(lambda reads: reads.status(job)), new.cap_nanos
        cap = None if status.cost is None else status.cost.cap_nanos
        if cap is not None and told is not None and told > cap:
            raise errors.GuardRefused(
                f"{job.public_id} may cost {money.shown_cap(cap)}, and the job file says {money.shown_cap(told)}",
                cause="a job file may lower what a job may cost, not raise it; nothing was changed",
                hint=f"say it on the command line: --max-cost '{new.max_cost}'",
            )

    return guarded_source.GuardedSource(source, new, refuse, skip_bad=terms.skip_bad)


def _prices(settings: Settings) -> Prices:
    from orchestrator.prices.price_book import PriceBook

    return PriceBook(settings.prices)


async def _ask(options: GlobalOptions, question: cost_question.CostQuestion) -> None:
    answer = await is_confirmed(f"{question.what} ({cost_question.ROUGH})")
    if answer is None:
        raise question.refusal(
            f"--yes confirms it: `{console.same_line(options)} --yes`; {question.bounding}; "
            "`orchestrator check` says more; [budget] confirm_above is the limit"
        )
    if not answer:
        raise errors.GuardRefused("not confirmed; nothing was stored or sent")


async def is_confirmed(what: str) -> bool | None:
    """Whether a person on a terminal says yes to *what*; None: there is no terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    click.echo(f"{humanize.plain(what)}. Go on? [y/N] ", nl=False, err=True)
    return (await _line()).strip().lower() in {"y", "yes"}


async def _line() -> str:
    """A line of standard input, without holding up anything else that this process does."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()
