"""Lines that `--skip-bad` left out: a file beside the output, each line with its problems."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.input_options import STDIN, InputOptions
from orchestrator.cli.summary import say_refused_lines
from orchestrator.domain import humanize
from orchestrator.domain.errors import OutputNotWritten

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.domain.ids import JobId
    from orchestrator.domain.model import JobSnapshot
    from orchestrator.ports.reads import RemoteReader, RemoteReads
    from orchestrator.ports.streams import InputProblem

_PAGE = 1000


def refused_path(chosen: InputOptions, output: str | None) -> Path | None:
    """Where refused lines go: beside the output, as `<its stem>.refused.jsonl`, else into this folder.

    None: for standard input, whose job's id names the file.
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
    options: GlobalOptions, reader: RemoteReader, job: JobSnapshot, path: Path | None, *, overwrite: bool = False
) -> None:
    """Write the refused lines of *job*, each with its problems, to *path*. Raises OutputError.

    If there is no path, or another file lies there, the file is named by the job.
    """
    own = Path(f"{job.public_id}.refused.jsonl")
    place = own if path is None else path
    if not overwrite and not await _may_write(place, reader, job):
        place = place.with_name(own.name)
        if not await _may_write(place, reader, job):
            raise OutputNotWritten(
                f"cannot write {humanize.plain(str(place))}",
                cause="another file is there already",
                hint="move it away, and give the same command again",
            )
    lines = await _write(place, reader, job)
    say_refused_lines(options, lines, humanize.plain(str(place)))


async def _may_write(path: Path, reader: RemoteReader, job: JobSnapshot) -> bool:
    """True if no file is there, or an empty one, or one with the same bytes."""
    return not _is_taken(path) or await _holds(path, _refused(reader, job.id))


def _is_taken(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False  # if it cannot be written, that is told then


async def _write(path: Path, reader: RemoteReader, job: JobSnapshot) -> int:
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


def _whole_lines(job: JobId, after: int) -> Callable[[RemoteReads], list[InputProblem]]:
    """The next problems, with all of each line's: pages of the store begin at a line."""

    def look(reads: RemoteReads) -> list[InputProblem]:
        page = reads.refused(job, after=after, limit=_PAGE)
        whole = [problem for problem in page if problem.line < page[-1].line]
        return whole if len(page) == _PAGE and whole else page

    return look
