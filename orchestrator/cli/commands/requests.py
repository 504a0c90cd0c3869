"""`requests` and `show`: the requests of a job as a list, as an input to correct and hand in again, and one by one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click
import msgspec

from orchestrator.cli import choice_words, console, output_files, signals, store_access
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.options import GlobalOptions, Word, job_argument
from orchestrator.domain import humanize, money, queries, states
from orchestrator.domain.answer_table import OutputFormat, told_format
from orchestrator.domain.ids import MAX_NUMBER
from orchestrator.domain.result_choice import HELP, OFFERED, RequestChoice
from orchestrator.domain.result_outcome import KNOWN_STOPS
from orchestrator.ports.streams import is_stdout
from orchestrator.views.request_text import request_text
from orchestrator.views.request_views import RequestRowView, RequestsView, RequestView

if TYPE_CHECKING:
    from orchestrator.domain.model import JobStatus

EXAMPLES = """
What is wanted may be said by --state, --stop and --only, each of them several times: a request is listed that is in one
of the states, ended by one of the stop reasons, and of which one of the words of --only is true.

With -o FILE they are written as an input, in the API's own lines and in input order: correct them, and submit them as
another job. `orchestrator retry` asks for the same requests again in their own job.

Examples:
  orchestrator requests reviews                                 the first of them: state, why, tokens, cost
  orchestrator requests reviews --state failed --json | jq -r '.requests[].custom_id'
  orchestrator requests reviews --stop refusal --stop max_tokens
  orchestrator requests reviews --id-prefix 2024-12- --from 500000      whose ids begin so, from the 500,000th on
  orchestrator requests reviews --only invalid_request_error -o failed.jsonl
  orchestrator requests reviews --only failed -o - --rows | jq -c '.params.max_tokens = 4096' > again.jsonl
"""
SHOW_EXAMPLES = """
Examples:
  orchestrator show reviews r-17                what was asked, what was answered, what it cost
  orchestrator show reviews r-17 --raw | jq .params
  orchestrator show reviews r-17 --json | jq '.trips[] | {batch, outcome, cost}'
"""
_MOST: Final = 1000
_STATES: Final = [each.value for each in states.RequestState]


@command(EXAMPLES)
@job_argument()
@click.option(
    "--state",
    type=click.Choice([each.value for each in states.RequestState]),
    multiple=True,
    help="Only in this state.",
)
@click.option("--only", metavar="TYPE", type=Word(OFFERED), multiple=True, help=f"Only requests that are so: {HELP}")
@click.option(
    "--stop", metavar="REASON", type=Word(KNOWN_STOPS), multiple=True, help="Only answers that ended by it: refusal."
)
@click.option("--id-prefix", metavar="TEXT", help="Only requests whose custom_id begins with TEXT.")
@click.option("-n", "--limit", type=click.IntRange(1, _MOST), default=50, show_default=True, help="List at most N.")
@click.option(
    "--from", "start", metavar="N", type=click.IntRange(1, MAX_NUMBER), help="List from the N-th request of the input."
)
@click.option("--cursor", metavar="TEXT", help="Go on with the list: as the page before said.")
@click.option("-o", "--output", metavar="FILE", help="Write them as an input to FILE; - is standard output.")
@click.option("--rows", is_flag=True, help="With -o: each with the row of the table that it was made of.")
@click.option("--overwrite", is_flag=True, help="With -o: replace a file that is there.")
def requests(  # noqa: PLR0913 - one argument per option, as click hands them over
    options: GlobalOptions,
    job: str,
    *,
    state: tuple[str, ...],
    only: tuple[str, ...],
    stop: tuple[str, ...],
    id_prefix: str | None,
    limit: int,
    start: int | None,
    cursor: str | None,
    output: str | None,
    rows: bool,
    overwrite: bool,
) -> None:
    """Works at any time, whoever owns the store. The list is in input order; a file appears whole or not at all."""
    choice = RequestChoice(
        states=frozenset(map(states.RequestState, state)),
        stops=frozenset(stop),
        only=frozenset(only),
        within=queries.RequestFilter(id_prefix=id_prefix or None),
    )
    if output is None:
        if rows or overwrite:
            raise HintedUsageError("--rows and --overwrite are for a file", hint="name it: -o FILE")
        above = max(queries.decode_cursor(cursor) or 0, (start or 1) - 1)
        _list(options, job, choice, limit, above)
        return
    if cursor is not None or start is not None:
        name = "--from" if cursor is None else "--cursor"
        raise HintedUsageError(f"{name} is for the list, and -o writes all that are wanted", hint="leave one out")
    _write(options, job, choice, output, rows=rows, overwrite=overwrite)


def _list(options: GlobalOptions, ref: str, choice: RequestChoice, limit: int, above: int) -> None:
    with store_access.open_reads(options) as reads:
        status = reads.status(reads.find(ref))
        choice_words.refuse_unknown(reads, status, choice.only, choice.stops)
        found = reads.chosen_requests(status.job.id, choice, above=above, limit=limit)
        more = reads.chosen_requests(status.job.id, choice, above=found[-1].number, limit=1) if found else []
        there = "" if found or above or not choice.only else choice_words.words_there_are(reads, status)
    after = queries.encode_cursor(found[-1].number) if more else None
    if options.as_json:
        page = RequestsView(requests=[RequestRowView.of(row) for row in found], next=after)
        console.show_json({"job": status.job.public_id, **page.fields(), "sandbox": status.sandbox})
        return
    console.show_banner(options, sandbox=status.sandbox)
    if not found:
        console.show(f"{status.job.public_id}: {'no more requests' if above else 'no such request'}")
        if there:
            console.say(options, there)
        return
    console.show(_table(found))
    if after is not None:
        console.say(options, f"there are more: --cursor {after} shows the next {limit}")


def _table(found: list[queries.RequestRow]) -> str:
    rows = [("ID", "STATE", "ATTEMPTS", "IN", "OUT", "COST", "WHY")]
    rows += [
        (
            row.custom_id,
            row.state.value,
            str(row.attempts),
            _count(row.input_tokens),
            _count(row.output_tokens),
            "" if row.cost_nanos is None else money.shown(row.cost_nanos),
            _why(row),
        )
        for row in found
    ]
    return console.as_table(rows, right=(2, 3, 4, 5))


def _count(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"


def _why(row: queries.RequestRow) -> str:
    """The error of a request, or why its answer ended."""
    told = [part for part in (row.error_type, row.error_message) if part]
    return ": ".join(told) if told else row.stop_reason or ""


def _write(
    options: GlobalOptions, ref: str, choice: RequestChoice, output: str, *, rows: bool, overwrite: bool
) -> None:
    _refuse_unfit(options, output)
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        status = reads.status(reads.find(ref))
        choice_words.refuse_unknown(reads, status, choice.only, choice.stops)
    console.say_banner(options, sandbox=status.sandbox)
    with output_files.writing_to(output, console.same_line(options)):
        written = signals.run_async(
            lambda: _export(options, status, choice, output, rows=rows, overwrite=overwrite), signals.nothing_changed
        )
    if not is_stdout(output):
        console.say(options, f"{humanize.count(written, 'request')} -> {humanize.plain(output)}")
    if options.as_json:
        console.show_json(
            {"job": status.job.public_id, "written": written, "output": output, "sandbox": status.sandbox}
        )


async def _export(
    options: GlobalOptions, status: JobStatus, choice: RequestChoice, output: str, *, rows: bool, overwrite: bool
) -> int:
    from orchestrator.cli.new_file import NewFile
    from orchestrator.engine.export import export_requests
    from orchestrator.results import open_sink

    reader = store_access.reader_for(options, options.settings())
    sink = open_sink(output) if is_stdout(output) else NewFile(output, overwrite=overwrite)
    try:
        written = await export_requests(reader, status.job.id, choice, sink.write, rows=rows)
        await sink.commit()
    except BaseException:
        await sink.abort()
        raise
    return written


def _refuse_unfit(options: GlobalOptions, output: str) -> None:
    """Raise a usage error for a place where no requests can be written."""
    if is_stdout(output):
        if options.as_json:
            raise HintedUsageError("--json and the requests cannot both go to stdout", hint="name a file: -o FILE")
        return
    if options.server is None:
        output_files.refuse_the_store(options, output)
    if told_format(output) is not OutputFormat.JSONL:
        raise HintedUsageError(
            "requests are written as JSON Lines", hint="-o requests.jsonl; `results` writes tables of rows and answers"
        )


@command(SHOW_EXAMPLES)
@job_argument()
@click.argument("custom_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Params, result and row as they are stored, as a line of JSON.")
def show(options: GlobalOptions, job: str, custom_id: str, *, raw: bool) -> None:
    """ID is the request's custom_id, as in the input and in the results. Works at any time, whoever owns the store."""
    with store_access.open_reads(options) as reads:
        found_job = reads.find(job)
        found = reads.request(found_job.id, custom_id)
        sandbox = reads.meta().sandbox
    if raw:
        click.echo(_as_stored(found))
    elif options.as_json:
        facts = RequestView.of(found_job, found, (None, None)).fields()
        neighbours = {"previous", "following"}
        console.show_json({**{key: facts[key] for key in facts if key not in neighbours}, "sandbox": sandbox})
    else:
        console.show_banner(options, sandbox=sandbox)
        console.show("\n".join(request_text(found_job, found)))


def _as_stored(found: queries.RequestDetails) -> bytes | str:
    """Byte for byte, but for what would steer a terminal."""
    parts = [("params", found.params)]
    parts += [] if found.original_params is None else [("original_params", found.original_params)]
    parts.append(("result", found.result))
    parts += [] if found.row is None else [("row", found.row)]
    told = [b'"%b":%b' % (name.encode(), b"null" if text is None else text) for name, text in parts]
    line = b'{"custom_id":%b,%b}' % (msgspec.json.encode(found.custom_id), b",".join(told))
    return humanize.plain(line.decode("utf-8", "replace")) if sys.stdout.isatty() else line
