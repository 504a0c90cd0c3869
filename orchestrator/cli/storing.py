"""Storing a job and leaving the rest to the engine: `submit`, and `run --detach`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.handing_in import Input, problem_text, refuse
from orchestrator.cli.helm import steer
from orchestrator.cli.out import say, say_banner, show, show_json
from orchestrator.cli.reading import FileReader
from orchestrator.cli.summary import resume_line, say_refused_lines, say_taken_in
from orchestrator.domain.states import OVER, JobState
from orchestrator.http_api.views import job_view

if TYPE_CHECKING:
    from orchestrator.cli.options import Ask
    from orchestrator.domain.ids import JobId
    from orchestrator.ports.commands import Commands, Reader, Reads, TakenIn
    from orchestrator.ports.source import Problem

_PAGE = 1000


def store_job(ask: Ask, chosen: Input) -> None:
    """Store *chosen*, print the job's id on stdout, and say who will work on it."""
    settings = ask.settings()
    say_banner(ask, sandbox=ask.sandbox)
    source = chosen.source(settings)

    async def act(commands: Commands, reader: Reader) -> TakenIn:
        taken = await commands.take_in(source, chosen.new_job(settings), chosen.terms())
        if taken.job is not None and taken.refused:
            await write_refused(ask, reader, taken, refused_path(chosen, None))
        return taken

    taken, has_engine = steer(ask, settings, act)
    job = stored(taken, source.name)
    say_taken_in(ask, source.name, source.size_bytes, taken)
    if ask.as_json:
        status = FileReader(settings.database.path).read_now(lambda reads: reads.status(reads.get(job)))
        show_json({**job_view(status), "attached": taken.attached, "refused": taken.refused})
    else:
        show(public_id(taken))
    _say_who_works(ask, taken, has_engine=has_engine)


def stored(taken: TakenIn, source_name: str) -> JobId:
    """The job of an input that was taken in. Says every problem of one that was not, and raises InputError."""
    if taken.job is not None:
        return taken.job.id
    for line in problem_text(source_name, taken.problems, taken.problem_count):
        click.echo(line, err=True)
    raise refuse(source_name, taken)


def public_id(taken: TakenIn) -> str:
    """What people call the job of an input that was taken in."""
    return "" if taken.job is None else taken.job.public_id


def refused_path(chosen: Input, output: str | None) -> str:
    """Where lines that were left out go: beside the output, `<its stem>.refused.jsonl`, else into this folder."""
    if output is None or output == "-":
        return f"{chosen.stem}.refused.jsonl"
    path = Path(output)
    name = path.name
    for ending in (".gz", ".zst", ".jsonl"):
        name = name.removesuffix(ending)
    return str(path.with_name(f"{name}.refused.jsonl"))


async def write_refused(ask: Ask, reader: Reader, taken: TakenIn, path: str) -> None:
    """Write the lines of the job that were left out, each with its reason, to *path*. Raises OutputError."""
    from orchestrator.inputs import refused_lines
    from orchestrator.results import open_sink

    if taken.job is None:
        return
    job, after, written = taken.job.id, 0, 0
    sink = open_sink(path)
    try:
        while page := await reader.read(_whole_lines(job, after)):
            await sink.write(refused_lines(page))
            after, written = page[-1].line, written + len(page)
        await sink.commit()
    except BaseException:
        await sink.abort()
        raise
    say_refused_lines(ask, written, path)


def _whole_lines(job: JobId, after: int) -> Callable[[Reads], list[Problem]]:
    """The next problems, never a part of one line's: the store gives pages by line."""

    def look(reads: Reads) -> list[Problem]:
        page = reads.refused(job, after=after, limit=_PAGE)
        whole = [problem for problem in page if problem.line < page[-1].line]
        return whole if len(page) == _PAGE and whole else page

    return look


def _say_who_works(ask: Ask, taken: TakenIn, *, has_engine: bool) -> None:
    job = taken.job
    if job is None or job.state in OVER:
        return
    if job.state is JobState.PAUSED:
        say(ask, f"it is paused ({job.reason_code}); to go on: {resume_line(ask, job.public_id, None)}")
    elif has_engine:
        say(ask, "the engine that is running works on it")
    else:
        say(ask, f"no engine is running: `orchestrator serve` or `{resume_line(ask, job.public_id, None)}` works on it")
