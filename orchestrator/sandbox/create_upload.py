"""A create that is being uploaded: pieces of the body become rows, and nothing counts before its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.domain.batches_api import MessageBatchObject
from orchestrator.domain.create_body import BodyReader, Item
from orchestrator.sandbox.prompt_cache import BatchUses
from orchestrator.sandbox.request_rows import Fate, Row, RowMaker
from orchestrator.sandbox.sandbox_batch import BLOCK_ROWS, encode_rows
from orchestrator.sandbox.sandbox_settings import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedRows:
    """A complete and valid body: its rows in blocks, their tally, the params that met a fault, the cached prefixes."""

    total: int
    blocks: list[bytes]
    tally: Counter[tuple[int, Fate]]
    faulted: set[bytes]
    uses: BatchUses


Admit = Callable[[Caller, Callable[[], UploadedRows]], MessageBatchObject]


class CreateUpload:
    """Feed the body in pieces of any size, then `accept`; drop it, and nothing has happened."""

    def __init__(self, *, caller: Caller, reader: BodyReader, maker: RowMaker, admit: Admit) -> None:
        self._caller = caller
        self._reader = reader
        self._maker = maker
        self._admit = admit
        self._rows: list[Row] = []
        self._blocks: list[bytes] = []
        self._tally: Counter[tuple[int, Fate]] = Counter()
        self._uses = BatchUses()

    def feed(self, piece: bytes) -> None:
        """Add a piece of the body. Raises ApiError 413 when it gets too large."""
        self._take(self._reader.feed(piece))

    def accept(self) -> MessageBatchObject:
        """Check the whole body and create the batch. Raises ApiError 400 or 429; there is no batch then."""
        return self._admit(self._caller, self._close)

    def _close(self) -> UploadedRows:
        self._take(self._reader.finish())
        self._flush()
        return UploadedRows(
            total=self._reader.count,
            blocks=self._blocks,
            tally=self._tally,
            faulted=self._maker.faulted,
            uses=self._uses,
        )

    def _take(self, items: Iterator[Item]) -> None:
        for item in items:
            row = self._maker.make(item)
            self._rows.append(row)
            self._tally[row.bucket, row.fate] += 1
            if row.prefixes:
                self._uses.add(row)
            if len(self._rows) == BLOCK_ROWS:
                self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._blocks.append(encode_rows(self._rows))
            self._rows = []
