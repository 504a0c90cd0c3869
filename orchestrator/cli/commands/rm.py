"""`rm`: deletes the bodies of one job, as somebody may ask for whose words they are."""

from __future__ import annotations

import click

from orchestrator.cli import console, signals, store_access
from orchestrator.cli.confirm_cost import is_confirmed
from orchestrator.cli.group import command
from orchestrator.cli.options import GlobalOptions, job_argument
from orchestrator.domain import errors, humanize, model, states
from orchestrator.domain.humanize import IMPORT_ENDS
from orchestrator.views.job_views import JobView, PurgedView

EXAMPLES = """
What is deleted: the params, the results and the rows of every request, its attempts' answers, and the lines that were
left out. What stays: the job with its counts, costs, events, custom_ids and the messages of its errors. The API keeps
what it was sent by its own rules (results for 29 days), and a file that results were written to is yours.

Examples:
  orchestrator rm reviews
  orchestrator rm reviews-7f3a --yes && orchestrator db compact       and nothing of it is left in the store's file
"""


@command(EXAMPLES)
@job_argument()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(options: GlobalOptions, job: str, *, yes: bool) -> None:
    """The job must be over. What is deleted cannot be brought back; the same input becomes a new job afterwards."""
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        status = reads.status(reads.sole(job))
    console.say_banner(options, sandbox=status.sandbox)
    found = status.job
    _refuse_unfinished(found)
    if found.purged_at is None and not yes:
        signals.run_async(lambda: _ask(options, found), signals.nothing_changed)
    purged, _ = store_access.run_command(options, settings, lambda commands, _: commands.purge(found.id))
    if options.as_json:
        with store_access.open_reads(options, settings) as reads:
            now = reads.status(reads.get(found.id))
        console.show_json(PurgedView(purged=purged, job=JobView.of(now)))
        return
    if not purged:
        console.show(f"{found.public_id}: its requests and results were deleted before")
        return
    console.show(f"{found.public_id}: {humanize.count(found.requests.total, 'request')} and their results are deleted")
    console.say(options, "its counts, costs, ids, errors and events stay")
    if options.remote() is None and settings.database.url is None:
        compact = console.pasteable(options, "orchestrator db compact", sandbox=status.sandbox)
        console.say(options, f"their bytes may lie in free space of the store's file until `{compact}`")


def _refuse_unfinished(job: model.JobSnapshot) -> None:
    if job.state in states.OVER:
        return
    if job.state is states.JobState.IMPORTING:
        hint = IMPORT_ENDS
    elif job.state is states.JobState.CANCELING:
        hint = f"wait until it is canceled: `orchestrator wait {job.public_id}`"
    else:
        hint = f"cancel it first: `orchestrator cancel {job.public_id}`; or wait until it is over"
    raise errors.GuardRefused(f"job {job.public_id} is {job.state.value}: nothing of it was deleted", hint=hint)


async def _ask(options: GlobalOptions, job: model.JobSnapshot) -> None:
    """Raises GuardRefused, unless a person says yes."""
    count = humanize.count(job.requests.total, "request")
    name = "" if job.name == job.public_id else f" ({job.name})"
    answer = await is_confirmed(f"{job.public_id}{name}: {count} and their results would be deleted for good")
    if answer is None:
        raise errors.GuardRefused(
            f"job {job.public_id} has {count}: nobody is there to confirm that they are deleted",
            hint=f"--yes confirms it: `{console.same_line(options)} --yes`",
        )
    if not answer:
        raise errors.GuardRefused("not confirmed; nothing was deleted")
