"""Tables of answers that have a schema: its fields are columns, and an answer that is not as it says is not lost."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pytest
from unit.test_answer_tables import ANSWER, columns, read_back, result, succeeded

from orchestrator import UsageError
from orchestrator.domain.answer_schema import AnswerSchema
from orchestrator.domain.answer_table import UNPARSED, AnswerTable, OutputFormat, OutputShape
from orchestrator.domain.queries import ResultRow
from orchestrator.domain.result_lines import errored_result, invalid_result
from orchestrator.domain.result_outcome import INVALID_ANSWER
from orchestrator.results import open_rendering

FACTS = ANSWER[1:]
REVIEW = AnswerSchema.read("label, score float, n int, ok bool?, why?")
GOOD = '{"label":"good","score":0.50,"n":3,"ok":true}'


def written(
    schema: AnswerSchema, *results: ResultRow, kind: str = "csv", names: tuple[str, ...] | None = None
) -> bytes:
    shape = OutputShape(format=OutputFormat(kind), columns=names)
    rendering = open_rendering(shape, columns(*(each.row for each in results if each.row)), "job-1", schema)
    assert rendering is not None
    return rendering.begin() + rendering.render(results) + rendering.end()


def test_fields_stand_in_place_of_the_answer() -> None:
    """Behind the row's own columns, in the order of the schema, with the digits of the answer."""
    rows = read_back(written(REVIEW, result({"text": "nice"}, succeeded(GOOD))).decode())
    assert rows == [
        ["custom_id", "text", "label", "score", "n", "ok", "why", *FACTS, UNPARSED],
        [
            *("r", "nice", "good", "0.50", "3", "true", ""),
            *("succeeded", "", "claude-haiku-4-5", "end_turn", "3", "5", "0.000007500", ""),
        ],
    ]


@pytest.mark.parametrize("text", ["I cannot help.", '{"label":"go', '{"label":1,"score":1,"n":1}', ""])
def test_an_answer_that_does_not_fit_is_kept_as_it_came(text: str) -> None:
    """Its fields are empty, whatever of it could be read; the status and the stop_reason say what it is."""
    head, row = read_back(written(REVIEW, result(None, succeeded(text))).decode())
    found = dict(zip(head, row, strict=True))
    assert [found[name] for name in REVIEW.fields] == [""] * 5
    assert found[UNPARSED] == text
    failed = read_back(written(REVIEW, result(None, errored_result("api_error", "no"), state="failed")).decode())[1]
    assert (failed[6:8], failed[-1]) == (["failed", "api_error: no"], "")
    bad = result(None, invalid_result(INVALID_ANSWER, "no", succeeded(text)), state="failed")
    invalid = read_back(written(REVIEW, bad).decode())[1]
    assert (invalid[6:8], invalid[-1]) == (["invalid", "invalid_answer: no"], text)


def test_what_is_nested_is_json_and_null_is_nothing() -> None:
    """A cell holds a text, a number, true or false; a list or an object is there as JSON."""
    text = '{"type":"object","properties":{"tags":{"type":"array","items":{"type":"string"}},"at":{"type":"object",'
    text += '"properties":{"x":{"type":"null"}},"additionalProperties":false},"none":{"type":["string","null"]}},'
    schema = AnswerSchema.read(text + '"additionalProperties":false}')
    answer = succeeded('{"tags": ["a", "b, c"], "at": {"x": null}, "none": null}')
    names = ("tags", "at", "none")
    assert read_back(written(schema, result(None, answer), names=names).decode())[1] == [
        '["a","b, c"]',
        '{"x":null}',
        "",
    ]
    assert AnswerTable((), names, schema).values(result(None, answer)) == {
        "tags": ["a", "b, c"],
        "at": {"x": None},
        "none": None,
    }


def test_a_field_that_is_called_like_another_column_gets_the_prefix() -> None:
    """The row keeps its names and the facts theirs, so that scripts find the status wherever there is one."""
    schema = AnswerSchema.read("text, status, answer, label")
    table = AnswerTable(columns({"text": 1, "label": 2, "answer_label": 3}), None, schema)
    assert table.names == [
        *("custom_id", "text", "label", "answer_label"),
        *("answer_text", "answer_status", "answer", "answer_answer_label"),
        *(*FACTS, UNPARSED),
    ]


def test_the_whole_answer_can_be_asked_for() -> None:
    """By the name that it has without a schema."""
    names = ("custom_id", "answer", "label")
    assert read_back(written(REVIEW, result(None, succeeded(GOOD)), names=names).decode())[1] == ["r", GOOD, "good"]
    with pytest.raises(UsageError) as caught:
        AnswerTable((), ["labels"], REVIEW)
    assert f"{UNPARSED}, answer" in str(caught.value.hint)


def test_answers_that_are_no_objects_are_texts() -> None:
    """A schema without fields changes no table."""
    listed = AnswerSchema.read('{"type":"array","items":{"type":"string"}}')
    assert AnswerTable((), None, listed).names == ["custom_id", *ANSWER]
    assert read_back(written(listed, result(None, succeeded('["a"]'))).decode())[1][1] == '["a"]'


def test_a_parquet_file_has_the_kinds_of_the_schema() -> None:
    """Where it says one simply; a number that has no place in 64 bits is null."""
    arrow = pytest.importorskip("arro3.io", reason="the extra [parquet] is not installed")
    many = [GOOD, '{"label":"Ü","score":2,"n":4.0}', '{"label":"x","score":1e3,"n":123456789012345678901}', "no"]
    data = written(REVIEW, *(result(None, succeeded(text)) for text in many), kind="parquet")
    table = arrow.read_parquet(io.BytesIO(data)).read_all()
    found: dict[str, Any] = {name: table[name].to_pylist() for name in table.column_names}
    assert found["label"] == ["good", "Ü", "x", None]
    assert found["score"] == [0.5, 2.0, 1000.0, None]
    assert found["n"] == [3, 4, None, None]
    assert found["ok"] == [True, None, None, None]
    assert found[UNPARSED] == [None, None, None, "no"]
    assert found["cost_usd"][0] == Decimal("0.000007500")
