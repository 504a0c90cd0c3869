"""`budget`: what a job, a day, a month or all jobs together may cost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click

from orchestrator.cli import console, store_access
from orchestrator.cli.group import CommandEntry, command, group
from orchestrator.cli.options import GlobalOptions
from orchestrator.domain import errors, humanize, model, money, states
from orchestrator.domain.budgets import SHARED, Limit, Scope
from orchestrator.ports.engine import Commands
from orchestrator.ports.reads import RemoteReader
from orchestrator.views.cost_views import HOW_TO_PRICE, BudgetsView, BudgetView, spent_words
from orchestrator.views.job_views import JobView

EXAMPLES = """
A cap is never exceeded: what a batch can cost at most is reserved before it is sent. A day and a month are UTC's; when
one is used up, jobs wait for the next. When the cap of a job, or the total, is reached, jobs are paused; raised, they
go on.

Examples:
  orchestrator budget                       the budgets of all jobs together
  orchestrator budget set reviews '$20'     the job may cost $20 (in a shell $ needs quotes; 20 means the same)
  orchestrator budget set day 50            all jobs together may cost $50 a day
  orchestrator budget clear month
"""
_UNTIL: Final = {Scope.DAY: "today (UTC)", Scope.MONTH: "this month (UTC)", Scope.TOTAL: "until it is raised"}
_SCOPES: Final = {scope.value for scope in SHARED}

budget = group(
    {
        "ls": CommandEntry("Show the budgets of all jobs together.", "budget", "list_budgets"),
        "set": CommandEntry("Set what a JOB, a day, a month or the total may cost.", "budget", "set_budget"),
        "clear": CommandEntry("Take a cap or a budget away.", "budget", "clear_budget"),
    },
    EXAMPLES,
    bare="ls",
)


@command(EXAMPLES)
def list_budgets(options: GlobalOptions) -> None:
    """The cap of a job is in `orchestrator status JOB`."""
    with store_access.open_reads(options, options.settings()) as reads:
        limits, sandbox = reads.budgets(datetime.now(UTC)), reads.meta().sandbox
    _show(options, limits, sandbox=sandbox)


@command(EXAMPLES)
@click.argument("what", metavar="JOB|day|month|total")
@click.argument("amount", metavar="AMOUNT")
def set_budget(options: GlobalOptions, what: str, amount: str) -> None:
    """AMOUNT is dollars: 20, '$20' or 20.50usd. A job that a cap has stopped goes on, if it is enough."""
    try:
        cap = money.parse_cap(amount)
    except ValueError as exc:
        raise errors.UsageError(str(exc)) from exc
    _change(options, what, cap)


@command(EXAMPLES)
@click.argument("what", metavar="JOB|day|month|total")
def clear_budget(options: GlobalOptions, what: str) -> None:
    """A budget of the settings comes back when an engine starts."""
    _change(options, what, None)


def _change(options: GlobalOptions, what: str, cap: int | None) -> None:
    if what in _SCOPES:
        _change_shared(options, Scope(what), cap)
    else:
        _change_job(options, what, cap)


def _change_shared(options: GlobalOptions, scope: Scope, cap: int | None) -> None:
    async def act(commands: Commands, reader: RemoteReader) -> tuple[int, list[Limit]]:
        going_on = await commands.set_budget(scope, cap)
        return going_on, await reader.read(lambda reads: reads.budgets(datetime.now(UTC)))

    sandbox = store_access.is_sandbox_store(options)
    (going_on, limits), _ = store_access.run_command(options, options.settings(), act)
    _show(options, limits, sandbox=sandbox)
    used_up = next((limit for limit in limits if limit.scope is scope and limit.spent >= limit.cap), None)
    if used_up is not None:
        _say_used_up(options, used_up.spent, _UNTIL[scope])
    if going_on:
        jobs = humanize.count(going_on, "job")
        console.say(options, f"{jobs} that a cap had stopped {'is' if going_on == 1 else 'are'} tried again")


def _say_used_up(options: GlobalOptions, spent: int, until: str) -> None:
    console.say(options, f"{money.shown(spent)} is spent already: nothing more is sent {until}")


def _change_job(options: GlobalOptions, ref: str, cap: int | None) -> None:
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        sandbox, found = reads.meta().sandbox, reads.sole(ref)
    console.say_banner(options, sandbox=sandbox)

    async def act(commands: Commands, reader: RemoteReader) -> tuple[bool, model.JobStatus]:
        goes_on = await commands.cap_job(found.id, cap)
        return goes_on, await reader.read(store_access.status_of(found.id))

    (goes_on, status), has_engine = store_access.run_command(options, settings, act)
    if options.as_json:
        console.show_json(JobView.of(status))
    else:
        may = "may cost whatever it does" if cap is None else f"may cost {money.shown_cap(cap)}"
        console.show(f"{found.public_id} {may}" + ("; it is tried again" if goes_on else ""))
    cost = status.cost
    if cap is not None and cost is not None and cost.nanos >= cap and found.state not in states.OVER:
        _say_used_up(options, cost.nanos, _UNTIL[Scope.TOTAL])
    if goes_on and not has_engine:
        works = console.engine_lines(options, found.public_id, sandbox=sandbox)
        console.say(options, f"no engine is running: {works} works on it")


def _show(options: GlobalOptions, limits: list[Limit], *, sandbox: bool) -> None:
    if options.as_json:
        view = BudgetsView(budgets=[BudgetView.of(limit) for limit in limits])
        console.show_json({**view.fields(), "sandbox": sandbox})
        return
    console.show_banner(options, sandbox=sandbox)
    if not limits:
        console.show("there is no budget: all jobs together may cost whatever they do")
        return
    rows = [("BUDGET", "OF", "CAP", "SPENT", "RESERVED", "LEFT"), *map(_row, limits)]
    console.show(console.as_table(rows, right=range(2, 6)))
    if any(limit.unpriced for limit in limits):
        console.say(options, HOW_TO_PRICE)


def _row(limit: Limit) -> tuple[str, ...]:
    left = limit.cap - limit.spent - limit.reserved
    spent = spent_words(limit.spent, limit.unpriced)
    key = limit.scope.value, limit.key, money.shown_cap(limit.cap)
    return *key, spent, money.shown(limit.reserved), money.shown(left)
