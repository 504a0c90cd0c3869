"""`submit`: into the store, and done. The engine that runs, or the next one, does the rest."""

from __future__ import annotations

import click

from orchestrator.cli.group import CliCommand
from orchestrator.cli.input_options import InputOptions, job_input_options
from orchestrator.cli.options import GlobalOptions, global_options
from orchestrator.cli.storing import submit_job

EXAMPLES = """
Examples:
  orchestrator submit reviews.jsonl                  prints the job's id
  job=$(orchestrator submit reviews.jsonl) && orchestrator wait "$job"
  make-requests | orchestrator submit - --name nightly

The same input is the same job: submitting it again prints the same id and stores nothing new (unless --new).
"""


@click.command("submit", cls=CliCommand, examples=EXAMPLES)
@global_options
@click.pass_obj
@job_input_options
def submit(options: GlobalOptions, chosen: InputOptions) -> None:
    """Store a job, print its id and return.

    If no engine runs, nothing is sent until one does: orchestrator serve, run or resume.
    """
    submit_job(options, chosen)
