"""`results` and `errors`: a job's results as a file, and its failures grouped by cause."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from orchestrator.cli import choice_words, console, cost_file, output_files, signals, store_access
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.options import GlobalOptions, Word, job_argument
from orchestrator.cli.shape_options import ShapeChoice, with_shape
from orchestrator.client.results_file import Output
from orchestrator.domain import humanize, model, states
from orchestrator.domain.errors import GuardRefused
from orchestrator.domain.result_choice import HELP, OFFERED
from orchestrator.views import status_text
from orchestrator.views.request_views import ErrorsView
from orchestrator.views.retry_views import retry_hints

RESULTS_EXAMPLES = """
Each line has the API's own shape: {"custom_id": ..., "result": {"type": "succeeded", ...}}.
The lines are in input order; a file appears whole or not at all; .gz and .zst are compressed.
.csv, .tsv and .parquet are tables: what a request was made of, then answer, status, error, model, stop_reason,
input_tokens, output_tokens, cost_usd. .txt is the text of the answers. --format does the same for any FILE.

While the job is not over:
  (default)         what is settled by now, in input order, with gaps; stderr says how many are missing
  --settled-only    the same, without a word about what is missing
  --complete        refuse, with exit code 5, unless every request is settled

Examples:
  orchestrator results @last > answers.jsonl
  orchestrator results reviews -o answers.jsonl.gz --complete
  orchestrator results reviews -o answers.jsonl --cost     and answers.costs.csv: tokens and dollars of each request
  orchestrator results reviews -o answers.csv              the rows of the input, each with its answer
  orchestrator results @last --only-text
  orchestrator results @last --only invalid --only refusal -o odd.csv    what did not match the schema, or was refused
  orchestrator results @last --format csv --columns custom_id,answer
  orchestrator results @last | jq -r 'select(.result.type == "succeeded") | .result.message.content[0].text'
"""

ERRORS_EXAMPLES = """
Examples:
  orchestrator errors @last
  orchestrator errors reviews --json | jq '.groups[] | {type, count}'
  orchestrator retry reviews --only overloaded_error      queue those again
"""
_ONLY = "Only results that are so, to be repeated:"


@command(RESULTS_EXAMPLES)
@job_argument()
@click.option("-o", "--output", metavar="FILE", default="-", help="Write to FILE; - is standard output, the default.")
@output_files.overwrite_option
@with_shape("--format")
@click.option("--only", metavar="TYPE", type=Word(OFFERED), multiple=True, help=f"{_ONLY} {HELP}")
@click.option("--cost", is_flag=True, help="Also write what each request cost: FILE's stem and .costs.csv.")
@click.option("--settled-only", "wanted", flag_value="settled", help="What is settled by now, silently.")
@click.option("--complete", "wanted", flag_value="complete", help="Only if every request is settled.")
def results(  # noqa: PLR0913 - one argument per option, as click hands them over
    options: GlobalOptions,
    job: str,
    output: str,
    *,
    overwrite: bool,
    shaped: ShapeChoice,
    only: tuple[str, ...],
    cost: bool,
    wanted: str | None,
) -> None:
    """Works at any time, whoever owns the store. A file that is not this job's earlier output is never replaced, unless
    by --overwrite.
    """
    settings = options.settings()
    place = output_files.checked_output(options, output, overwrite=overwrite, shaped=replace(shaped, only=only))
    costs = _cost_path(place, overwrite=overwrite) if cost else None
    with store_access.open_reads(options, settings) as reads:
        status = reads.status(reads.find(job))
        choice_words.refuse_unknown(reads, status, only)
    missing = status.job.requests.queued + status.job.requests.batched
    if wanted == "complete" and (missing or status.job.state not in states.OVER):
        raise _incomplete(status, missing)
    console.say_banner(options, sandbox=status.sandbox)
    reader = store_access.reader_for(options, settings)
    signals.run_async(lambda: place.refuse_foreign(reader, status.job.id), signals.nothing_changed)
    with output_files.writing_to(place.path, console.results_line(options, status)):
        written = signals.run_async(lambda: place.write(reader, status.job.id))
        if costs is not None:
            signals.run_async(lambda: cost_file.write_costs(reader, status.job.id, costs))
    missing = max(0, missing if only else status.job.requests.total - written)
    if place.path != "-":
        console.say(options, f"{humanize.count(written, 'result')} -> {humanize.plain(place.path)}")
    if costs is not None:
        console.say(options, f"costs -> {humanize.plain(str(costs))}")
    if missing and wanted is None:
        console.say(options, f"{missing:,} of {status.job.requests.total:,} are not settled yet and are missing here")
    if options.as_json:
        facts = {"job": status.job.public_id, "written": written, "missing": missing, "output": place.path}
        if costs is not None:
            facts["costs"] = str(costs)
        console.show_json({**facts, "sandbox": status.sandbox})


def _cost_path(place: Output, *, overwrite: bool) -> Path:
    if place.shape.only.words:
        raise HintedUsageError("--cost is of every result, and --only of some", hint="leave one of them out")
    path = cost_file.cost_path(place)
    cost_file.refuse_foreign(path, overwrite=overwrite)
    return path


def _incomplete(status: model.JobStatus, missing: int) -> GuardRefused:
    total = humanize.count(status.job.requests.total, "request")
    return GuardRefused(
        f"{missing:,} of {total} are not settled yet; nothing was written",
        hint=f"`orchestrator wait {status.job.public_id}` first, or take what is there with --settled-only",
    )


@command(ERRORS_EXAMPLES)
@job_argument()
@click.option("--examples", type=click.IntRange(0, 1000), default=3, show_default=True, help="Examples per cause.")
@click.option("--groups", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Show at most N causes.")
def errors(options: GlobalOptions, job: str, examples: int, groups: int) -> None:
    with store_access.open_reads(options) as reads:
        status = reads.status(reads.find(job))
        found = reads.errors(status.job.id, groups=groups, examples=examples)
    if options.as_json:
        console.show_json(ErrorsView.of(status, found))
        return
    console.show_banner(options, sandbox=status.sandbox)
    if deleted := status_text.purged_words(status.job):
        console.say(options, deleted)
    failed, canceled = status.job.requests.failed, status.job.requests.canceled
    if not found:
        console.show(
            f"{status.job.public_id}: no request has failed" + (f"; {canceled:,} are canceled" if canceled else "")
        )
        return
    console.show(f"{status.job.public_id}: {failed:,} of {humanize.count(status.job.requests.total, 'request')} failed")
    source = humanize.plain(console.near_path(status.job.source))
    for group in found:
        console.show(f"\n{group.count:>7,}  {humanize.plain(group.error_type)}: {humanize.plain(group.cause)}")
        if group.error_message != group.cause:
            console.show(f"         such as: {humanize.plain(group.error_message)}")
        for custom_id, line in group.examples:
            console.show(f"         {source}:{line}  {humanize.plain(custom_id)}")
    if sum(group.count for group in found) < failed:
        console.say(options, f"there are more causes: --groups {groups * 4} shows them")
    look = console.pasteable(
        options, f"orchestrator requests {status.job.public_id} --state failed", sandbox=status.sandbox
    )
    console.say(options, f"\nto look at each: {look}")
    for words, hint in retry_hints(status, found):
        again = console.pasteable(options, f"orchestrator {hint}", sandbox=status.sandbox)
        console.say(options, f"{words}: {again}")
