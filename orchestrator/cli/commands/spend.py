"""`spend`: what was spent, by day, model or job."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from orchestrator.cli import console, store_access
from orchestrator.cli.group import command
from orchestrator.cli.options import GlobalOptions
from orchestrator.domain import spending
from orchestrator.views import cost_views

EXAMPLES = """
A batch counts for the day, UTC, on which the API created it. What has no price is not in the sums, which say so.

Examples:
  orchestrator spend                       day by day
  orchestrator spend --by model --since 30d
  orchestrator spend --by job --since 2026-11-23 --json | jq -r '.lines[] | [.name, .spent] | @tsv'
"""


@command(EXAMPLES)
@click.option(
    "--by",
    type=click.Choice([each.value for each in spending.SpendBy]),
    default=spending.SpendBy.DAY.value,
    show_default=True,
    help="One line a day, model or job.",
)
@click.option("--since", metavar="DAYS|DAY", help="Only the last DAYS (7d), or since a day (2026-11-23).")
def spend(options: GlobalOptions, by: str, since: str | None) -> None:
    """In dollars, to the nano-dollar with --json."""
    wanted, day = spending.SpendBy(by), cost_views.parse_since(since, datetime.now(UTC).date())
    with store_access.open_reads(options, options.settings()) as reads:
        sandbox = reads.meta().sandbox
        lines = reads.spending(wanted, since=day)
    view = cost_views.SpendView.of(wanted, None if day is None else day.isoformat(), lines)
    if options.as_json:
        console.show_json({**view.fields(), "sandbox": sandbox})
        return
    console.show_banner(options, sandbox=sandbox)
    if not lines:
        console.show("nothing was spent" + ("" if day is None else f" since {day}"))
        return
    console.show(console.as_table(_rows(by, lines), right=range(1, 8)))
    if any(line.unpriced for line in lines):
        console.say(options, cost_views.HOW_TO_PRICE)


def _rows(by: str, lines: list[spending.Spending]) -> list[tuple[str, ...]]:
    head = (by.upper(), "ANSWERS", "INPUT", "OUTPUT", "CACHE WRITE", "CACHE READ", "SPENT")
    rows = [_row(line.name or "unknown", line) for line in lines]
    if len(lines) == 1:
        return [head, *rows]
    (together,) = spending.by_name([spending.renamed(line, "all") for line in lines])
    return [head, *rows, _row("all", together)]


def _row(name: str, line: spending.Spending) -> tuple[str, ...]:
    tokens = line.tokens
    counts = (line.requests, tokens.input, tokens.output, tokens.write_5m + tokens.write_1h, tokens.read)
    return (name, *(f"{count:,}" for count in counts), cost_views.line_words(line))
