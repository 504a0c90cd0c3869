"""`check`: validates an input and shows the batches that it would become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli import console, input_options, signals
from orchestrator.cli.group import command
from orchestrator.cli.options import GlobalOptions
from orchestrator.domain import errors, humanize, job_spec, limits, packing
from orchestrator.views import check_report, job_views

if TYPE_CHECKING:
    from orchestrator.config import Settings

EXAMPLES = """
Examples:
  orchestrator check reviews.jsonl
  orchestrator check reviews.jsonl --api-version 2023-06-01
  zcat big.jsonl.gz | orchestrator check -

Exit codes: 0 fit to be sent, 2 it has problems (each with its line and a remedy).

The batches are counted as if every line were sent; how many go at a time is up to [limits].
"""


@command(EXAMPLES)
@input_options.input_argument
@input_options.header_options
@click.option(
    "--max-problems", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Show at most N problems."
)
def check(options: GlobalOptions, path: str, job_options: job_spec.JobOptions, max_problems: int) -> int:
    settings = options.settings()
    api = console.say_api_address(options, settings, sandbox=options.sandbox)
    chosen = input_options.InputOptions(path=path, job_options=job_options)
    most, is_exact = _max_requests(settings)
    caps = packing.Caps(requests=most, size_bytes=settings.batching.max_bytes)
    plan = signals.run_async(
        lambda: check_report.check_source(chosen.source(settings), caps, max_problems=max_problems),
        signals.nothing_changed,
    )
    name = input_options.STDIN_NAME if path == input_options.STDIN else path
    if options.as_json:
        view = job_views.CheckView.of(name, plan, chosen.version(settings), job_options.betas, sandbox=options.sandbox)
        console.show_json({**view.fields(), "api": api})
    else:
        console.show_banner(options, sandbox=options.sandbox)
        _show(name, plan, most, is_exact=is_exact)
    return 2 if plan.problem_count else 0


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


def _show(name: str, plan: check_report.CheckReport, most: int, *, is_exact: bool) -> None:
    bad = f", {humanize.count(plan.problem_count, 'problem')}" if plan.problem_count else ", all valid"
    shown = humanize.plain(console.near_path(name))
    console.show(f"read     {shown}: {humanize.count(plan.requests, 'request')}, {humanize.size(plan.size_bytes)}{bad}")
    for line in input_options.problems_as_text(name, plan.problems, plan.problem_count):
        console.show(f"  {line}")
    if plan.problem_count:
        can_skip = plan.requests and not input_options.concerns_whole_file(plan.problems)
        console.show(
            "nothing of it would be sent" + ("; with --skip-bad `run` leaves these lines out" if can_skip else "")
        )
        return
    total = sum(size for _, size in plan.batches)
    most_text = f"at most {most:,} requests each" if is_exact else "just under 100,000 requests each"
    console.show(f"plan     {humanize.batches(len(plan.batches))}, {humanize.size(total)} to send; {most_text}")
    for number, (requests, size_bytes) in enumerate(plan.batches[:_SHOWN], start=1):
        console.show(f"  batch {number}: {humanize.count(requests, 'request')}, {size_bytes:,} bytes")
    if len(plan.batches) > _SHOWN:
        console.show(f"  … and {len(plan.batches) - _SHOWN:,} more")


_SHOWN = 10
