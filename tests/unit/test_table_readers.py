"""The rows of every kind of table: right, or refused with the line, the column and what to do."""

from __future__ import annotations

import gzip
import json
import os
import threading
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
import zstandard

from orchestrator.domain.errors import InputError, UsageError
from orchestrator.ports.streams import InputProblem
from orchestrator.tables import TableInput, TableKind, holds_rows, open_rows, told_kind
from orchestrator.tables.json_table import ArrayTable
from orchestrator.tables.table import MAX_ROW_BYTES, TableRefused, TableRow
from orchestrator.tables.text_lines import TextPieces

if TYPE_CHECKING:
    from collections.abc import Callable

LATIN1 = "id,text\n1,caf\xe9\n2,ok\n".encode("latin-1")


def read(path: Path, kind: TableKind | None = None, delimiter: str | None = None) -> list[TableRow | InputProblem]:
    given = TableInput(paths=(str(path),), kind=kind, delimiter=delimiter)
    return list(open_rows(given, threading.Event()).rows())


def read_text(folder: Path, text: str | bytes, name: str = "in.csv", **more: str) -> list[TableRow | InputProblem]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, **more)  # type: ignore[arg-type]  # a test gives what an option would


def values(rows: list[TableRow | InputProblem]) -> list[dict[str, object]]:
    found = []
    for row in rows:
        assert isinstance(row, TableRow), row
        assert msgspec.json.decode(row.raw) == row.values
        found.append(row.values)
    return found


def problem(rows: list[TableRow | InputProblem]) -> InputProblem:
    (found,) = [row for row in rows if isinstance(row, InputProblem)]
    return found


def refused(folder: Path, text: str | bytes, name: str = "in.csv", **more: str) -> TableRefused:
    with pytest.raises(TableRefused) as caught:
        read_text(folder, text, name, **more)
    return caught.value


def test_every_value_of_csv_is_text(tmp_path: Path) -> None:
    """A leading zero, an exponent, a date: as they stand, whatever they look like."""
    rows = values(read_text(tmp_path, "id,n\n007,1e3\n2026-01-02,\n"))
    assert rows == [{"id": "007", "n": "1e3"}, {"id": "2026-01-02", "n": ""}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_told_by_the_header(tmp_path: Path, delimiter: str) -> None:
    """Of what stands in quotes nothing counts."""
    header = delimiter.join(["id", '"a,b;c,d;e,f"', "text"])
    row = delimiter.join(["1", "x", '"it, is; so"'])
    (found,) = values(read_text(tmp_path, f"{header}\n{row}\n"))
    assert found == {"id": "1", "a,b;c,d;e,f": "x", "text": "it, is; so"}


def test_a_delimiter_can_be_forced(tmp_path: Path) -> None:
    """A header of one column tells nothing."""
    assert values(read_text(tmp_path, "a;b,c\n1;2,3\n", delimiter=";")) == [{"a": "1", "b,c": "2,3"}]
    assert values(read_text(tmp_path, "a,b\tc\n1,1\t2\n", "in.tsv")) == [{"a,b": "1,1", "c": "2"}]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_are_counted_through_quoted_line_feeds(tmp_path: Path, end: str, mark: str) -> None:
    """The line of a row is that in which it begins; a byte order mark is no part of the first name."""
    text = mark + end.join(["id,text", '1,"a', 'b ""c"""', "", "2,d"])
    first, second = read_text(tmp_path, text)
    assert isinstance(first, TableRow)
    assert isinstance(second, TableRow)
    assert (first.line, first.values) == (2, {"id": "1", "text": f'a{end}b "c"'})
    assert (second.line, second.values) == (5, {"id": "2", "text": "d"})


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_cells_of_a_megabyte_packed_or_not(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Longer than what `csv` takes by itself."""
    cell = "é, \n" * 300_000
    (row,) = values(read_text(tmp_path, pack(f'id,text\n1,"{cell}"\n'.encode()), "in.csv.gz"))
    assert row["text"] == cell


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no header: it is empty"),
        ("\n\n", "has no header: it is empty"),
        ("id,text\n", "has a header and no rows"),
        ("id,text\n\n \n", "has a header and no rows"),
        ("id,,text\n1,2,3\n", "has a column without a name: in line 1, column 2"),
        ("id,text,id\n1,2,3\n", "has the column 'id' twice: in line 1, columns 1 and 3"),
        ('id,"text\n1,2\n', "has a header that cannot be read, in line 1: a quote is not closed"),
        ('id,text\n1,a\n2,"b\n3,c\n', "has a quote that is not closed: in the row of line 3, column text"),
        ('id,text\n1,a\n2,"b"c\n3,d\n', "has more behind a closing quote, in the row of line 3: where"),
        ('i,w,t\n1,"5" wide","first\nNO,ROW,THIS\nmore"\n', "has more behind a closing quote, in the row of line 2"),
        ("id,text\r1,a\r2,b\r", "has a header that cannot be read, in line 1: it has a carriage return inside"),
        ("a,b\nc".encode("utf-16"), "is not UTF-8 text (it looks like UTF-16"),
        ("id,caf\xe9\n1,2\n".encode("latin-1"), "has a header that is not UTF-8 text, in line 1"),
        pytest.param(b"id," + b"x" * (MAX_ROW_BYTES + 1), "has more than 16,777,216 bytes in line 1", id="long"),
        pytest.param(
            b'id,t\n1,"' + (b"x" * 99 + b"\n") * (MAX_ROW_BYTES // 50),
            "has a row that begins in line 2 and has no end",
            id="open",
        ),
    ],
)
def test_a_csv_that_is_none_is_refused_as_a_whole(tmp_path: Path, text: str | bytes, says: str) -> None:
    """Nothing of it may be taken: the place is named, and what to do."""
    found = refused(tmp_path, text)
    assert found.message.startswith(says)
    assert found.remedy


@pytest.mark.parametrize(
    ("text", "line", "field", "says", "remedy"),
    [
        ("id,text\n1\n2,b\n", 2, "text", "is missing: this row has 1 cell, the header has 2", "empty cell"),
        ("id,text\n1,a\n2,b,c\n", 3, "", "column 3 has no name: this row has 3 cells", "into quotes"),
        (b"id,text\n1,a\0b\n2,b\n", 2, "text", "has a NUL byte", "tr -d"),
        (LATIN1, 2, "text", "is not UTF-8 (byte 0xe9)", "iconv -f LATIN1 -t UTF-8"),
        ("id,text\n1,a\rb\n2,b\n", 2, "", "has a carriage return inside", "tr"),
    ],
)
def test_a_row_that_cannot_be_read_is_one_problem(
    tmp_path: Path, text: str | bytes, line: int, field: str, says: str, remedy: str
) -> None:
    """The others are read; the row stands in its problem as it came."""
    rows = read_text(tmp_path, text)
    found = problem(rows)
    assert (found.line, found.field) == (line, field)
    assert found.message.startswith(says)
    assert remedy in found.remedy
    raw = text if isinstance(text, bytes) else text.encode()
    assert found.raw == raw.split(b"\n")[line - 1]
    assert len(rows) == 2


def test_a_row_of_nothing_but_problems_is_a_row(tmp_path: Path) -> None:
    """It is told what is wrong with it, not that there are no rows."""
    assert problem(read_text(tmp_path, "id,text\n1,2,3\n")).line == 2


def test_csv_is_read_with_little_memory(tmp_path: Path) -> None:
    """Promise 8: a row at a time."""
    path = tmp_path / "in.csv"
    with path.open("w") as out:
        out.write("id,text\n")
        for number in range(20_000):
            out.write(f"{number},{'word ' * 200}\n")
    table = open_rows(TableInput(paths=(str(path),)), threading.Event())
    tracemalloc.start()
    assert sum(1 for _ in table.rows()) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table.size_bytes == path.stat().st_size > 20_000_000
    assert peak < 4_000_000


def test_objects_a_line_keep_their_bytes(tmp_path: Path) -> None:
    """Blank lines are none; a number keeps its digits in the row that is kept."""
    rows = read_text(tmp_path, '\ufeff{"a": 1.10, "b": {"c": [null]}}\r\n\n  {"x": "é"}\n', "in.jsonl")
    assert [(row.line, row.raw) for row in rows if isinstance(row, TableRow)] == [
        (1, b'{"a": 1.10, "b": {"c": [null]}}'),
        (3, '{"x": "é"}'.encode()),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"a":1}\n[1]\n', "must be an object, not an array"),
        (b'{"a":1}\n{"a":\n', "is not valid JSON: it ends too early"),
        (b'{"a":1}\n{"a":"\xe9"}\n', "is not valid UTF-8"),
        (b'{"a":1}\n{"a":1e999}\n', "has a number that is out of range"),
        (b'{"a":1}\n{"a":"\\ud83d"}\n', "has half a surrogate pair"),
        (b'{"a":1}\n{"custom_id":"x","params":{}}\n', "is a request of the API's own form"),
        pytest.param(b'{"a":1}\n{"a":"' + b"x" * MAX_ROW_BYTES + b'"}\n', "is 16,777,224 bytes long", id="long"),
    ],
)
def test_a_line_that_is_no_object_is_a_problem(tmp_path: Path, text: bytes, says: str) -> None:
    """With its line, and the others are read."""
    found = problem(read_text(tmp_path, text, "in.jsonl"))
    assert found.line == 2
    assert found.message.startswith(says)


@pytest.mark.parametrize("piece", [1, 3, 7, 1 << 18])
def test_an_array_is_read_item_by_item_however_it_is_cut(tmp_path: Path, piece: int) -> None:
    """Brackets, quotes and commas inside of texts are no marks."""
    items = [{"a": '}],{"\\'}, {"b": [1, {"c": []}], "é": "€"}, {}, {"d": None}]
    text = b" \n" + json.dumps(items, indent=1, ensure_ascii=False).encode() + b"\n \n"
    blocks = [text[at : at + piece] for at in range(0, len(text), piece)]
    table = ArrayTable("in.json", TextPieces("in.json", blocks))
    rows = list(table.rows())
    assert [row.values for row in rows if isinstance(row, TableRow)] == items
    assert [row.line for row in rows] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "has no rows"),
        ("", "has no rows"),
        ('{"a":1}', "is not a JSON array: it begins as an object"),
        ('[{"a":1}', "is no JSON array of objects: it ends too early (after item 1)"),
        ('[{"a":1}] x', "is no JSON array of objects: there is more behind its end (after item 1)"),
        ('[{"a":1} {"b":2}]', "has no comma behind item 1"),
        ('[{"a":1} 5]', "has no comma behind item 1"),
        ('[{"a":1},"b', "is no JSON array of objects: it ends too early (after item 1)"),
        ('[{"a":1},]', "is no JSON array of objects: there is a comma behind its last item (after item 1)"),
        ('[,{"a":1}]', "is no JSON array of objects: there is no item before a comma"),
    ],
)
def test_what_is_no_array_of_objects_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """With the item after which it goes wrong."""
    assert refused(tmp_path, text, "in.json", kind=TableKind.JSON).message.startswith(says)


def test_an_item_that_is_no_object_is_a_problem(tmp_path: Path) -> None:
    """By its number; the next ones are read."""
    rows = read_text(tmp_path, '[{"a":1},[2],{"a":3}]', "in.json")
    assert (problem(rows).line, problem(rows).message) == (2, "must be an object, not an array")
    assert len(rows) == 3


@pytest.mark.parametrize("piece", [1, 100])
@pytest.mark.parametrize("scalar", ["5", "null", '"}],{ \\\\"', "-1.5e3"])
def test_every_scalar_in_an_array_is_a_problem_of_its_own(scalar: str, piece: int) -> None:
    """Before, between and behind objects, which keep their numbers."""
    text = f'[{scalar},{{"a":1}},{scalar} , {scalar},{{"a":2}},{scalar}]'.encode()
    blocks = [text[at : at + piece] for at in range(0, len(text), piece)]
    rows = list(ArrayTable("in.json", TextPieces("in.json", blocks)).rows())
    assert [(row.line, row.values["a"]) for row in rows if isinstance(row, TableRow)] == [(2, 1), (5, 2)]
    found = [row for row in rows if isinstance(row, InputProblem)]
    assert [(each.line, each.raw) for each in found] == [(line, scalar.encode()) for line in (1, 3, 4, 6)]
    assert all(each.message.startswith("must be an object, not ") for each in found)


def test_a_row_of_an_array_is_kept_in_one_line(tmp_path: Path) -> None:
    """As every line of results has one; its numbers keep their digits, its texts their white space."""
    text = '[\n {\n  "n": 123456789012345678901234567890,\n  "x": 1.50,\n  "t": " a\\n b" }]'
    (row,) = read_text(tmp_path, text, "in.json")
    assert isinstance(row, TableRow)
    assert row.raw == b'{"n":123456789012345678901234567890,"x":1.50,"t":" a\\n b"}'


def test_an_item_without_end_is_not_held(tmp_path: Path) -> None:
    """Promise 8: a text that is not closed takes in the whole file."""
    found = refused(tmp_path, b'[{"a":1},{"a":"' + b"x" * 3 * MAX_ROW_BYTES, "in.json")
    assert found.message.startswith("has an item 2 that does not end within")


def test_a_prompt_a_line(tmp_path: Path) -> None:
    """Blank lines are none, and a carriage return is no part of the text."""
    rows = read_text(tmp_path, "one\r\n\n  two \n\xff".encode("latin-1"), "in.txt")
    assert values(rows[:2]) == [{"text": "one"}, {"text": "  two "}]
    assert (problem(rows).line, problem(rows).message) == (4, "is not UTF-8 (byte 1 is 0xff)")
    assert refused(tmp_path, "\n \n", "in.txt").message == "has no rows: it is empty"


def test_a_folder_of_texts(tmp_path: Path) -> None:
    """In the order of their paths, below all folders, nothing hidden; the path is a column."""
    for name in ("b.txt", "a/z.md", "a/c.txt", ".hidden/x.txt", "a/.y.txt", "a/image.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}\n")
    rows = values(read(tmp_path))
    assert [row["path"] for row in rows] == ["b.txt", "a/c.txt", "a/z.md"]
    assert rows[1]["text"] == "text of a/c.txt\n"
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableRefused, match="has no files"):
        read(tmp_path / "empty")


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    """It is told, and the texts beside it are read."""
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "b.txt").write_text("b")
    first, second = read(tmp_path)
    assert isinstance(first, InputProblem)
    assert (first.line, first.field, first.message) == (1, "a.txt", "is no regular file")
    assert isinstance(second, TableRow)


def test_several_files_are_a_prompt_each(tmp_path: Path) -> None:
    """By the path that was given; one that cannot be read is a problem of its own."""
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b").write_bytes(b"\xe9")
    paths = (str(tmp_path / "a.txt"), str(tmp_path / "b"), str(tmp_path / "missing"))
    first, second, third = open_rows(TableInput(paths=paths), threading.Event()).rows()
    assert isinstance(first, TableRow)
    assert first.values == {"path": paths[0], "text": "one"}
    assert isinstance(second, InputProblem)
    assert (second.line, second.field) == (2, paths[1])
    assert isinstance(third, InputProblem)
    assert third.message.startswith("cannot read")


def test_several_tables_are_refused(tmp_path: Path) -> None:
    """One at a time: each has columns of its own."""
    given = TableInput(paths=(str(tmp_path / "a.csv"), str(tmp_path / "b.csv")))
    with pytest.raises(UsageError, match="only one goes at a time"):
        told_kind(given)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("in.CSV", b"a\n1\n", TableKind.CSV),
        ("in.tsv.gz", b"a\n1\n", TableKind.TSV),
        ("in.json", b'[{"a":1}]', TableKind.JSON),
        ("in.json", b'{"a":1}\n', TableKind.JSONL),
        ("in.jsonl", b' \n[{"a":1}]', TableKind.JSON),
        ("in.ndjson.zst", b'{"a":1}', TableKind.JSONL),
        ("in.txt", b'{"a":1}', TableKind.TXT),
        ("in.csv", b"PAR1....PAR1", TableKind.PARQUET),
        ("in", b'[{"a":1}]', TableKind.JSON),
        ("in.dat", gzip.compress(b'\xef\xbb\xbf{"a":1}', mtime=0), TableKind.JSONL),
    ],
)
def test_the_kind_is_told_by_the_name_and_the_first_bytes(
    tmp_path: Path, name: str, text: bytes, kind: TableKind
) -> None:
    """What is forced is not looked at."""
    (tmp_path / name).write_bytes(text)
    assert told_kind(TableInput(paths=(str(tmp_path / name),))) is kind
    assert told_kind(TableInput(paths=(str(tmp_path / name),), kind=TableKind.TXT)) is TableKind.TXT


def test_what_cannot_be_told_asks_for_the_format(tmp_path: Path) -> None:
    """Nothing is guessed."""
    (tmp_path / "in").write_text("a,b\n1,2\n")
    for path in (str(tmp_path / "in"), "-"):
        with pytest.raises(UsageError, match="cannot be told") as caught:
            told_kind(TableInput(paths=(path,)))
        assert "its format" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("in.csv", b"", "a table (CSV)"),
        ("in.jsonl", b'{"id":1,"text":"x"}\n', "a file of rows (JSON Lines)"),
        ("in.jsonl", b'{"custom_id":"1"}\n', None),
        ("in.jsonl", b'{"method":"POST","url":"/v1"}\n', None),
        ("in.jsonl", b"{broken\n", None),
        ("in.jsonl", b"", None),
        ("in.jsonl", b"{}\n", None),
        ("in.json", b'[{"id":1,\n"text":"x"}]', "a JSON array of rows"),
        ("in.json", b'[{"custom_id":"1","params":{}}]', None),
        ("in.txt", b"What is this?\n", "a file of prompts"),
        ("in.txt", b'{"custom_id":"1","params":{}}', None),
        ("in", b"a,b\n", None),
    ],
)
def test_rows_are_told_from_requests(tmp_path: Path, name: str, text: bytes, what: str | None) -> None:
    """Only what is rows for sure is refused without a template; else every line says what is wrong with it."""
    (tmp_path / name).write_bytes(text)
    assert holds_rows(TableInput(paths=(str(tmp_path / name),))) == what


def test_a_pipe_is_not_looked_into(tmp_path: Path) -> None:
    """Its first bytes come once."""
    os.mkfifo(tmp_path / "in")
    assert holds_rows(TableInput(paths=(str(tmp_path / "in"),))) is None


def test_parquet_rows_with_their_types(tmp_path: Path) -> None:
    """What JSON has no form for is text; a NaN is null."""
    arrow = pytest.importorskip("arro3.core", reason="the extra [parquet] is not installed")
    from arro3.io import write_parquet

    kind = arrow.DataType
    batch = arrow.RecordBatch.from_pydict(
        {
            "id": arrow.Array(["007", None], type=kind.utf8()),
            "n": arrow.Array([2**40, None], type=kind.int64()),
            "score": arrow.Array([1.5, float("nan")], type=kind.float64()),
            "on": arrow.Array([20_000, None], type=kind.int32()).cast(kind.date32()),
            "price": arrow.Array([12, None], type=kind.int64()).cast(kind.decimal128(10, 2)),
            "blob": arrow.Array([b"\xff\x00", None], type=kind.binary()),
            "ok": arrow.Array([True, None], type=kind.bool()),
        }
    )
    path = tmp_path / "in.parquet"
    write_parquet(batch, path)
    table = open_rows(TableInput(paths=(str(path),)), threading.Event())
    assert values(list(table.rows())) == [
        {"id": "007", "n": 2**40, "score": 1.5, "on": "2024-10-04", "price": "12.00", "blob": "/wA=", "ok": True},
        dict.fromkeys(["id", "n", "score", "on", "price", "blob", "ok"]),
    ]
    assert table.columns == ("id", "n", "score", "on", "price", "blob", "ok")
    assert table.size_bytes == path.stat().st_size


def test_half_a_parquet_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A download that broke."""
    pytest.importorskip("arro3.io", reason="the extra [parquet] is not installed")
    (tmp_path / "in.parquet").write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(InputError, match=r"in\.parquet as Parquet"):
        read(tmp_path / "in.parquet")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """As for requests: a spreadsheet is called one."""
    (tmp_path / "in.csv").write_bytes(b"PK\x03\x04" + b"[Content_Types].xml" * 9)
    with pytest.raises(InputError, match="Office document"):
        read(tmp_path / "in.csv")


def test_a_table_that_is_left_early_is_closed(tmp_path: Path) -> None:
    """No descriptor stays open behind a preview."""
    (tmp_path / "in.csv").write_text("a\n" + "1\n" * 400_000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    table = open_rows(TableInput(paths=(str(tmp_path / "in.csv"),)), threading.Event())
    rows = table.rows()
    assert isinstance(next(rows), TableRow)
    rows.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
