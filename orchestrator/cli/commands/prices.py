"""`prices`: what a token costs in a batch, and what has changed in the newest list."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import click

from orchestrator.cli import store_access
from orchestrator.cli.console import as_table, coloured, completed, say, show, show_banner, show_json
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.options import GlobalOptions
from orchestrator.domain import humanize
from orchestrator.views import cost_views, job_views, price_views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.domain.model import JobSnapshot, JobStatus
    from orchestrator.ports.engine import Commands
    from orchestrator.ports.reads import RemoteReader, RemoteReads
    from orchestrator.ports.runtime import Price
    from orchestrator.prices.price_book import PriceBook

_MOST_JOBS: Final = 1_000_000
EXAMPLES = """
Prices come from the package genai-prices. [prices] file names your own, which wins for a whole model; [prices] factor
multiplies all of them. A model that is in neither has no price: its cost is unknown, never 0.

Examples:
  orchestrator prices                      the models that can be had
  orchestrator prices claude-haiku-4-5     one of them; without a price the exit code is 4, with the line to write
  orchestrator prices --update             what the newest list says otherwise, as lines for a price file
  orchestrator prices --update >> prices.toml     and take them over, into the file that [prices] file names
  orchestrator prices --reprice @last      price the answers of a job whose cost was not known, or of several jobs;
                                           with --server, by the prices that the server has
  orchestrator prices --reprice --all      of all jobs that have such answers
"""


@command(EXAMPLES)
@click.argument("names", metavar="[MODEL | JOB...]", nargs=-1)
@click.option("--update", is_flag=True, help="Fetch the newest list of genai-prices and print what differs.")
@click.option("--reprice", is_flag=True, help="Price the answers of each JOB whose cost is not known, by today's list.")
@click.option("--all", "of_all", is_flag=True, help="With --reprice: of every job that has such answers.")
def prices(options: GlobalOptions, names: tuple[str, ...], *, update: bool, reprice: bool, of_all: bool) -> None:
    """In dollars per million tokens of a batch, which are half of the standard prices in every line."""
    from orchestrator.prices.price_book import PriceBook

    _check_usage(names, update=update, reprice=reprice, of_all=of_all)
    if reprice:
        _reprice(options, names)
        return
    model = names[0] if names else None
    today = datetime.now(UTC).date()
    if update:
        _show_changes(options, today)
        return
    book = PriceBook(options.settings().prices)
    found = _found(book, model, today)
    old = book.staleness(today)
    warning = None if old is None else ": ".join(old)
    if options.as_json:
        _show_json(found, book, today, warning)
        return
    if warning is not None:
        say(options, coloured(completed(options, warning), "yellow"))
    _show_table(found, book, today)


def _check_usage(names: Sequence[str], *, update: bool, reprice: bool, of_all: bool) -> None:
    if (update and (names or reprice)) or (len(names) > 1 and not reprice):
        raise HintedUsageError("a model, --update and --reprice are three commands", hint="give one of them")
    if of_all and not reprice:
        raise HintedUsageError("--all says which jobs --reprice is for", hint="orchestrator prices --reprice --all")
    if reprice and of_all == bool(names):
        raise HintedUsageError("--reprice wants jobs, or --all", hint="give one of both")


def _reprice(options: GlobalOptions, refs: Sequence[str]) -> None:
    """Price answers of the jobs that *refs* mean, none if one of them means no job; without any, of all that have some.

    One job after the other: what stops it on its way keeps what was done, and the same command does the rest.
    """
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        sandbox = reads.meta().sandbox
        found = [reads.sole(ref) for ref in refs] if refs else _with_unpriced(reads)
    ids = list(dict.fromkeys(job.id for job in found))

    async def act(commands: Commands, reader: RemoteReader) -> list[tuple[int, JobStatus]]:
        return [(await commands.reprice(job), await reader.read(store_access.status_of(job))) for job in ids]

    done, _ = store_access.run_command(options, settings, act) if ids else ([], False)
    if options.as_json:
        jobs = [job_views.RepricedView(priced=priced, job=job_views.JobView.of(status)) for priced, status in done]
        show_json({"priced": sum(priced for priced, _ in done), "jobs": jobs, "sandbox": sandbox})
        return
    show_banner(options, sandbox=sandbox)
    if not done:
        show("no job has answers of unknown cost")
    for priced, status in done:
        cost = status.cost
        spent = "" if cost is None else f"; the job cost {cost_views.spent_words(cost.nanos, cost.unpriced)}"
        show(f"{status.job.public_id}: {humanize.count(priced, 'answer')} priced{spent}")


def _with_unpriced(reads: RemoteReads) -> list[JobSnapshot]:
    """The jobs that have answers of unknown cost, the oldest first."""
    costs = ((job, reads.status(job).cost) for job in reversed(reads.jobs(limit=_MOST_JOBS)))
    return [job for job, cost in costs if cost is not None and cost.unpriced]


def _found(book: PriceBook, model: str | None, today: date) -> list[Price]:
    """The price of *model*, or all. Raises NoSuchThing."""
    if model is None:
        return [price for each in book.models() if (price := book.price(each, today)) is not None]
    price = book.price(model, today)
    if price is None:
        raise price_views.no_price(model, book.section.file, book.begins(model, today))
    return [price]


def _show_table(found: list[Price], book: PriceBook, today: date) -> None:
    usual = book.package_source()
    show(f"dollars per million tokens in a batch on {today}")
    show(f"from {usual} (newest price: {book.newest(today)})")
    show(as_table(price_views.price_rows(found, usual), right=range(1, 6)))


def _show_json(found: list[Price], book: PriceBook, today: date, warning: str | None) -> None:
    newest = book.newest(today)
    view = price_views.PriceListView(
        day=today.isoformat(),
        source=book.package_source(),
        newest=None if newest is None else newest.isoformat(),
        warning=warning,
        prices=[price_views.PriceView.of(price) for price in found],
    )
    show_json(view)


def _show_changes(options: GlobalOptions, today: date) -> None:
    """What the newest list says otherwise: lines of a price file on stdout, a sentence on stderr."""
    from orchestrator.prices import package_prices

    installed = package_prices.installed()
    changes = [
        price_views.ChangeView.of(*each)
        for each in package_prices.changes_between(installed, package_prices.fetched(), today)
    ]
    if options.as_json:
        show_json({"since": installed.edition, "changes": changes})
        return
    differ = "1 price differs" if len(changes) == 1 else f"{len(changes):,} prices differ"
    say(options, f"{differ} from {installed.edition}; nothing was changed")
    if changes:
        show("\n".join(price_views.change_lines(changes)))
