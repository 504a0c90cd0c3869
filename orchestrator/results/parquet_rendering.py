"""What makes a Parquet file of results. The only module that writes with arro3, an extra."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from orchestrator.domain.answer_table import AnswerTable, Column
from orchestrator.domain.errors import GuardRefused, UsageError
from orchestrator.domain.row_columns import ColumnKind
from orchestrator.ports.streams import Rendering

if TYPE_CHECKING:
    from orchestrator.domain.queries import ResultRow

#: Of the file's own metadata: which job it is of.
JOB_KEY: Final = "orchestrator.job"
#: A row group is held in memory, compressed, until it is whole.
_GROUP_ROWS: Final = 10_000
_PRECISION, _PLACES = 38, 9


def load_arro3() -> tuple[Any, Any]:
    """Its modules `core` and `io`. Raises UsageError where it is not installed."""
    try:
        import arro3.core
        import arro3.io
    except ImportError as exc:
        hint = "pip install 'batch-orchestrator[parquet]'"
        raise UsageError("Parquet needs a package that is not installed", hint=hint) from exc
    return arro3.core, arro3.io


class ParquetRendering(Rendering):
    """Rows as record batches, compressed with zstd. arro3 pulls, and we push: so it runs in a thread of its own.

    Columns of the row are integers, numbers or booleans where all of their values are, else text; costs are decimals.
    """

    def __init__(self, table: AnswerTable, job: str) -> None:
        self._table, self._job = table, job
        self._core, self._io = load_arro3()
        kinds = self._core.DataType
        self._types: dict[ColumnKind, Any] = {
            ColumnKind.INTEGER: kinds.int64(),
            ColumnKind.NUMBER: kinds.float64(),
            ColumnKind.BOOLEAN: kinds.bool(),
            ColumnKind.TEXT: kinds.utf8(),
            ColumnKind.MONEY: kinds.decimal128(_PRECISION, _PLACES),
        }
        self._schema = self._core.Schema(
            [self._core.Field(column.name, self._types[column.kind], nullable=True) for column in table.columns]
        )
        self._batches: queue.Queue[object] = queue.Queue(1)
        self._file = _Gathering()
        self._failure: BaseException | None = None
        self._is_over = self._is_abandoned = False
        self._thread = threading.Thread(target=self._work, name="parquet", daemon=True)

    @override
    def begin(self) -> bytes:
        self._thread.start()
        return b""

    @override
    def render(self, page: Sequence[ResultRow]) -> bytes:
        values = [self._table.typed_cells(result) for result in page]
        arrays = [
            self._array(column, cells)
            for column, cells in zip(self._table.columns, zip(*values, strict=True), strict=True)
        ]
        self._batches.put(self._core.RecordBatch.from_arrays(arrays, schema=self._schema))
        return self._file.take()

    @override
    def end(self) -> bytes:
        self._batches.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._file.take()

    @override
    def close(self) -> None:
        if self._thread.is_alive():
            self._is_abandoned = True
            self._batches.put(None)
            self._thread.join()

    def _array(self, column: Column, cells: Sequence[object]) -> Any:  # noqa: ANN401 - arro3 is an extra
        try:
            if column.kind is ColumnKind.MONEY:
                return self._core.Array(cells, self._types[ColumnKind.TEXT]).cast(self._types[column.kind])
            return self._core.Array(cells, self._types[column.kind])
        except (TypeError, ValueError, OverflowError) as exc:
            raise GuardRefused(
                f"the column {column.name} has got values of another kind while it was written",
                cause=str(exc),
                hint="the job still grows: give the same command again",
            ) from exc

    def _work(self) -> None:
        try:
            self._io.write_parquet(
                self._core.RecordBatchReader.from_batches(self._schema, self._pulled()),
                self._file,
                compression="zstd(3)",
                max_row_group_size=_GROUP_ROWS,
                key_value_metadata={JOB_KEY: self._job},
                created_by="batch-orchestrator",
            )
        except BaseException as exc:  # noqa: BLE001 - raised where it is waited for
            self._failure = exc
            while not self._is_over:  # nobody may wait for room
                self._is_over = self._batches.get() is None

    def _pulled(self) -> Iterator[Any]:
        while (batch := self._batches.get()) is not None:
            yield batch
        self._is_over = True
        if self._is_abandoned:
            raise RuntimeError("the file is not wanted any more")


class _Gathering(io.RawIOBase):
    """A file whose bytes are taken away while it is written."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._turn = threading.Lock()

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Any, /) -> int:
        with self._turn:
            self._bytes += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        with self._turn:
            taken, self._bytes = bytes(self._bytes), bytearray()
        return taken


def job_of(path: str) -> str | None:
    """As `parquet_job`."""
    try:
        _, arro3_io = load_arro3()
    except UsageError:
        return None
    try:
        metadata = arro3_io.read_parquet(path).schema.metadata
    except Exception:  # noqa: BLE001 - whatever arro3 says of a file that it cannot read
        return None
    found = metadata.get(JOB_KEY.encode())
    return None if found is None else bytes(found).decode("utf-8", "replace")
