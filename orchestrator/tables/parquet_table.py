"""Parquet, by arro3-io, an extra. The only module that knows it: another reader can take its place."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
from typing_extensions import override

from orchestrator.domain.errors import InputError, UsageError
from orchestrator.domain.humanize import readable
from orchestrator.inputs import path_hint
from orchestrator.tables.table import Table, TableRefused, TableRow, encode_row, row_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arro3.core import DataType

    from orchestrator.ports.streams import InputProblem
    from orchestrator.tables.table import Rows

#: Read at once: few, as a row may have megabytes.
_BATCH_ROWS: Final = 128
#: At both ends of a file. Source: the Parquet format, "File format".
_MAGIC: Final = b"PAR1"
_LEAST_BYTES: Final = 12
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class ParquetTable(Table):
    """The rows of a Parquet file. What JSON has no form for is text: times as ISO 8601, decimals, bytes as base64.

    A NaN is null. The number of a row is its line. file: an open one, which nobody else writes, in place of that at
    *path*.
    """

    id_column = None

    def __init__(self, path: str, file: IO[bytes] | None = None) -> None:
        self._path = path
        self._file = file
        self._columns: tuple[str, ...] | None = None
        self._size_bytes = 0

    @property
    @override
    def columns(self) -> tuple[str, ...] | None:
        return self._columns

    @property
    @override
    def size_bytes(self) -> int:
        return self._size_bytes

    @override
    def rows(self) -> Rows:
        before = self._state()
        number = 0
        for number, row in enumerate(self._read(), start=1):
            yield self._as_row(number, row)
        if number == 0:
            raise TableRefused("has no rows", "write a row for every request")
        if self._state() != before:
            name = readable(self._path)
            raise InputError(f"{name} changed while it was read", hint="run again when nothing writes to it")

    def _read(self) -> Iterator[dict[str, Any]]:
        """Raises UsageError without the extra, InputError for a file that is damaged."""
        try:
            from arro3.io import read_parquet
        except ImportError as exc:
            hint = "pip install 'batch-orchestrator[parquet]', or save the table as CSV"
            raise UsageError("Parquet needs the extra batch-orchestrator[parquet]", hint=hint) from exc
        with nullcontext(self._file) if self._file is not None else Path(self._path).open("rb") as file:
            self._size_bytes = _checked_size(self._path, file)
        try:
            reader = read_parquet(self._file or self._path, batch_size=_BATCH_ROWS)
            self._columns = columns = _distinct(list(reader.schema.names))
            is_plain = all(_is_plain(kind) for kind in reader.schema.types)
            for batch in reader:
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    row = dict(zip(columns, cells, strict=True))
                    yield row if is_plain else _decode(encode_row(row))
        except (TableRefused, GeneratorExit, MemoryError, KeyboardInterrupt):
            raise
        except BaseException as exc:  # what is damaged makes arro3 panic, which is no Exception
            raise _damaged(self._path, str(exc)) from exc

    def _state(self) -> tuple[int, int]:
        return (0, 0) if self._file is not None else _state(self._path)

    def _as_row(self, number: int, values: dict[str, Any]) -> TableRow | InputProblem:
        try:
            return TableRow(number, values, encode_row(values))
        except (TypeError, ValueError) as exc:
            return row_problem(number, "", f"has no form in JSON: {exc}", "write it as text", b"")


def _checked_size(path: str, file: IO[bytes]) -> int:
    """The file's size. Raises InputError for one that does not begin and end as it must: half of a download."""
    begins = file.read(len(_MAGIC)) == _MAGIC
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(_MAGIC)))
    if not begins or size < _LEAST_BYTES or file.read() != _MAGIC:
        raise _damaged(path, "it does not begin and end with PAR1")
    file.seek(0)
    return size


def _damaged(path: str, why: str) -> InputError:
    hint = "is it a whole Parquet file? make or download it again"
    return InputError(f"cannot read {readable(path)} as Parquet", cause=why, hint=hint)


def _distinct(names: list[str]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise TableRefused(f"has the column {name!r} twice", "give every column a name of its own")
    return tuple(names)


def _is_plain(kind: DataType) -> bool:
    """True for values that are in JSON what they are in Python."""
    name = type(kind)
    return any(check(kind) for check in (name.is_string, name.is_large_string, name.is_integer, name.is_boolean))


def _state(path: str) -> tuple[int, int]:
    try:
        found = Path(path).stat()
    except OSError as exc:
        raise InputError(f"cannot read {readable(path)}", cause=exc.strerror, hint=path_hint(path)) from exc
    return found.st_size, found.st_mtime_ns
