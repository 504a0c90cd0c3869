"""Rows that a program hands over: what its values become, and what is no row."""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest

from orchestrator.domain.errors import UsageError
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import problem_line, source_from_objects
from orchestrator.ports.streams import InputItem, InputLine, InputProblem
from orchestrator.tables import ObjectRows, Recipe
from orchestrator.tables.object_values import row_of
from orchestrator.tables.table import TableRow

RULES = ParamRules(api_version="2026-10-21")


class Colour(Enum):
    RED = "red"


def value(given: object) -> Any:
    row = row_of({"a": given}, 1)
    assert isinstance(row, TableRow), row
    assert row.values == json.loads(row.raw)
    return row.values["a"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("007", "007"),
        (True, True),
        (2**70, 2**70),
        (float("nan"), None),
        (float("-inf"), None),
        ([1.5, float("nan"), {"b": float("nan")}], [1.5, None, {"b": None}]),
        (Decimal("1.10"), "1.10"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00Z"),
        (timedelta(hours=1), "PT3600S"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"ab", "YWI="),
        (Colour.RED, "red"),
        (Path("a/b"), "a/b"),
        ({"c", "a", "b"}, ["a", "b", "c"]),
        (deque([1]), [1]),
        (MappingProxyType({"x": (1, 2)}), {"x": [1, 2]}),
    ],
)
def test_a_value_is_kept_as_json(given: object, kept: object) -> None:
    """By the rules of a Parquet file, so that the same table is the same whatever it came in."""
    assert value(given) == kept


def test_the_values_of_pandas_and_numpy_are_kept_as_json() -> None:
    """NaN, NaT and NA are null, a Timestamp is ISO 8601, a scalar of numpy is a number."""
    pd = pytest.importorskip("pandas", reason="a tool of development: pip install pandas")
    import numpy as np

    frame = pd.DataFrame(
        {
            "text": ["a", None],
            "n": [1, None],
            "at": pd.to_datetime(["2020-01-01", None]),
            "whole": pd.array([1, None], dtype="Int64"),
            "kind": pd.Categorical(["x", None]),
            "month": pd.period_range("2020-01", periods=2, freq="M"),
        }
    )
    first, second = (row_of(row, 1) for row in frame.to_dict("records"))
    assert isinstance(first, TableRow)
    assert isinstance(second, TableRow)
    assert first.raw == (b'{"text":"a","n":1.0,"at":"2020-01-01T00:00:00","whole":1,"kind":"x","month":"2020-01"}')
    assert second.values == {"text": None, "n": None, "at": None, "whole": None, "kind": None, "month": "2020-02"}
    nanoseconds = np.datetime64("2020-01-01T00:00:00.000000001")
    assert (value(np.int64(3)), value(np.float32("nan")), value(np.str_("x"))) == (3, None, "x")
    assert (value(nanoseconds), value(np.datetime64("NaT"))) == ("2020-01-01T00:00:00.000000001", None)
    assert value(np.array([[1.5, float("nan")]])) == [[1.5, None]]
    assert (value(pd.NA), value(pd.NaT), value(pd.Series([1, 2]))) == (None, None, [1, 2])


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"t": "x", "o": object()}, "rows:7: o: is of type object, which has no form in JSON (text, numbers"),
        ({"o": [Fraction(1, 2)]}, "rows:7: o: is of type list (Fraction in it), which has no form"),
        ({"s": "\ud800"}, "rows:7: s: has half a surrogate pair"),
        ({0: "x"}, "rows:7: has a column called 0, which is no text (give the columns names"),
        ("text", 'rows:7: is of type str, which is no row (hand over mappings such as {"column": "value"})'),
        (None, "rows:7: is of type NoneType, which is no row"),
    ],
)
def test_what_has_no_form_in_json_is_a_problem_of_its_row_and_column(row: object, says: str) -> None:
    """Nothing is guessed, and nothing becomes the text of a Python object."""
    found = row_of(row, 7)
    assert isinstance(found, InputProblem)
    assert problem_line("rows", found).startswith(says)


def test_a_row_that_contains_itself_is_a_problem() -> None:
    """It is no end of the program."""
    row: dict[str, object] = {}
    row["me"] = row
    found = row_of(row, 1)
    assert isinstance(found, InputProblem)
    assert "contains itself" in found.message


def test_records_of_databases_and_models_are_rows() -> None:
    """What has columns is a row: `sqlite3.Row`, an ordered dict, a model of pydantic."""
    pydantic = pytest.importorskip("pydantic")
    base: type = pydantic.BaseModel

    class Review(base):  # type: ignore[misc]  # made at run time
        text: str

    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    record = connection.execute("SELECT 1 AS n, 'x' AS text").fetchone()
    connection.close()
    for row, raw in (
        (record, b'{"n":1,"text":"x"}'),
        (OrderedDict(b=1, a=2), b'{"b":1,"a":2}'),
        (Review(text="x"), b'{"text":"x"}'),
    ):
        found = row_of(row, 1)
        assert isinstance(found, TableRow)
        assert found.raw == raw


def recipe(prompt: str = "{{ text }}", **more: Any) -> Recipe:
    return Recipe(prompt=prompt, **{"model": "m", "max_tokens": 5, **more})


def drained(source: ObjectRows) -> list[InputItem]:
    async def drain() -> list[InputItem]:
        return [item async for chunk in source.chunks() for item in chunk]

    return asyncio.run(drain())


def items(rows: Any, made: Recipe | None = None) -> list[InputItem]:
    return drained(ObjectRows(rows, made or recipe(), RULES))


def test_rows_become_requests_and_stay_as_they_are() -> None:
    """The caller's own objects are never changed."""
    rows: list[Mapping[str, Any]] = [{"id": 7, "text": "a", "n": float("inf")}, {"id": "008", "text": "b", "n": None}]
    before = copy.deepcopy(rows)
    first, second = items(iter(rows), recipe(id_column="id"))
    assert rows == before
    assert isinstance(first, InputLine)
    assert isinstance(second, InputLine)
    assert (first.custom_id, first.row, second.custom_id) == ("7", b'{"id":7,"text":"a","n":null}', "008")
    assert json.loads(first.params)["messages"][0]["content"] == "a"


def test_rows_of_an_async_iterator_are_the_same_content() -> None:
    """The same rows are the same job, however they come; other rows are another."""

    async def rows() -> AsyncIterator[dict[str, str]]:
        yield {"text": "a"}

    sources = [ObjectRows(given, recipe(), RULES) for given in (rows(), [{"text": "a"}], [{"text": "b"}])]
    for source in sources:
        drained(source)
    first, second, other = (source.content_hash for source in sources)
    assert first == second != other
    assert sources[0].size_bytes == len(b'{"text":"a"}\n')


def test_no_rows_are_refused_as_a_whole() -> None:
    """As an empty file is."""
    (found,) = items([])
    assert isinstance(found, InputProblem)
    assert (found.line, found.message) == (0, "has no rows: it is empty")


def test_requests_and_rows_are_never_mixed() -> None:
    """Requests in place of rows are an error, one among rows a problem, and rows without a template are told."""
    request = {"custom_id": "a", "params": {}}
    with pytest.raises(UsageError, match="requests of the API's own form"):
        items([request])
    found = items([{"text": "a"}, request])[1]
    assert isinstance(found, InputProblem)
    assert found.message == "is a request of the API's own form, among rows"

    async def told() -> list[InputItem]:
        source = source_from_objects([{"text": "a"}], name="requests", rules=RULES)
        return [item async for chunk in source.chunks() for item in chunk]

    (without,) = asyncio.run(told())
    assert isinstance(without, InputProblem)
    assert "prompt=" in without.remedy


@pytest.mark.parametrize(
    ("rows", "hint"),
    [
        ({"text": "a"}, "one alone is [row]"),
        ("in.csv", "of a table give the path"),
        (7, "hand over a list of rows"),
    ],
)
def test_what_is_one_thing_is_no_rows(rows: Any, hint: str) -> None:
    """It iterates into something else than rows."""
    with pytest.raises(UsageError) as caught:
        ObjectRows(rows, recipe(), RULES)
    assert hint in str(caught.value.hint)


def test_a_frame_is_told_how_its_rows_are_had() -> None:
    """A DataFrame iterates into the names of its columns."""
    pd = pytest.importorskip("pandas", reason="a tool of development: pip install pandas")
    with pytest.raises(UsageError) as caught:
        ObjectRows(pd.DataFrame({"text": ["a"]}), recipe(), RULES)
    assert caught.value.hint == 'hand over its rows: df.to_dict("records")'
