"""The files that a command writes: results, what they must not overwrite, and the lines that `--skip-bad` left out."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from typing_extensions import override

from orchestrator.cli import input_options, jobs_text
from orchestrator.cli.group import HintedUsageError
from orchestrator.client.results_file import Output, foreign, is_device
from orchestrator.domain import errors, humanize, ids, job_spec, model, states
from orchestrator.ports import engine, streams

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.ports.reads import RemoteReader, RemoteReads

#: More jobs than any store has.
_EVERY: Final = 10_000_000

overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace the output file although it is not this job's earlier output."
)


def checked_output(options: GlobalOptions, path: str, *, overwrite: bool) -> Output:
    """The output at *path*. Raises UsageError or OutputError now if it could not be written later."""
    if streams.is_stdout(path) and options.as_json:
        raise HintedUsageError("--json and the results cannot both go to stdout", hint="name a file: -o FILE")
    output = Output("-" if streams.is_stdout(path) else path, overwrite=overwrite)
    if not streams.is_stdout(path) and options.server is None:
        _refuse_the_store(options, path)
    output.check()
    return output


def default_output_path(job: model.JobSnapshot) -> str:
    """The default output of *job*: no other job, of any store, has its id."""
    return f"{job.public_id}.results.jsonl"


def refuse_the_input(chosen: input_options.InputOptions, path: str) -> None:
    """Raise UsageError for results that would replace their input."""
    if chosen.path != "-" and not streams.is_stdout(path) and _is_same(path, chosen.path):
        raise HintedUsageError("the results would replace the input", hint="choose another -o FILE")


def _refuse_the_store(options: GlobalOptions, path: str) -> None:
    from orchestrator.store.location import location_of

    if any(_is_same(path, file) for file in location_of(options.settings()).files):
        raise HintedUsageError("the results would replace the store", hint="choose another -o FILE")


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


class GuardedSource(streams.WrappedSource):
    """A source that is refused at its end, before it becomes a job, if the output is another job's file.

    Only then does its content tell which job it is. `chunks` raises OutputError, and nothing is stored.
    """

    def __init__(
        self, source: streams.Source, refuse: Callable[[str], Coroutine[Any, Any, None]], *, skip_bad: bool
    ) -> None:
        super().__init__(source)
        self._refuse = refuse
        self._skip_bad = skip_bad

    @override
    async def chunks(self) -> AsyncGenerator[Sequence[streams.InputLine | streams.InputProblem], None]:
        is_lost = False
        async for chunk in self._source.chunks():
            problems = [item for item in chunk if isinstance(item, streams.InputProblem)]
            is_lost = is_lost or bool(problems and not self._skip_bad) or any(each.line == 0 for each in problems)
            yield chunk
        if not is_lost:  # else it is refused for what is wrong with it
            await self._refuse(self._source.content_hash)


def guard_output(
    source: streams.Source, output: Output, new: job_spec.NewJob, terms: engine.IngestOptions, reader: RemoteReader
) -> streams.Source:
    """*source*, refused at its end if the file at *output* is not an earlier output of the same job."""

    async def refuse(content_hash: str) -> None:
        jobs = await reader.read(lambda reads: reads.jobs(limit=_EVERY))
        living = [job for job in jobs if job.purged_at is None and job.state is not states.JobState.IMPORTING]
        job = _attached_to(living, content_hash, new, terms)
        if job is not None:
            await output.refuse_foreign(reader, job.id)
        elif terms.force_new or not _has_changed(living, new):
            raise foreign(output.path)

    return GuardedSource(source, refuse, skip_bad=terms.skip_bad) if output.is_taken else source


def _attached_to(
    jobs: Sequence[model.JobSnapshot], content_hash: str, new: job_spec.NewJob, terms: engine.IngestOptions
) -> model.JobSnapshot | None:
    """The job of *jobs*, newest first, that this input is already; by the rules of the store."""
    if new.key is not None and (keyed := [job for job in jobs if job.key == new.key]):
        return keyed[0]
    headers = (content_hash, new.api_version, new.betas)
    same = [job for job in jobs if (job.content_hash, job.api_version, job.betas) == headers]
    return same[0] if same and not terms.force_new else None


def _has_changed(jobs: Sequence[model.JobSnapshot], new: job_spec.NewJob) -> bool:
    """True for a file that has changed since a job was made of it: ingestion refuses it."""
    return new.is_from_file and any((job.source, job.name) == (new.source, new.name) for job in jobs)


_PAGE = 1000


def refused_path(chosen: input_options.InputOptions, output: str | None) -> Path | None:
    """Where refused lines go: beside the output, as `<its stem>.refused.jsonl`, else into this folder.

    None: for standard input, whose job's id names the file.
    """
    if output is None or output == "-" or is_device(output):
        return None if chosen.path == input_options.STDIN else Path(f"{chosen.stem}.refused.jsonl")
    path = Path(output)
    name = path.name
    for ending in (".gz", ".zst", ".jsonl", ".results"):
        name = name.removesuffix(ending)
    return path.with_name(f"{name}.refused.jsonl")


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
