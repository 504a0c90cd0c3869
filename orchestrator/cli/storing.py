"""Storing a job and leaving the rest to the engine: `submit`, and `run --detach`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import words
from orchestrator.cli.errors import STORED, UNTOUCHED, Stopped
from orchestrator.cli.input_options import STDIN, InputOptions, problems_as_text, refused_input
from orchestrator.cli.out import say, say_banner, show, show_json
from orchestrator.cli.reading import is_sandbox_store, reader_for
from orchestrator.cli.store_access import run_command
from orchestrator.cli.summary import engine_lines, resume_line, same_line, say_refused_lines, say_taken_in
from orchestrator.domain.errors import OutputNotWritten
from orchestrator.domain.states import OVER, JobState
from orchestrator.views.job_views import job_view

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.domain.ids import JobId
    from orchestrator.domain.model import Job
    from orchestrator.ports.engine import Commands, IngestResult
    from orchestrator.ports.reads import RemoteReader, RemoteReads
    from orchestrator.ports.streams import InputProblem

_PAGE = 1000


def submit_job(options: GlobalOptions, chosen: InputOptions) -> None:
    """Store *chosen*, print the job's id on stdout, and say who will work on it."""
    settings = options.settings()
    say_banner(options, sandbox=is_sandbox_store(options))
    source = chosen.source(settings)

    known: list[str] = []

    async def act(commands: Commands, reader: RemoteReader) -> IngestResult:
        taken = await commands.ingest(source, chosen.new_job(settings), chosen.terms())
        if taken.job is not None:
            known.append(resume_line(options, taken.job.public_id, None))
            if taken.refused:
                await write_refused(options, reader, taken.job, refused_path(chosen, None))
        return taken

    taken, has_engine = run_command(
        options, settings, act, lambda stopped: describe_stop(options, stopped, known[0] if known else None)
    )
    job = job_of_ingest(taken, source.name, chosen)
    say_taken_in(options, source.name, source.size_bytes, taken)
    if options.as_json:
        status = reader_for(options, settings).read_now(lambda reads: reads.status(reads.get(job.id)))
        told = {"attached": taken.attached, "refused": taken.refused, "renamed_from": taken.renamed_from}
        show_json({**job_view(status), **told})
    else:
        show(public_id(taken))
    _say_who_works(options, taken, has_engine=has_engine)


def describe_stop(options: GlobalOptions, stopped: Stopped, go_on: str | None) -> None:
    """The last words of a command that takes an input in. go_on: the command for the job, once there is one."""
    stopped.fact = UNTOUCHED if go_on is None else STORED
    stopped.hint = same_line(options) if go_on is None else go_on


def job_of_ingest(taken: IngestResult, source_name: str, chosen: InputOptions) -> Job:
    """The job of an input that was taken in. Says every problem of one that was not, and raises InputError."""
    if taken.job is not None:
        return taken.job
    for line in problems_as_text(source_name, taken.problems, taken.problem_count):
        click.echo(line, err=True)
    raise refused_input(source_name, taken, may_skip=not chosen.skip_bad)


def public_id(taken: IngestResult) -> str:
    """What people call the job of an input that was taken in."""
    return "" if taken.job is None else taken.job.public_id


def refused_path(chosen: InputOptions, output: str | None) -> Path | None:
    """Where lines that were left out go: beside the output, `<its stem>.refused.jsonl`, else into this folder.

    None: there is no name to go by, so the job's id is it.
    """
    from orchestrator.client.results_file import is_device

    if output is None or output == "-" or is_device(output):
        return None if chosen.path == STDIN else Path(f"{chosen.stem}.refused.jsonl")
    path = Path(output)
    name = path.name
    for ending in (".gz", ".zst", ".jsonl", ".results"):
        name = name.removesuffix(ending)
    return path.with_name(f"{name}.refused.jsonl")


async def write_refused(
    options: GlobalOptions, reader: RemoteReader, job: Job, path: Path | None, *, overwrite: bool = False
) -> None:
    """Write the lines of *job* that were left out, each with what is wrong, to *path*. Raises OutputError.

    Into a file that is called as the job is, if there is no path or something else lies there.
    """
    own = Path(f"{job.public_id}.refused.jsonl")
    place = own if path is None else path
    if not overwrite and not await _may_write(place, reader, job):
        place = place.with_name(own.name)
        if not await _may_write(place, reader, job):
            raise OutputNotWritten(
                f"cannot write {words.plain(str(place))}",
                cause="another file is there already",
                hint="move it away, and give the same command again",
            )
    lines = await _write(place, reader, job)
    say_refused_lines(options, lines, words.plain(str(place)))


async def _may_write(path: Path, reader: RemoteReader, job: Job) -> bool:
    """Nothing is there, nothing is in it, or it is what would be written."""
    return not _is_taken(path) or await _holds(path, _refused(reader, job.id))


def _is_taken(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False  # if it cannot be written, that is told then


async def _write(path: Path, reader: RemoteReader, job: Job) -> int:
    from orchestrator.results import open_sink

    lines = 0
    sink = open_sink(path)
    try:
        async for chunk, count in _refused(reader, job.id):
            await sink.write(chunk)
            lines += count
        await sink.commit()
    except BaseException:
        await sink.abort()
        raise
    return lines


async def _refused(reader: RemoteReader, job: JobId) -> AsyncIterator[tuple[bytes, int]]:
    """What was left out of *job*, piece by piece: the bytes to write, and how many lines they stand for."""
    from orchestrator.inputs import refused_lines

    after = 0
    while page := await reader.read(_whole_lines(job, after)):
        entries = refused_lines(page)
        yield b"".join(entries), len(entries)
        after = page[-1].line


async def _holds(path: Path, chunks: AsyncIterator[tuple[bytes, int]]) -> bool:
    """True if the file at *path* has exactly these bytes; one that cannot be read is somebody else's."""
    try:
        with path.open("rb") as file:
            async for chunk, _ in chunks:
                if file.read(len(chunk)) != chunk:
                    return False
            return file.read(1) == b""
    except OSError:
        return False


def _whole_lines(job: JobId, after: int) -> Callable[[RemoteReads], list[InputProblem]]:
    """The next problems, never a part of one line's: the store gives pages by line."""

    def look(reads: RemoteReads) -> list[InputProblem]:
        page = reads.refused(job, after=after, limit=_PAGE)
        whole = [problem for problem in page if problem.line < page[-1].line]
        return whole if len(page) == _PAGE and whole else page

    return look


def _say_who_works(options: GlobalOptions, taken: IngestResult, *, has_engine: bool) -> None:
    job = taken.job
    if job is None or job.state in OVER:
        return
    if job.state is JobState.PAUSED:
        say(options, f"it is paused ({job.reason_code}); to go on: {resume_line(options, job.public_id, None)}")
    elif has_engine:
        say(options, "the engine that is running works on it")
    else:
        say(options, f"no engine is running: {engine_lines(options, job.public_id)} works on it")
