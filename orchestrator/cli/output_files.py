"""The files that a command writes: results, what they must not overwrite, and the lines that `--skip-bad` left out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import input_options, jobs_text
from orchestrator.cli.group import HintedUsageError
from orchestrator.cli.shape_options import ShapeChoice
from orchestrator.client.results_file import Output, foreign, is_device
from orchestrator.domain import errors, humanize, ids, job_spec, model
from orchestrator.domain.answer_table import OutputFormat
from orchestrator.ports import engine, streams
from orchestrator.views.guarded_source import GuardedSource, attached_to, living_jobs

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.ports.reads import RemoteReader, RemoteReads

_BY_NAME = ShapeChoice()
_ENDINGS = tuple(f".{each.value}" for each in OutputFormat)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace the output file although it is not this job's earlier output."
)


def checked_output(options: GlobalOptions, path: str, *, overwrite: bool, shaped: ShapeChoice = _BY_NAME) -> Output:
    """The output at *path*. Raises UsageError or OutputError now if it could not be written later."""
    if streams.is_stdout(path) and options.as_json:
        raise HintedUsageError("--json and the results cannot both go to stdout", hint="name a file: -o FILE")
    output = Output("-" if streams.is_stdout(path) else path, overwrite=overwrite, shape=shaped.shape(path))
    if not streams.is_stdout(path) and options.server is None:
        refuse_the_store(options, path)
    output.check()
    return output


def refuse_the_input(chosen: input_options.InputOptions, path: str) -> None:
    """Raise UsageError for results that would replace their input."""
    inputs = (each for each in chosen.paths if each != "-")
    if not streams.is_stdout(path) and any(_is_same(path, each) for each in inputs):
        raise HintedUsageError("the results would replace the input", hint="choose another -o FILE")


def refuse_the_store(options: GlobalOptions, path: str) -> None:
    """Raise UsageError for a file of the store of this command."""
    from orchestrator.store.location import location_of

    if any(_is_same(path, file) for file in location_of(options.settings()).files):
        raise HintedUsageError("that would replace the store", hint="choose another -o FILE")


def _is_same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


@contextmanager
def writing_to(output: str, again: str) -> Iterator[None]:
    """Around a write to *output*: a reader of our stdout that goes away, as `head` does, is no error.

    again: the command that writes the results later, for the hint of any other failure.
    """
    try:
        yield
    except errors.OutputNotWritten as exc:
        if output == "-" and isinstance(exc.__cause__, BrokenPipeError):
            raise exc.__cause__ from None
        raise errors.OutputNotWritten(exc.message, cause=exc.cause, hint=f"{exc.hint}: `{again}` writes them") from exc


def guard_output(
    source: streams.Source, output: Output, new: job_spec.NewJob, terms: engine.IngestOptions, reader: RemoteReader
) -> streams.Source:
    """*source*, refused at its end if the file at *output* is not an earlier output of the same job."""

    async def refuse(content_hash: str, sent: job_spec.NewJob) -> None:
        living = await living_jobs(reader)
        job = attached_to(living, content_hash, sent, terms)
        if job is not None:
            await output.refuse_foreign(reader, job.id)
        elif terms.force_new or not _has_changed(living, new):
            raise foreign(output.path)

    return GuardedSource(source, new, refuse, skip_bad=terms.skip_bad) if output.is_taken else source


def _has_changed(jobs: Sequence[model.JobSnapshot], new: job_spec.NewJob) -> bool:
    """True for a file that has changed since a job was made of it: ingestion refuses it."""
    return new.is_from_file and any((job.source, job.name) == (new.source, new.name) for job in jobs)


def write_new(path: Path, text: str) -> None:
    """Write the file at *path*, which nobody has written yet. Raises GuardRefused, OutputError."""
    shown = humanize.plain(str(path))
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise errors.GuardRefused(
            f"{shown} is there already; nothing was changed", hint="move it away to write a new one"
        ) from None
    except OSError as exc:
        raise errors.OutputError(f"{shown} cannot be written", cause=exc.strerror, hint="go to another folder") from exc
    try:
        with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123 - an open descriptor, made exclusively
            file.write(text)
    except OSError as exc:
        path.unlink()  # half of it would be "there already" for the next try
        raise errors.OutputError(
            f"{shown} cannot be written", cause=exc.strerror, hint="make space, then again"
        ) from exc


_PAGE = 1000


def refused_path(chosen: input_options.InputOptions, output: str | None) -> Path | None:
    """Where refused lines go: beside the output, as `<its stem>.refused.jsonl`, else into this folder.

    None: for standard input, whose job's id names the file.
    """
    if output is None or output == "-" or is_device(output):
        return None if chosen.path == input_options.STDIN else Path(f"{chosen.stem}.refused.jsonl")
    return beside(output, ".refused.jsonl")


def beside(output: str, ending: str) -> Path:
    """The file of the same stem as the results at *output*, with another *ending*."""
    path = Path(output)
    name = path.name
    for known in (".gz", ".zst", *_ENDINGS, ".results"):
        if name.lower().endswith(known) and len(name) > len(known):  # `.CSV` is a table, too
            name = name[: -len(known)]
    return path.with_name(f"{name}{ending}")


async def write_refused(
    options: GlobalOptions, reader: RemoteReader, job: model.JobSnapshot, path: Path | None, *, overwrite: bool = False
) -> None:
    """Write the refused lines of *job*, each with its problems, to *path*. Raises OutputError.

    If there is no path, or another file lies there, the file is named by the job.
    """
    own = Path(f"{job.public_id}.refused.jsonl")
    place = own if path is None else path
    if not overwrite and not await _may_write(place, reader, job):
        place = place.with_name(own.name)
        if not await _may_write(place, reader, job):
            raise errors.OutputNotWritten(
                f"cannot write {humanize.plain(str(place))}",
                cause="another file is there already",
                hint="move it away, and give the same command again",
            )
    lines = await _write(place, reader, job)
    jobs_text.say_refused_lines(options, lines, humanize.plain(str(place)))


async def _may_write(path: Path, reader: RemoteReader, job: model.JobSnapshot) -> bool:
    """True if no file is there, or an empty one, or one with the same bytes."""
    return not _is_taken(path) or await _holds(path, _refused(reader, job.id))


def _is_taken(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False  # if it cannot be written, that is told then


async def _write(path: Path, reader: RemoteReader, job: model.JobSnapshot) -> int:
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


async def _refused(reader: RemoteReader, job: ids.JobId) -> AsyncIterator[tuple[bytes, int]]:
    """The refused lines of *job*, in chunks: the bytes to write, and their number of lines."""
    from orchestrator.inputs import refused_lines

    after = 0
    while page := await reader.read(_whole_lines(job, after)):
        entries = refused_lines(page)
        yield b"".join(entries), len(entries)
        after = page[-1].line


async def _holds(path: Path, chunks: AsyncIterator[tuple[bytes, int]]) -> bool:
    """True if the file at *path* has exactly these bytes; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            async for chunk, _ in chunks:
                if file.read(len(chunk)) != chunk:
                    return False
            return file.read(1) == b""
    except OSError:
        return False


def _whole_lines(job: ids.JobId, after: int) -> Callable[[RemoteReads], list[streams.InputProblem]]:
    """The next problems, with all of each line's: pages of the store begin at a line."""

    def look(reads: RemoteReads) -> list[streams.InputProblem]:
        page = reads.refused(job, after=after, limit=_PAGE)
        whole = [problem for problem in page if problem.line < page[-1].line]
        return whole if len(page) == _PAGE and whole else page

    return look
