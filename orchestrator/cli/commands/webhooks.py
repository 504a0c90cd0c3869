"""`webhooks`: endpoints, deliveries, tests and replays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import click

from orchestrator.cli.console import as_table, say, show, show_banner, show_json
from orchestrator.cli.group import CommandEntry, command, group
from orchestrator.cli.options import GlobalOptions
from orchestrator.cli.store_access import open_reads, run_notice_command
from orchestrator.domain import humanize, notices

if TYPE_CHECKING:
    from orchestrator.ports.engine import NoticeCommands

EXAMPLES = """
Endpoints are set in [[webhooks]] of a settings file; `orchestrator config init` writes one with an example.

Examples:
  orchestrator webhooks ls                     the endpoints and the newest notices
  orchestrator webhooks ls --state failed      those that were given up
  orchestrator webhooks test                   send a test to every endpoint
  orchestrator webhooks replay 17              send notice 17 again, with the same id
"""

T = TypeVar("T")

_STATES: Final = ("waiting", "delivered", "failed")
_LONGEST_WORDS: Final = 60


webhooks = group(
    {
        "ls": CommandEntry("Show the endpoints and the newest notices.", "webhooks", "list_notices"),
        "test": CommandEntry("Send a test notice to every endpoint, or to URL.", "webhooks"),
        "replay": CommandEntry("Send a notice again, as it was.", "webhooks"),
    },
    EXAMPLES,
)


@command(EXAMPLES)
@click.option("--state", type=click.Choice(_STATES), help="Only notices that are so.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Show at most N notices.")
def list_notices(options: GlobalOptions, *, state: str | None, limit: int) -> None:
    from orchestrator.views.service_views import DeliveryView, EndpointView

    with open_reads(options) as reads:
        endpoints = reads.endpoints()
        found = reads.deliveries(limit=limit, state=None if state is None else notices.DeliveryState(state))
        sandbox = reads.meta().sandbox
    if options.as_json:
        told = [DeliveryView.of(delivery) for delivery in found]
        show_json({"endpoints": [EndpointView.of(each) for each in endpoints], "deliveries": told, "sandbox": sandbox})
        return
    show_banner(options, sandbox=sandbox)
    if not endpoints:
        say(
            options,
            "there are no endpoints; [[webhooks]] in the settings adds one, and the engine reads it at its start",
        )
        return
    for endpoint in endpoints:
        events = ", ".join(endpoint.events) if endpoint.events else "everything"
        show(humanize.plain(f"{endpoint.url}: {events if endpoint.active else 'not in the settings any more'}"))
    if found:
        show("")
        show(as_table([("NOTICE", "TYPE", "STATE", "TRIES", "NEXT", "AGE", "ENDPOINT", "LAST"), *map(_row, found)]))


@command(EXAMPLES)
@click.argument("url", required=False)
def test(options: GlobalOptions, url: str | None) -> None:
    """`webhooks ls` shows what became of it."""
    sent, running = _asked(options, lambda noticing: noticing.test_notice(url))
    if options.as_json:
        show_json({"sent": sent})
        return
    numbers = ", ".join(map(str, sent))
    say(options, f"notice {numbers}: {'on its way' if running else 'stored; the next engine sends it'}")


@command(EXAMPLES)
@click.argument("notice", type=click.IntRange(min=1))
def replay(options: GlobalOptions, notice: int) -> None:
    """It has the same id as before, so an endpoint that has it already can tell."""
    _, running = _asked(options, lambda noticing: noticing.replay_notice(notice))
    if options.as_json:
        show_json({"replayed": notice})
        return
    say(options, f"notice {notice}: {'on its way again' if running else 'stored; the next engine sends it'}")


def _asked(options: GlobalOptions, act: Callable[[NoticeCommands], Awaitable[T]]) -> tuple[T, bool]:
    return run_notice_command(options, options.settings(), act)


def _row(delivery: notices.Delivery) -> tuple[str, ...]:
    now = datetime.now(UTC)
    return (
        str(delivery.id),
        delivery.type,
        delivery.state.value,
        str(delivery.tries),
        "" if delivery.next_at is None else f"in {humanize.span(max(delivery.next_at - now, timedelta(0)))}",
        humanize.span(now - delivery.created_at),
        delivery.url,
        humanize.plain(delivery.last_answer[:_LONGEST_WORDS]),
    )
