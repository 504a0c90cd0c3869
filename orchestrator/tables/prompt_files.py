"""Texts: a prompt in every line of a file, or in every file of a folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from orchestrator.domain.errors import InputError
from orchestrator.domain.humanize import readable
from orchestrator.domain.line_splitter import LongLine
from orchestrator.inputs import read_blocks
from orchestrator.tables.table import (
    MAX_ROW_BYTES,
    NO_UTF8,
    Table,
    TableRefused,
    TableRow,
    encode_row,
    row_problem,
    too_long,
)
from orchestrator.tables.text_lines import TextPieces

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from orchestrator.ports.streams import InputProblem
    from orchestrator.tables.table import Rows
    from orchestrator.tables.text_lines import TextLines

#: The files of a folder that are prompts.
ENDINGS: Final = (".txt", ".md")


class PromptLinesTable(Table):
    """A prompt a line, in the column `text`; blank lines are none."""

    columns = ("text",)
    id_column = None

    def __init__(self, lines: TextLines) -> None:
        self._lines = lines

    @property
    @override
    def size_bytes(self) -> int:
        return self._lines.size_bytes

    @override
    def rows(self) -> Rows:
        has_rows = False
        for number, found in enumerate(self._lines, start=1):
            if isinstance(found, LongLine):
                yield too_long(number, found.size_bytes, found.head)
            elif found and not found.isspace():
                yield _text_row(number, found.removesuffix(b"\r"), {})
            else:
                continue
            has_rows = True
        if not has_rows:
            raise TableRefused("has no rows: it is empty", "write a prompt in every line")


class FilesTable(Table):
    """A prompt a file, in the column `text`; its `path`, as it was given or below the folder, names it."""

    columns = ("path", "text")
    id_column = "path"

    def __init__(self, paths: Sequence[str], stop: threading.Event) -> None:
        self._paths = paths
        self._stop = stop
        self._size_bytes = 0

    @property
    @override
    def size_bytes(self) -> int:
        return self._size_bytes

    @override
    def rows(self) -> Rows:
        number = 0
        for path in self._paths:
            if not Path(path).is_dir():
                number += 1
                yield self._row(number, path, _as_given(path))
                continue
            for found in _files_below(path):
                number += 1
                shown = readable(Path(found).relative_to(path).as_posix())
                if _is_special(found):
                    remedy = "a pipe or a device is not read: move it out of the folder"
                    yield row_problem(number, shown, "is no regular file", remedy, shown.encode())
                else:
                    yield self._row(number, found, shown)
        if number == 0:
            raise TableRefused(f"has no files that end in {' or '.join(ENDINGS)}", "name the files: prompts/*")

    def _row(self, number: int, path: str, shown: str) -> TableRow | InputProblem:
        pieces = TextPieces(path, read_blocks(path, self._stop))
        text = bytearray()
        try:
            for piece in pieces:
                text += piece
                if len(text) > MAX_ROW_BYTES:
                    break
        except TableRefused as exc:
            return row_problem(number, shown, exc.message, exc.remedy, shown.encode())
        except InputError as exc:
            return row_problem(number, shown, exc.message, exc.hint or "see whether it can be read", shown.encode())
        self._size_bytes += pieces.size_bytes
        if len(text) > MAX_ROW_BYTES:
            message = f"is longer than {MAX_ROW_BYTES:,} bytes"
            return row_problem(number, shown, message, "make it smaller", shown.encode())
        return _text_row(number, bytes(text), {"path": shown})


def _text_row(number: int, text: bytes, values: dict[str, object]) -> TableRow | InputProblem:
    """A row of *values* and the column `text`."""
    field = str(values.get("path", ""))
    try:
        values["text"] = text.decode()
    except UnicodeDecodeError as exc:
        message = f"is not UTF-8 (byte {exc.start + 1:,} is 0x{text[exc.start]:02x})"
        return row_problem(number, field, message, NO_UTF8, text)
    if b"\0" in text:
        return row_problem(number, field, f"has a NUL byte (byte {text.index(0) + 1:,})", "remove it", text)
    return TableRow(number, values, encode_row(values))


def _as_given(path: str) -> str:
    return readable(path.removeprefix("./"))


def _files_below(folder: str) -> Iterator[str]:
    """Its texts, in the order of their paths; nothing hidden, and no link to a folder is followed."""
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.endswith(ENDINGS) and not name.startswith("."):
                yield str(Path(place) / name)


def _is_special(path: str) -> bool:
    """True for a pipe, a socket or a device, which may never end. What is not there is told when it is read."""
    try:
        return not stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False


def _refuse(exc: OSError) -> None:
    raise InputError(f"cannot read {readable(str(exc.filename))}", cause=exc.strerror, hint="check its permissions")
