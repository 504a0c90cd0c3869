"""Which kind of table an input is, told by its name and its first bytes, and the reader of each."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.domain.answer_table import SPREADSHEETS
from orchestrator.domain.errors import InputError, UsageError
from orchestrator.domain.foreign_forms import LineForm, form_of
from orchestrator.domain.humanize import count, readable
from orchestrator.domain.json_text import UNREADABLE
from orchestrator.domain.table_spec import FORMATS, OF_REQUESTS, TableKind, kind_by_name
from orchestrator.inputs import read_blocks, read_stdin_blocks
from orchestrator.inputs.formats import Unpacker
from orchestrator.tables.csv_table import CsvTable
from orchestrator.tables.json_table import ArrayTable, ObjectLinesTable
from orchestrator.tables.parquet_table import ParquetTable
from orchestrator.tables.prompt_files import FilesTable, PromptLinesTable
from orchestrator.tables.text_lines import TextLines, TextPieces

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from orchestrator.tables.table import Table

STDIN: Final = "-"


_CALLED: Final[Mapping[TableKind, str]] = MappingProxyType(
    {
        TableKind.CSV: "a table (CSV)",
        TableKind.TSV: "a table (TSV)",
        TableKind.JSON: "a JSON array of rows",
        TableKind.JSONL: "a file of rows (JSON Lines)",
        TableKind.PARQUET: "a table (Parquet)",
        TableKind.TXT: "a file of prompts",
        TableKind.FILES: "a folder of prompts",
    }
)
#: So much tells what a file is.
HEAD_BYTES: Final = 64 * 1024
_MARK: Final = b"\xef\xbb\xbf"
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True, kw_only=True)
class TableInput:
    """An input of rows as it was given. kind, delimiter: None where they are told by the input itself."""

    paths: tuple[str, ...]
    kind: TableKind | None = None
    delimiter: str | None = None

    @property
    def name(self) -> str:
        """What stands before ":line" in messages."""
        if self.paths == (STDIN,):
            return "<stdin>"
        return readable(self.paths[0]) if len(self.paths) == 1 else count(len(self.paths), "file")

    @property
    def folder(self) -> Path:
        """What a path in a row is relative to: the table's own folder."""
        return Path() if self.paths == (STDIN,) else Path(self.paths[0]).parent


def told_kind(given: TableInput) -> TableKind:
    """The kind of *given*, read with a template. Raises UsageError if it cannot be told, or several are no texts."""
    if len(given.paths) > 1:
        return _kind_of_several(given)
    if given.kind is not None:
        return given.kind
    path = given.paths[0]
    found = _kind_of(path)
    if found is None:
        raise _untold("standard input" if path == STDIN else readable(path))
    return found


def kind_of_upload(name: str, head: bytes) -> TableKind:
    """The kind of a table that is called *name* and begins with *head*. Raises UsageError if it cannot be told."""
    found = _told(kind_by_name(name), _unpacked(name, head).lstrip())
    if found is None:
        raise _untold(name)
    return found


def _untold(what: str) -> UsageError:
    if what.lower().endswith(SPREADSHEETS):
        return UsageError(f"{what} is a file of a spreadsheet, which is not read", hint="save the sheet as CSV")
    return UsageError(f"what kind of table {what} is cannot be told", hint=f"say its format: {', '.join(FORMATS)}")


def holds_rows(given: TableInput) -> str | None:
    """What *given* is, if it is rows for sure and not requests, as in "is a table"; None if it may be requests."""
    if len(given.paths) > 1:
        return _held_by_several(given)
    if given.kind is not None and given.kind is not TableKind.JSONL:
        return _CALLED[told_kind(given)]
    path = given.paths[0]
    kind = None if path == STDIN else _kind_of(path)
    if kind in {TableKind.CSV, TableKind.TSV, TableKind.PARQUET, TableKind.FILES}:
        return _CALLED[kind]
    head = _head(path).lstrip()
    if kind is TableKind.TXT and head and head[:1] not in b"{[":
        return _CALLED[kind]
    keys = _first_keys(head)
    if not keys or keys & OF_REQUESTS or form_of(keys) is LineForm.CHAT_ROW:
        return None
    return _CALLED[TableKind.JSON if head[:1] == b"[" else TableKind.JSONL]


def _held_by_several(given: TableInput) -> str | None:
    if all(_is_of_requests(path) for path in given.paths):
        return None
    return "prompts, one each" if told_kind(given) is TableKind.FILES else None


def _is_of_requests(path: str) -> bool:
    """Whether one of several files may be of requests: JSON Lines that are no rows."""
    is_lines = kind_by_name(path) is TableKind.JSONL or _kind_of(path) is TableKind.JSONL
    return is_lines and holds_rows(TableInput(paths=(path,))) is None


def foreign_form(given: TableInput) -> LineForm | None:
    """The form of another API that the requests of *given* are in; None: they are of none, or that cannot be told."""
    if len(given.paths) > 1 or given.paths[0] == STDIN or given.kind not in {None, TableKind.JSON, TableKind.JSONL}:
        return None
    keys = _first_keys(_head(given.paths[0]).lstrip())
    found = None if not keys else form_of(keys)
    return None if found is LineForm.OWN else found


def open_rows(given: TableInput, stop: threading.Event) -> Table:
    """The reader of *given*; nothing is read yet. Raises what `told_kind` does."""
    kind, path = told_kind(given), given.paths[0]
    if kind is TableKind.FILES:
        return FilesTable(given.paths, stop)
    if kind is TableKind.PARQUET:
        if path == STDIN:
            raise UsageError("Parquet is not read from standard input", hint="give the path of a file")
        return ParquetTable(path)
    blocks = read_stdin_blocks(given.name, stop) if path == STDIN else read_blocks(path, stop)
    return text_table(kind, TextPieces(given.name, blocks), delimiter=given.delimiter)


def text_table(kind: TableKind, pieces: TextPieces, *, delimiter: str | None) -> Table:
    """The reader of a *kind* that is text, but no folder."""
    if kind is TableKind.JSON:
        return ArrayTable(pieces.name, pieces)
    lines = TextLines(pieces)
    if kind is TableKind.JSONL:
        return ObjectLinesTable(pieces.name, lines)
    if kind is TableKind.TXT:
        return PromptLinesTable(lines)
    tab = "\t" if kind is TableKind.TSV else None
    return CsvTable(lines, delimiter=tab if delimiter is None else delimiter)


def _kind_of_several(given: TableInput) -> TableKind:
    """Several inputs are files of one prompt each."""
    others = [path for path in given.paths if kind_by_name(path) not in {None, TableKind.TXT} or path == STDIN]
    if given.kind not in {None, TableKind.FILES, TableKind.TXT} or (others and given.kind is None):
        shown = readable(others[0] if others else given.paths[0])
        hint = f"give them one by one: {shlex.quote(shown)} first"
        what = "several files are requests (JSON Lines), or one prompt each; of tables only one goes at a time"
        raise UsageError(what, hint=hint)
    return TableKind.FILES


def _kind_of(path: str) -> TableKind | None:
    """The kind of the file at *path*; None if neither its name nor its first bytes tell."""
    if path == STDIN:
        return None
    if Path(path).is_dir():
        return TableKind.FILES
    return _told(kind_by_name(path), _head(path).lstrip())


def _told(named: TableKind | None, head: bytes) -> TableKind | None:
    """The kind by the name's and by the first bytes of the text."""
    if head.startswith(b"PAR1"):
        return TableKind.PARQUET
    if named in {None, TableKind.JSON, TableKind.JSONL}:
        if head.startswith(b"["):
            return TableKind.JSON
        if head.startswith(b"{"):
            return TableKind.JSONL
    return named


def _head(path: str) -> bytes:
    """The first bytes of a file, unpacked; empty for what is none, or cannot be read: reading it says why."""
    if path == STDIN or not Path(path).is_file():
        return b""
    with suppress(OSError), Path(path).open("rb") as file:
        return _unpacked(path, file.read(HEAD_BYTES))
    return b""


def _unpacked(name: str, head: bytes) -> bytes:
    if head.startswith(b"PAR1"):
        return head
    with suppress(InputError):
        return b"".join(Unpacker(name).feed(head[:HEAD_BYTES])).removeprefix(_MARK)
    return b""


def _first_keys(head: bytes) -> frozenset[str] | None:
    """The keys of the first object of JSON Lines or of an array; None if that cannot be told from its *head*."""
    text = head.lstrip(b"[ \t\r\n")
    line = text.split(b"\n", 1)[0]
    for end in (len(line), _object_end(text)):
        with suppress(*UNREADABLE):
            return frozenset(_object.decode(text[:end]))
    return None


def _object_end(text: bytes) -> int:
    from orchestrator.domain.json_text import ItemScanner

    return next(ItemScanner().ends(bytearray(text)), 0)
