"""`submit`: stores a job and leaves the work to the engine; also `run --detach`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.errors import STORED, UNTOUCHED, Stopped
from orchestrator.cli.group import command
from orchestrator.cli.hints import engine_lines, resume_line, same_line
from orchestrator.cli.input_options import InputOptions, job_input_options, problems_as_text, refused_input
from orchestrator.cli.options import GlobalOptions
from orchestrator.cli.output import say, say_banner, show, show_json
from orchestrator.cli.refused_lines import refused_path, write_refused
from orchestrator.cli.store_access import is_sandbox_store, run_command, status_of
from orchestrator.cli.summary import say_taken_in
from orchestrator.domain.states import OVER, JobState
from orchestrator.views.job_views import JobView

if TYPE_CHECKING:
    from orchestrator.domain.model import JobSnapshot, JobStatus
    from orchestrator.ports.engine import Commands, IngestResult
    from orchestrator.ports.reads import RemoteReader

EXAMPLES = """
Examples:
  orchestrator submit reviews.jsonl                  prints the job's id
  job=$(orchestrator submit reviews.jsonl) && orchestrator wait "$job"
  make-requests | orchestrator submit - --name nightly

The same input is the same job: submitting it again prints the same id and stores nothing new (unless --new).
"""


@command(EXAMPLES)
@job_input_options
def submit(options: GlobalOptions, chosen: InputOptions) -> None:
    """If no engine runs, nothing is sent until one does: orchestrator serve, run or resume."""
    submit_job(options, chosen)


def submit_job(options: GlobalOptions, chosen: InputOptions) -> None:
    """Store *chosen*, print the job's id on stdout, and say who will work on it."""
    settings = options.settings()
    say_banner(options, sandbox=is_sandbox_store(options))
    source = chosen.source(settings)

    known: list[str] = []

    async def act(commands: Commands, reader: RemoteReader) -> tuple[IngestResult, JobStatus | None]:
        taken = await commands.ingest(source, chosen.new_job(settings), chosen.terms())
        if taken.job is None:
            return taken, None
        known.append(resume_line(options, taken.job.public_id, None))
        if taken.refused:
            await write_refused(options, reader, taken.job, refused_path(chosen, None))
        return taken, await reader.read(status_of(taken.job.id)) if options.as_json else None

    (taken, status), has_engine = run_command(
        options, settings, act, lambda stopped: describe_stop(options, stopped, known[0] if known else None)
    )
    job = job_of_ingest(taken, source.name, chosen)
    say_taken_in(options, source.name, source.size_bytes, taken)
    if status is not None:
        told = {"attached": taken.attached, "refused": taken.refused, "renamed_from": taken.renamed_from}
        show_json({**JobView.of(status).fields(), **told})
    else:
        show(job.public_id)
    _say_who_works(options, job, has_engine=has_engine)


def describe_stop(options: GlobalOptions, stopped: Stopped, go_on: str | None) -> None:
    """What *stopped* says of a command that ingests an input. go_on: the command for the job, once there is one."""
    stopped.fact = UNTOUCHED if go_on is None else STORED
    stopped.hint = same_line(options) if go_on is None else go_on


def job_of_ingest(taken: IngestResult, source_name: str, chosen: InputOptions) -> JobSnapshot:
    """The job of an ingested input. Says every problem of one that was refused, and raises InputError."""
    if taken.job is not None:
        return taken.job
    for line in problems_as_text(source_name, taken.problems, taken.problem_count):
        click.echo(line, err=True)
    raise refused_input(source_name, taken, may_skip=not chosen.skip_bad)


def _say_who_works(options: GlobalOptions, job: JobSnapshot, *, has_engine: bool) -> None:
    if job.state in OVER:
        return
    if job.state is JobState.PAUSED:
        say(options, f"it is paused ({job.reason_code}); to go on: {resume_line(options, job.public_id, None)}")
    elif has_engine:
        say(options, "the engine that is running works on it")
    else:
        say(options, f"no engine is running: {engine_lines(options, job.public_id)} works on it")
