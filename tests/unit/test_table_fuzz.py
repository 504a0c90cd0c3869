"""Tables of any content: what a CSV writer writes comes back, and no bytes bring a reader down."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import threading
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import InputError, UsageError
from orchestrator.tables import TableInput, TableKind, holds_rows, open_rows
from orchestrator.tables.csv_table import DELIMITERS
from orchestrator.tables.table import TableRefused, TableRow

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
TEXT_KINDS = [kind for kind in TableKind if kind not in {TableKind.PARQUET, TableKind.FILES}]
#: Bytes that mean something to one of the readers, more often than chance has them.
PIECES = st.sampled_from([b'"', b",", b";", b"\n", b"\r", b"[", b"]", b"{", b"}", b":", b"\\", b"\0", b"\xef\xbb\xbf"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6), st.sampled_from(DELIMITERS), st.booleans())
@example([("", ""), ('"', "\r\n"), ("\ufeff", ",;\t|")], ";", True)
def test_what_is_written_as_csv_comes_back(rows: list[tuple[str, str]], delimiter: str, all_quoted: bool) -> None:
    """Any cell, in any dialect that is told by the header."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL)
    writer.writerows([("one", "two"), *rows])
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        Path(file.name).write_bytes(text.getvalue().encode())
        found = list(open_rows(TableInput(paths=(file.name,)), threading.Event()).rows())
    assert [row.values if isinstance(row, TableRow) else row for row in found] == [
        {"one": one, "two": two} for one, two in rows
    ]


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=4), max_size=30).map(b"".join), st.sampled_from(TEXT_KINDS))
def test_no_bytes_bring_a_reader_down(content: bytes, kind: TableKind) -> None:
    """Every row is one object of JSON; what is wrong is a problem, or one error that a person can read."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        given = TableInput(paths=(file.name,), kind=kind)
        holds_rows(TableInput(paths=(file.name,)))
        try:
            found = list(open_rows(given, threading.Event()).rows())
        except (TableRefused, InputError, UsageError):  # in words: another exception fails the test
            return
    lines = [row.line for row in found]
    assert lines == sorted(lines)
    assert all(json.loads(row.raw) == row.values for row in found if isinstance(row, TableRow))
