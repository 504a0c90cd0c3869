"""The output file of a command: where it goes, and what it must not overwrite."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from typing_extensions import override

from orchestrator.cli.group import HintedUsageError
from orchestrator.domain.states import JobState
from orchestrator.ports.streams import InputLine, InputProblem, Source, WrappedSource, is_stdout

if TYPE_CHECKING:
    from orchestrator.cli.input_options import InputOptions
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.client.results_file import Output
    from orchestrator.domain.job_spec import NewJob
    from orchestrator.domain.model import JobSnapshot
    from orchestrator.ports.engine import IngestOptions
    from orchestrator.ports.reads import RemoteReader

#: More jobs than any store has.
_EVERY: Final = 10_000_000

overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace the output file although it is not this job's earlier output."
)


def checked_output(options: GlobalOptions, path: str, *, overwrite: bool) -> Output:
    """The output at *path*. Raises UsageError or OutputError now if it could not be written later."""
    from orchestrator.client.results_file import Output

    if is_stdout(path) and options.as_json:
        raise HintedUsageError("--json and the results cannot both go to stdout", hint="name a file: -o FILE")
    output = Output("-" if is_stdout(path) else path, overwrite=overwrite)
    if not is_stdout(path) and options.server is None:
        _refuse_the_store(options, path)
    output.check()
    return output


def default_output_path(job: JobSnapshot) -> str:
    """The default output of *job*: no other job, of any store, has its id."""
    return f"{job.public_id}.results.jsonl"


def refuse_the_input(chosen: InputOptions, path: str) -> None:
    """Raise UsageError for results that would replace their input."""
    if chosen.path != "-" and not is_stdout(path) and _is_same(path, chosen.path):
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
    from orchestrator.domain.errors import OutputNotWritten

    try:
        yield
    except OutputNotWritten as exc:
        if output == "-" and isinstance(exc.__cause__, BrokenPipeError):
            raise exc.__cause__ from None
        raise OutputNotWritten(exc.message, cause=exc.cause, hint=f"{exc.hint}: `{again}` writes them") from exc


class GuardedSource(WrappedSource):
    """A source that is refused at its end, before it becomes a job, if the output is another job's file.

    Only then does its content tell which job it is. `chunks` raises OutputError, and nothing is stored.
    """

    def __init__(self, source: Source, refuse: Callable[[str], Coroutine[Any, Any, None]], *, skip_bad: bool) -> None:
        super().__init__(source)
        self._refuse = refuse
        self._skip_bad = skip_bad

    @override
    async def chunks(self) -> AsyncGenerator[Sequence[InputLine | InputProblem], None]:
        is_lost = False
        async for chunk in self._source.chunks():
            problems = [item for item in chunk if isinstance(item, InputProblem)]
            is_lost = is_lost or bool(problems and not self._skip_bad) or any(each.line == 0 for each in problems)
            yield chunk
        if not is_lost:  # else it is refused for what is wrong with it
            await self._refuse(self._source.content_hash)


def guard_output(source: Source, output: Output, new: NewJob, terms: IngestOptions, reader: RemoteReader) -> Source:
    """*source*, refused at its end if the file at *output* is not an earlier output of the same job."""
    from orchestrator.client.results_file import foreign

    async def refuse(content_hash: str) -> None:
        jobs = await reader.read(lambda reads: reads.jobs(limit=_EVERY))
        living = [job for job in jobs if job.purged_at is None and job.state is not JobState.IMPORTING]
        job = _attached_to(living, content_hash, new, terms)
        if job is not None:
            await output.refuse_foreign(reader, job.id)
        elif terms.force_new or not _has_changed(living, new):
            raise foreign(output.path)

    return GuardedSource(source, refuse, skip_bad=terms.skip_bad) if output.is_taken else source


def _attached_to(
    jobs: Sequence[JobSnapshot], content_hash: str, new: NewJob, terms: IngestOptions
) -> JobSnapshot | None:
    """The job of *jobs*, newest first, that this input is already; by the rules of the store."""
    if new.key is not None and (keyed := [job for job in jobs if job.key == new.key]):
        return keyed[0]
    headers = (content_hash, new.api_version, new.betas)
    same = [job for job in jobs if (job.content_hash, job.api_version, job.betas) == headers]
    return same[0] if same and not terms.force_new else None


def _has_changed(jobs: Sequence[JobSnapshot], new: NewJob) -> bool:
    """True for a file that has changed since a job was made of it: ingestion refuses it."""
    return new.is_from_file and any((job.source, job.name) == (new.source, new.name) for job in jobs)
