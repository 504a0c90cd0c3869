"""Tables of answers: their columns, what is in a cell, and what a reader of the file gets back."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import UsageError
from orchestrator.domain.answer_table import AnswerTable, OutputFormat, OutputShape, shape_of, told_format
from orchestrator.domain.errors import GuardRefused
from orchestrator.domain.queries import ResultRow
from orchestrator.domain.result_choice import ResultChoice
from orchestrator.domain.result_lines import errored_result, invalid_result
from orchestrator.domain.result_outcome import INVALID_ANSWER
from orchestrator.domain.row_columns import MOST_COLUMNS, ColumnKind, ColumnTally, RowColumn
from orchestrator.domain.states import RequestState
from orchestrator.results import open_rendering

ANSWER = ["answer", "status", "error", "model", "stop_reason", "input_tokens", "output_tokens", "cost_usd"]


def succeeded(*texts: str, thinking: str = "hm") -> bytes:
    content = [{"type": "thinking", "thinking": thinking}, *({"type": "text", "text": text} for text in texts)]
    message = {
        "content": content,
        "model": "claude-haiku-4-5",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 5},
    }
    return json.dumps({"type": "succeeded", "message": message}).encode()


def result(
    row: object = None,
    body: bytes | None = None,
    *,
    state: str = "succeeded",
    cost: int | None = 7_500,
    name: str = "r",
) -> ResultRow:
    text = b"" if row is None else row if isinstance(row, bytes) else json.dumps(row).encode()
    return ResultRow(1, name, RequestState(state), body, cost, text)


def columns(*rows: object) -> tuple[RowColumn, ...]:
    tally = ColumnTally()
    for row in rows:
        tally.add(row if isinstance(row, bytes) else json.dumps(row).encode())
    return tally.columns()


def written(shape: OutputShape, *results: ResultRow) -> str:
    own = columns(*(each.row for each in results if each.row))
    rendering = open_rendering(shape, own, "job-1")
    assert rendering is not None
    return (rendering.begin() + rendering.render(results) + rendering.end()).decode()


def read_back(text: str, **how: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), **how))


CSV = OutputShape(format=OutputFormat.CSV)
TSV = OutputShape(format=OutputFormat.TSV)


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("succeeded", "good refused"),
        ("failed", "bad cut"),
        ("errored", "bad cut"),
        ("canceled", "never"),
        ("invalid", "cut"),
        ("invalid_answer", "cut"),
        ("refusal", "refused"),
        ("max_tokens", "cut"),
        ("api_error", "bad"),
        ("end_turn", "good"),
        ("nothing", ""),
    ],
)
def test_results_are_chosen_by_a_word(word: str, names: str) -> None:
    """By the state, the status in a table, the API's kind, why the answer ended, or the type of the error."""
    refused = succeeded("no").replace(b"end_turn", b"refusal")
    cut = invalid_result(INVALID_ANSWER, "cut", succeeded("{").replace(b"end_turn", b"max_tokens"))
    found = [
        result(None, succeeded("yes"), name="good"),
        result(None, refused, name="refused"),
        result(None, errored_result("api_error", "no"), state="failed", name="bad"),
        result(None, cut, state="failed", name="cut"),
        result(None, None, state="canceled", name="never"),
    ]
    assert [row.custom_id for row in ResultChoice(frozenset({word})).of(found)] == names.split()
    assert ResultChoice().of(found) == found


def test_a_row_comes_before_its_answer() -> None:
    """Text blocks alone are the answer; text is as it is, all else JSON, what is not there is empty."""
    row = b'{"id": "007", "n": 1.50, "ok": true, "none": null, "list": [1, {"a": "b c"}], "text": "a \\u00fc"}'
    more = result({"late": "x"}, succeeded("no"), name="s")
    assert read_back(written(CSV, result(row, succeeded("yes, ", "it is")), more)) == [
        ["custom_id", "id", "n", "ok", "none", "list", "text", "late", *ANSWER],
        [
            *("r", "007", "1.50", "true", "", '[1,{"a":"b c"}]', "a ü", ""),
            *("yes, it is", "succeeded", "", "claude-haiku-4-5", "end_turn", "3", "5", "0.000007500"),
        ],
        ["s", *[""] * 6, "x", "no", "succeeded", "", "claude-haiku-4-5", "end_turn", "3", "5", "0.000007500"],
    ]


def test_what_failed_says_why_and_what_is_not_known_is_empty() -> None:
    """Of each kind of result, and of one that nobody can read."""
    bodies = [errored_result("api_error", "oops, no"), b'{"type":"expired"}', b'{"type":"errored"', None]
    states = ["failed", "failed", "failed", "canceled"]
    found = [result(None, body, state=state, cost=None) for body, state in zip(bodies, states, strict=True)]
    rows = read_back(written(CSV, *found))
    assert rows[0] == ["custom_id", *ANSWER]
    assert [row[1:4] for row in rows[1:]] == [
        ["", "failed", "api_error: oops, no"],
        ["", "failed", "expired"],
        ["", "failed", "errored"],
        ["", "canceled", ""],
    ]
    assert all(row[4:] == [""] * 5 for row in rows[1:])


def test_names_that_clash_get_a_prefix_until_they_are_free() -> None:
    """The row's own keep their names; an id of its own stands for ours."""
    own = columns({"status": 1, "answer_status": 2, "custom_id": "x", "answer": 3})
    assert AnswerTable(own).names == [
        *("status", "answer_status", "custom_id", "answer"),
        *("answer_answer", "answer_answer_status", *ANSWER[2:]),
    ]
    table = AnswerTable(own, ["answer_answer_status", "custom_id", "status"])
    assert table.cells(result({"status": 1, "custom_id": "x"}, succeeded("a"))) == ["succeeded", "x", "1"]


def test_columns_are_chosen_and_a_wrong_name_says_which_there_are() -> None:
    """In the order that was asked for."""
    shape = OutputShape(format=OutputFormat.CSV, columns=("answer", "id"))
    assert read_back(written(shape, result({"id": 7, "x": 1}, succeeded("yes")))) == [["answer", "id"], ["yes", "7"]]
    with pytest.raises(UsageError) as caught:
        AnswerTable(columns({"id": 7}), ["ID"])
    assert "there are custom_id, id, answer" in str(caught.value.hint)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
CELLS = st.text(st.sampled_from(list('a,"\r\n\t =+-@\x00ü\u2028\ufeff')), max_size=8)


@given(rows=st.lists(st.dictionaries(NAMES, CELLS, min_size=1, max_size=3), min_size=1, max_size=4))
@pytest.mark.parametrize("shape", [CSV, TSV], ids=["csv", "tsv"])
def test_what_is_written_is_read_back(shape: OutputShape, rows: list[dict[str, str]]) -> None:
    """Quotes, delimiters, line ends of every kind and NULs stay where they are."""
    header, *records = read_back(
        written(shape, *(result(row, succeeded("x\r\ny")) for row in rows)), delimiter=shape.format.delimiter
    )
    own = list(dict.fromkeys(name for row in rows for name in row))
    start = header.index(own[0])
    assert header[start : start + len(own)] == own
    assert [record[start : start + len(own)] for record in records] == [[row.get(n, "") for n in own] for row in rows]
    assert {record[start + len(own)] for record in records} == {"x\r\ny"}


def test_one_column_of_nothing_has_a_record_for_each_row() -> None:
    """An empty line is no record to many readers."""
    shape = OutputShape(format=OutputFormat.CSV, columns=("error",))
    assert written(shape, result(None, succeeded("a"))) == 'error\n""\n'


def test_formulas_are_data_unless_a_spreadsheet_is_to_be_safe() -> None:
    """Numbers are none; the mark tells Excel that it is UTF-8."""
    row = {"=x": "=1+2", "b": "+49", "c": "-3.5", "d": "-x", "e": "@a", "f": "\t=1", "g": "a=1", "h": -3}
    plain = read_back(written(CSV, result(row, succeeded("=A1"))))
    assert plain[1][1:10] == ["=1+2", "+49", "-3.5", "-x", "@a", "\t=1", "a=1", "-3", "=A1"]
    text = written(OutputShape(format=OutputFormat.CSV, excel_safe=True), result(row, succeeded("=A1")))
    assert text.startswith("\ufeff")
    safe = read_back(text.removeprefix("\ufeff"))
    assert safe[0][:2] == ["custom_id", "'=x"]
    assert safe[1][1:10] == ["'=1+2", "+49", "-3.5", "'-x", "'@a", "'\t=1", "a=1", "-3", "'=A1"]


def test_text_is_the_answers_with_a_blank_line_between() -> None:
    """What has none leaves no gap."""
    found = [succeeded("one\n"), errored_result("api_error", "no"), succeeded(), succeeded("two", "\nmore")]
    shape = OutputShape(format=OutputFormat.TXT)
    assert written(shape, *(result(None, body) for body in found)) == "one\n\ntwo\nmore\n"


def test_values_are_pythons_own() -> None:
    """For data frames: None for what is not there, a Decimal for money."""
    row = {"id": "007", "n": 1.5, "list": [1], "none": None}
    (table,) = [AnswerTable(columns(row, {"late": True}))]
    assert table.values(result(row, succeeded("a"))) == {
        "custom_id": "r",
        "id": "007",
        "n": 1.5,
        "list": [1],
        "none": None,
        "late": None,
        "answer": "a",
        "status": "succeeded",
        "error": None,
        "model": "claude-haiku-4-5",
        "stop_reason": "end_turn",
        "input_tokens": 3,
        "output_tokens": 5,
        "cost_usd": Decimal("0.000007500"),
    }


def test_the_kind_of_a_column_is_that_of_all_its_values() -> None:
    """Null says nothing; what is of two kinds, or too long for 64 bits, is text."""
    rows = [
        {"i": 1, "f": 1, "b": True, "t": "x", "m": 1, "l": [], "o": {}, "z": None, "long": 10**18},
        {"i": None, "f": 2.5, "b": False, "t": "y", "m": "1", "l": [], "o": {}, "z": None},
    ]
    kinds = {column.name: column.kind for column in columns(*rows)}
    text = dict.fromkeys(["t", "m", "l", "o", "z", "long"], ColumnKind.TEXT)
    assert kinds == {"i": ColumnKind.INTEGER, "f": ColumnKind.NUMBER, "b": ColumnKind.BOOLEAN, **text}


@pytest.mark.parametrize("row", [rb'{"a": "\ud83d", "a\ud83d": 1}', b'{"a": NaN}', b'{"a": "\xff"}', b'{"a": 1e999}'])
def test_rows_that_decoders_refuse_have_cells(row: bytes) -> None:
    """Whatever an earlier version has stored is written."""
    assert columns(row)[0].name == "a"
    for shape in (CSV, TSV):
        assert len(read_back(written(shape, result(row, succeeded("x"))), delimiter=shape.format.delimiter)) == 2


def test_names_without_end_are_no_table() -> None:
    """Memory is bounded by the columns, so they are."""
    tally = ColumnTally()
    tally.add(json.dumps(dict.fromkeys(map(str, range(MOST_COLUMNS)), 1)).encode())
    with pytest.raises(GuardRefused, match="more than 10,000 columns"):
        tally.add(b'{"one more": 1}')


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *(("a.csv", "csv"), ("a.CSV.gz", "csv"), ("a.tsv.zst", "tsv"), ("a.txt", "txt"), ("a.parquet", "parquet")),
        *(("a.jsonl", "jsonl"), ("a", "jsonl"), ("-", "jsonl"), ("a.json", "jsonl"), ("csv", "jsonl")),
    ],
)
def test_the_suffix_tells_the_format(path: str, kind: str) -> None:
    """What it does not tell is the API's own lines, as ever."""
    assert told_format(path).value == kind


def test_what_does_not_go_together_is_refused() -> None:
    """Before anything is done."""
    refused: list[tuple[str, str | None, list[str] | None, bool]] = [
        ("a.parquet.gz", None, None, False),
        ("a.jsonl", None, ["a"], False),
        ("a.txt", None, ["a"], False),
        ("a.csv", None, [], False),
        ("a.csv", None, ["a", "a"], False),
        ("a.jsonl", None, None, True),
        ("a.csv", "xlsx", None, False),
    ]
    for path, kind, names, is_safe in refused:
        with pytest.raises(UsageError):
            shape_of(path, kind, names, excel_safe=is_safe)
    assert shape_of("a.jsonl", "csv", ["a"]) == OutputShape(format=OutputFormat.CSV, columns=("a",))
