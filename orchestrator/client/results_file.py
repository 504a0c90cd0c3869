"""A file of results, and whether it may be written: only this job's own earlier output is replaced.

This module tells it of JSON Lines, `results_table` of tables and texts. No record of files is kept, so copies, other
stores and crashes change no answer: the file itself is read, and the store is asked whether it holds each of its lines.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.domain import (
    answer_table,
    errors,
    humanize,
    ids,
    json_text,
    line_splitter,
    queries,
    result_lines,
)
from orchestrator.domain.result_choice import ALL_RESULTS, ResultChoice
from orchestrator.domain.result_outcome import INVALID_ANSWER, RETRIED_STOPS, Outcome
from orchestrator.ports.streams import Rendering, is_stdout

if TYPE_CHECKING:
    from orchestrator.ports.reads import RemoteReader

_PAGE: Final = 1000
#: A failure that was tried again has another result now; so many are looked up, which tells two jobs apart.
_LOOKED_UP: Final = 100
_AS_THEY_ARE: Final = answer_table.OutputShape()
_REMEDY: Final = "choose another -o FILE, or replace it with --overwrite"


class Output:
    """Where a job's results go: "-", a device, or a file. shape: what they look like. overwrite: replace any file.

    remedy: what whoever asks may do about another file that lies there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        shape: answer_table.OutputShape = _AS_THEY_ARE,
        remedy: str = _REMEDY,
    ) -> None:
        self.path = os.fspath(path)
        self.shape = shape
        self._overwrite = overwrite
        self._remedy = remedy
        self._seen: tuple[ids.JobId, tuple[int, ...]] | None = None  # what was found to be the job's own

    def check(self) -> None:
        """Raise OutputError if nothing can be written there: better before a day of waiting than after it."""
        from orchestrator.results import check_writable, refuse_unwritable

        refuse_unwritable(self.shape)
        if not is_stdout(self.path) and not is_device(self.path):
            check_writable(self.path)

    @property
    def is_taken(self) -> bool:
        """True if a non-empty file lies there, which may be replaced only if it is the job's own."""
        return not self._overwrite and _signature(self.path) is not None

    async def refuse_foreign(self, reader: RemoteReader, job: ids.JobId) -> None:
        """Raise OutputError if a file lies there that is not an earlier output of *job*."""
        signature = None if self._overwrite else _signature(self.path)
        if signature is None or self._seen == (job, signature):
            return
        if not await self._is_own(reader, job):
            lost = _would_lose if self.shape.only.words else foreign
            raise lost(self.path, self._remedy)
        self._seen = (job, signature)

    async def write(self, reader: RemoteReader, job: ids.JobId, *, trial: bool = False) -> int:
        """Write every settled result of *job*, or of its trial, that is wanted, in input order; return how many.

        Raises OutputNotWritten, also for another's file that has appeared there meanwhile.
        """
        from orchestrator.engine.export import export
        from orchestrator.results import open_sink

        try:
            await self.refuse_foreign(reader, job)
        except errors.OutputError as exc:
            raise errors.OutputNotWritten(exc.message, cause=exc.cause, hint=exc.hint) from exc
        rendering = await self._rendering(reader, job)
        return await export(reader, job, open_sink(self.path), rendering, self.shape.only, trial=trial)

    async def check_columns(self, reader: RemoteReader, job: ids.JobId) -> None:
        """Raise UsageError for a column that the results of *job* will not have."""
        if self.shape.columns is not None:
            own, found = await reader.read(lambda reads: (reads.row_columns(job), reads.get(job)))
            answer_table.AnswerTable(own, self.shape.columns, found.answer_schema, reuses=found.dedupe)

    async def _rendering(self, reader: RemoteReader, job: ids.JobId) -> Rendering | None:
        from orchestrator.results import open_rendering

        if self.shape.format is answer_table.OutputFormat.JSONL:
            return None
        has_columns = self.shape.format.has_columns
        own = await reader.read(lambda reads: reads.row_columns(job)) if has_columns else ()
        found = await reader.read(lambda reads: reads.get(job))
        return open_rendering(self.shape, own, found.public_id, found.answer_schema, reuses=found.dedupe)

    async def _is_own(self, reader: RemoteReader, job: ids.JobId) -> bool:
        """True if the file there is this job's, as JSON Lines, of our shape, or of what its name tells."""
        from orchestrator.client.results_table import is_rendering_of

        if await is_output_of(self.path, reader, job, self.shape.only):
            return True
        kinds = {self.shape.format}
        with suppress(errors.UsageError):  # a name that tells nothing that could be written
            kinds.add(answer_table.told_format(self.path))
        for kind in kinds - {answer_table.OutputFormat.JSONL}:
            if await is_rendering_of(self.path, kind, reader, job, self.shape.only):
                return True
        return False


def foreign(path: str, remedy: str = _REMEDY) -> errors.OutputError:
    """The error for a file that is not this job's output."""
    cause = "it has lines that are not results of this job, and would be lost"
    return errors.OutputError(
        f"{humanize.readable(path)} is there already, and is not this job's output", cause=cause, hint=remedy
    )


def _would_lose(path: str, remedy: str) -> errors.OutputError:
    """The error for a file that may have results which --only leaves out."""
    cause = "it is no earlier output of the same --only, and what it has would be lost"
    return errors.OutputError(f"{humanize.readable(path)} is there already", cause=cause, hint=remedy)


async def is_output_of(path: str, reader: RemoteReader, job: ids.JobId, only: ResultChoice = ALL_RESULTS) -> bool:
    """True if each line of the file at *path* is a result of *job*: a current one, or a failure that was retried.

    only: each is a current one that is wanted.
    """
    walk = _ResultCursor(reader, job, only)
    try:
        async with aclosing(_lines(path)) as pieces:
            async for lines in pieces:
                for line in lines:
                    if not isinstance(line, bytes) or not await walk.has(line):
                        return False
    except (errors.InputError, OSError):  # no file, or an archive that is none of ours
        return False
    return True


class _ResultCursor:
    """Reads a job's results in step with a file that has some of them, in the same order."""

    def __init__(self, reader: RemoteReader, job: ids.JobId, only: ResultChoice) -> None:
        self._reader = reader
        self._job = job
        self._only = only
        self._rows: list[queries.ResultRow] = []
        self._at = 0
        self._above = 0
        self._passed = 0  # the number of the row that was found last
        self._looked_up = 0

    async def has(self, line: bytes) -> bool:
        """True if *line*, without its newline, is the job's next result or a later one."""
        row = await self._next()
        if row is not None and _line_of(row) == line:
            self._pass(row)
            return True
        parsed = _read(line)
        if parsed is None:
            return False
        if not await self._reach(parsed.custom_id):
            return await self._was_failure(parsed)
        row = self._rows[self._at]
        self._pass(row)
        return _line_of(row) == line or await self._was_failure(parsed)

    async def _next(self) -> queries.ResultRow | None:
        while self._at == len(self._rows):
            page = await self._reader.read(lambda reads: reads.results(self._job, above=self._above, limit=_PAGE))
            if not page:
                return None
            self._at, self._above, self._rows = 0, page[-1].number, self._only.of(page)
        return self._rows[self._at] if self._rows else None

    async def _reach(self, custom_id: str) -> bool:
        """Go to the row of *custom_id*; False if it has none, or only one that was passed."""
        for place in range(self._at, len(self._rows)):
            if self._rows[place].custom_id == custom_id:
                self._at = place
                return True
        if (view := await self._view(custom_id)) is None or view.number <= self._passed:
            return False
        before = self._rows, self._at, self._above
        self._rows, self._at, self._above = [], 0, view.number - 1
        row = await self._next()
        if row is not None and row.custom_id == custom_id:
            return True
        self._rows, self._at, self._above = before
        return False

    def _pass(self, row: queries.ResultRow) -> None:
        self._at += 1
        self._passed = row.number

    async def _was_failure(self, parsed: _OutputLine) -> bool:
        """True for a result of this job's that was asked for again since: a failure, or an answer that was replaced."""
        if self._only.words or (parsed.kind == "succeeded" and parsed.stop_reason not in RETRIED_STOPS):
            return False
        self._looked_up += 1
        if self._looked_up > _LOOKED_UP:
            return True
        view = await self._view(parsed.custom_id)
        if view is None:
            return False
        if parsed.kind == "succeeded":
            return any(trip.outcome == Outcome.REPLACED for trip in view.failed_attempts)
        kind = "succeeded" if parsed.error_type == INVALID_ANSWER else parsed.kind  # as the API said it
        return parsed.kind == "canceled" or any(
            (trip.kind, trip.error_type, trip.api_request_id) == (kind, parsed.error_type, parsed.request_id)
            for trip in view.failed_attempts
        )

    async def _view(self, custom_id: str) -> queries.RequestDetails | None:
        try:
            return await self._reader.read(lambda reads: reads.request(self._job, custom_id))
        except errors.NoSuchThing:
            return None


class _OutputLine(msgspec.Struct):
    """The fields of a line of results that identify it."""

    custom_id: str
    kind: str
    stop_reason: str | None
    error_type: str | None
    request_id: str | None


class _LineMessage(msgspec.Struct):
    stop_reason: str | None = None


class _LineError(msgspec.Struct):
    type: str | None = None


class _LineErrorEnvelope(msgspec.Struct):
    error: _LineError | None = None
    request_id: str | None = None


class _LineResult(msgspec.Struct):
    type: str
    message: _LineMessage | None = None
    error: _LineErrorEnvelope | None = None


class _LineJson(msgspec.Struct):
    custom_id: str
    result: _LineResult


_decode: Final = msgspec.json.Decoder(_LineJson).decode


def _read(line: bytes) -> _OutputLine | None:
    """The fields of *line*; None if it is no line of results."""
    try:
        found = _decode(json_text.mask_lone_surrogates(line))
    except json_text.UNREADABLE:
        return None
    frame = _LineErrorEnvelope() if found.result.error is None else found.result.error
    error_type = None if frame.error is None else frame.error.type
    stop = None if found.result.message is None else found.result.message.stop_reason
    return _OutputLine(found.custom_id, found.result.type, stop, error_type, frame.request_id)


def _line_of(row: queries.ResultRow) -> bytes:
    return result_lines.output_line(row.custom_id, result_lines.result_of(row), row.reused_from)[:-1]


def _signature(path: str) -> tuple[int, ...] | None:
    """Which file lies at *path*, and its state; None if there is none, it is empty, or it is no regular file."""
    if is_stdout(path):
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def is_device(path: str) -> bool:
    """True for an existing device or pipe, such as /dev/null: it is written to, never replaced."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


async def _lines(path: str) -> AsyncGenerator[list[bytes | line_splitter.LongLine]]:
    """The lines of a file of results, compressed or not, several at a time; an incomplete last one is a LongLine."""
    stop = threading.Event()
    steps = _steps(path, stop)
    try:
        while (lines := await asyncio.to_thread(next, steps, None)) is not None:
            yield lines
    finally:
        stop.set()


def _steps(path: str, stop: threading.Event) -> Iterator[list[bytes | line_splitter.LongLine]]:
    from orchestrator.inputs import read_blocks, unpacked_text

    splitter = line_splitter.LineSplitter(result_lines.MAX_LINE_BYTES)
    for text in unpacked_text(path, read_blocks(path, stop)):
        if lines := splitter.feed(text):
            yield lines
    if any(splitter.rest()):
        yield [line_splitter.LongLine(size_bytes=0, head=b"")]
