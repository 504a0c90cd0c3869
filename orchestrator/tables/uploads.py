"""`ArrivingRows`: requests made of the rows of a table that arrives over a network."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from orchestrator.domain.errors import BodyTooLarge
from orchestrator.domain.table_spec import TableKind, refuse_delimiter
from orchestrator.inputs import OF_UPLOADS
from orchestrator.ports.streams import InputItem
from orchestrator.tables.kinds import HEAD_BYTES, kind_of_upload, text_table
from orchestrator.tables.parquet_table import ParquetTable
from orchestrator.tables.row_source import TableSource
from orchestrator.tables.text_lines import TextPieces

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Sequence
    from typing import IO, Any

    from orchestrator.ports.runtime import MemoryReservation
    from orchestrator.tables.row_requests import RowRequests

#: A Parquet file is read from its end: it lies in a temporary file meanwhile.
MAX_PARQUET_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedTable:
    """What arrives, in blocks cut anywhere. kind, delimiter: None where *name* and the bytes tell.

    claim: reserves memory for large rows; max_text_bytes: the most that the table may unpack to.
    """

    blocks: AsyncGenerator[bytes, None]
    name: str
    kind: TableKind | None
    delimiter: str | None
    claim: MemoryReservation
    max_text_bytes: int


class ArrivingRows(TableSource):
    """Requests made of the rows of an uploaded table; images are not read from the server's own files.

    It is read in a thread of its own, which waits for the blocks: those that all share would be taken by slow clients.
    """

    def __init__(self, upload: UploadedTable, requests: RowRequests) -> None:
        super().__init__(requests)
        self._upload = upload

    @property
    @override
    def name(self) -> str:
        return self._upload.name

    @override
    async def chunks(self) -> AsyncGenerator[Sequence[InputItem], None]:
        """Yield what the rows become, in order; once only.

        Raises what the stream raises, UsageError for a table of no known kind, InputError, BodyTooLarge, ServerBusy.
        """
        loop = asyncio.get_running_loop()
        async with aclosing(self._upload.blocks) as blocks:
            head = b""
            while len(head) < HEAD_BYTES and (block := await anext(blocks, None)) is not None:
                head += block
            arriving = _Arriving(head, lambda: self._next(blocks))
            steps = self._steps(self._kind(head), arriving)
            thread = ThreadPoolExecutor(1, thread_name_prefix="table")
            try:
                while (chunk := await loop.run_in_executor(thread, next, steps, None)) is not None:
                    await self._hold()
                    yield chunk
                if self._requests.is_full:  # the rest is taken, and not looked at
                    while await anext(blocks, None) is not None:
                        continue
            finally:
                self._stop.set()
                await arriving.stop()
                thread.shutdown(wait=False)

    def _kind(self, head: bytes) -> TableKind:
        told = self._upload.kind
        kind = kind_of_upload(self.name, head) if told is None else told
        refuse_delimiter(kind, self._upload.delimiter)
        return kind

    async def _next(self, blocks: AsyncGenerator[bytes, None]) -> bytes | None:
        await self._hold()
        return await anext(blocks, None)

    async def _hold(self) -> None:
        await self._upload.claim.hold(0 if self._table is None else self._requests.large_bytes(self._table))

    def _steps(self, kind: TableKind, arriving: _Arriving) -> Generator[list[InputItem], None, None]:
        if kind is TableKind.PARQUET:
            with tempfile.TemporaryFile() as file:
                self._spool(arriving, file)
                self._table = ParquetTable(self.name, file)
                yield from self._requests.chunks(self._table, self._stop, self.name)
            return
        pieces = TextPieces(self.name, iter(arriving), bounds=OF_UPLOADS, most_bytes=self._upload.max_text_bytes)
        self._table = text_table(kind, pieces, delimiter=self._upload.delimiter)
        yield from self._requests.chunks(self._table, self._stop, self.name)

    def _spool(self, arriving: _Arriving, file: IO[bytes]) -> None:
        size = 0
        for block in arriving:
            size += len(block)
            if size > MAX_PARQUET_BYTES:
                cause = f"a Parquet file is read from its end, for which {MAX_PARQUET_BYTES:,} bytes are kept at most"
                hint = "hand it in from the command line (--server), which reads the file itself, or send it as CSV"
                raise BodyTooLarge(f"{self.name} is too large", cause=cause, hint=hint)
            try:
                file.write(block)
            except OSError as exc:
                hint = "make room there, or set TMPDIR of the daemon to a larger disk"
                raise BodyTooLarge(
                    f"{self.name} does not fit into {tempfile.gettempdir()}", cause=exc.strerror, hint=hint
                ) from exc
        file.seek(0)


class _Arriving:
    """Blocks that a loop brings, for a thread that waits for each: *head*, then those of *take*."""

    def __init__(self, head: bytes, take: Callable[[], Coroutine[Any, Any, bytes | None]]) -> None:
        self._head = head
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._is_over = False
        self._task: asyncio.Task[Any] | None = None

    def __iter__(self) -> Iterator[bytes]:
        """In the thread. Raises what the stream raises."""
        if self._head:
            yield self._head
        while (block := self._next()) is not None:
            yield block

    async def stop(self) -> None:
        """On the loop: nobody wants more, and the thread waits no longer. Returns when nothing is being taken."""
        with self._lock:
            self._is_over = True
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    def _next(self) -> bytes | None:
        with self._lock:
            if self._is_over:
                return None
            waited_for = asyncio.run_coroutine_threadsafe(self._taken(), self._loop)
        return waited_for.result()

    async def _taken(self) -> bytes | None:
        self._task = asyncio.current_task()
        return None if self._is_over else await self._take()
