"""`submit`: stores a job and leaves the work to the engine; also `run --detach`."""

from __future__ import annotations

from orchestrator.cli import command_errors, confirm_cost, console, input_options, jobs_text, output_files, store_access
from orchestrator.cli.group import command
from orchestrator.cli.job_files import input_argument
from orchestrator.cli.options import GlobalOptions
from orchestrator.domain import model, states
from orchestrator.ports import engine, reads
from orchestrator.views.job_views import IngestResultView, JobView

EXAMPLES = """
Examples:
  orchestrator submit reviews.jsonl                  prints the job's id
  job=$(orchestrator submit reviews.jsonl) && orchestrator wait "$job"
  make-requests | orchestrator submit - --name nightly
  orchestrator submit reviews.csv -p 'Classify: {{ text }}' -m claude-haiku-4-5
  orchestrator submit job.toml                          a job file: `orchestrator init` writes one

The same input is the same job: submitting it again prints the same id and stores nothing new (unless --new).
What may cost more than [budget] confirm_above ($5) is asked about first; without a terminal it needs --yes.
"""


@command(EXAMPLES)
@input_argument
@input_options.job_input_options
def submit(options: GlobalOptions, chosen: input_options.InputOptions) -> None:
    """If no engine runs, nothing is sent until one does: orchestrator serve, run or resume."""
    submit_job(options, chosen)


def submit_job(options: GlobalOptions, chosen: input_options.InputOptions) -> None:
    """Store *chosen*, print the job's id on stdout, and say who will work on it."""
    settings = options.settings()
    console.say_banner(options, sandbox=store_access.is_sandbox_store(options))
    source = chosen.source(settings)

    known: list[str] = []

    async def act(
        commands: engine.Commands, reader: reads.RemoteReader
    ) -> tuple[engine.IngestResult, model.JobStatus | None]:
        paid = confirm_cost.confirmed(options, settings, source, chosen, reader)
        taken = await commands.ingest(paid, chosen.new_job(settings), chosen.terms())
        if taken.job is None:
            return taken, None
        known.append(console.resume_line(options, taken.job.public_id, None))
        if taken.refused:
            await output_files.write_refused(options, reader, taken.job, output_files.refused_path(chosen, None))
        return taken, await reader.read(store_access.status_of(taken.job.id)) if options.as_json else None

    (taken, status), has_engine = store_access.run_command(
        options, settings, act, lambda stopped: describe_stop(options, stopped, known[0] if known else None)
    )
    job = input_options.job_of_ingest(taken, source.name, chosen)
    jobs_text.say_taken_in(options, source, taken)
    if status is not None:
        view = IngestResultView.of(JobView.of(status), taken)
        console.show_json({**view.job.fields(), **view.beside_the_job()})
    else:
        console.show(job.public_id)
    _say_who_works(options, job, has_engine=has_engine)


def describe_stop(
    options: GlobalOptions, stopped: command_errors.Stopped, go_on: str | None, left: str | None = None
) -> None:
    """What *stopped* says of a command that ingests an input. go_on: the command for the job, once there is one.

    left: how far the job is.
    """
    stopped.fact = command_errors.UNTOUCHED if go_on is None else command_errors.STORED
    if left is not None:
        stopped.fact = f"{left}; {stopped.fact}"
    stopped.hint = console.same_line(options) if go_on is None else go_on


def _say_who_works(options: GlobalOptions, job: model.JobSnapshot, *, has_engine: bool) -> None:
    if job.state in states.OVER:
        return
    if job.state is states.JobState.PAUSED:
        console.say(
            options, f"it is paused ({job.reason_code}); to go on: {console.resume_line(options, job.public_id, None)}"
        )
    elif has_engine:
        console.say(options, "the engine that is running works on it")
    else:
        console.say(options, f"no engine is running: {console.engine_lines(options, job.public_id)} works on it")
