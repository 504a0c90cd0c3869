"""Requests made of rows: the template, ids, images, problems, and which job they are."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orchestrator.domain.errors import UsageError
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import open_source, problem_line
from orchestrator.ports.streams import InputLine, InputProblem
from orchestrator.tables import Recipe, RowSource, TableInput, TableKind
from orchestrator.tables.template import Renderer

if TYPE_CHECKING:
    from orchestrator.ports.streams import Source

RULES = ParamRules(api_version="2026-10-21")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def recipe(prompt: str = "Classify: {{ text }}", **more: Any) -> Recipe:
    return Recipe(prompt=prompt, **{"model": "m", "max_tokens": 5, **more})


def source_of(path: Path, made: Recipe) -> RowSource:
    return RowSource(TableInput(paths=(str(path),)), made, RULES)


async def drained(source: Source) -> list[InputLine | InputProblem]:
    return [item async for chunk in source.chunks() for item in chunk]


def read(folder: Path, text: str, made: Recipe | None = None, name: str = "in.csv") -> list[InputLine | InputProblem]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return asyncio.run(drained(source_of(path, recipe() if made is None else made)))


def line(items: list[InputLine | InputProblem]) -> InputLine:
    (found,) = items
    assert isinstance(found, InputLine), found
    return found


def content(item: InputLine | InputProblem) -> Any:
    assert isinstance(item, InputLine), item
    return json.loads(item.params)["messages"][0]["content"]


def problem(items: list[InputLine | InputProblem]) -> str:
    (found,) = [item for item in items if isinstance(item, InputProblem)]
    return problem_line("in.csv", found)


def test_a_row_becomes_a_request_and_stays_with_it(tmp_path: Path) -> None:
    """The params have their keys in one order, whatever the order of the options."""
    made = recipe("Is it <good>? {{ text }}", system="Be {{ id }}", params={"z": 1, "a": [True]})
    found = line(read(tmp_path, "id,text\n007,a <b> & c\n", made))
    assert found.params == (
        b'{"model":"m","max_tokens":5,"a":[true],"z":1,"system":"Be 007",'
        b'"messages":[{"role":"user","content":"Is it <good>? a <b> & c"}]}'
    )
    assert (found.line, found.custom_id, found.row) == (2, "row-1", b'{"id":"007","text":"a <b> & c"}')


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("{{ a }}", "1"),
        ("{{ x }}!", "!"),
        ("{{ row['b c'] }}", "B"),
        ("{{ list | tojson }}", '[1,"<é>",null]'),
        ("{% for each in list if each %}{{ each }};{% endfor %}", "1;<é>;"),
        ("{{ d.e }}", "5"),
        ("{{ missing if missing is defined else 'none' }}", "none"),
        ("{{ text | upper }}", "T"),
        ('no column{{ "" }} at all', "no column at all"),
    ],
)
def test_what_a_template_can_say(tmp_path: Path, prompt: str, says: str) -> None:
    """Nothing is escaped, null is nothing, and a column of any name is in `row`."""
    row = {"a": 1, "x": None, "b c": "B", "list": [1, "<é>", None], "d": {"e": 5}, "text": "t"}
    assert content(line(read(tmp_path, json.dumps(row), recipe(prompt), "in.jsonl"))) == says


def test_a_prompt_that_names_no_column_is_refused(tmp_path: Path) -> None:
    """Braces of Python, or none: the same would be asked, and paid for, once a row. Images differ."""
    for prompt in ("Classify: {text}", "Classify"):
        with pytest.raises(UsageError, match="every row would ask the same") as caught:
            read(tmp_path, "id,text\n1,a\n", recipe(prompt))
        assert "{{ name }}" in str(caught.value.hint)
    asked = replace(recipe("Classify"), system="{{ text }}")
    assert content(line(read(tmp_path, "id,text\n1,a\n", asked))) == "Classify"
    Renderer(replace(recipe("What is it?"), image_columns=["text"]), RULES)


def test_rows_that_have_nothing_to_ask_about_are_noticed(tmp_path: Path) -> None:
    """They are asked all the same; where the template looks at the column, an empty one is meant."""
    path = tmp_path / "in.csv"
    path.write_text("text,note\na,\n,x\n ,\n", encoding="utf-8")
    for prompt, notices in (
        ("Classify: {{ text }}", ["2 rows where text is empty"]),
        ("Say: {{ text }}{% if note %} ({{ note }}){% endif %}", ["2 rows where text is empty"]),
        ("Say: {{ text | default('none', true) }} {{ note }}", ["2 rows where note is empty"]),
    ):
        source = source_of(path, recipe(prompt))
        assert len(asyncio.run(drained(source))) == 3
        assert source.notices == notices


def test_a_column_that_no_row_has_is_said_once(tmp_path: Path) -> None:
    """With the line and the columns that there are; nothing of the table is taken."""
    items = read(tmp_path, "id,text\n1,a\n2,b\n", recipe("{{ txt }}"))
    assert problem(items).rpartition("/")[2] == (
        "in.csv:2: txt: is no column, and the prompt uses it (line 2) (its columns are id, text)"
    )


def test_rows_with_columns_of_their_own_are_told_one_by_one(tmp_path: Path) -> None:
    """An object of JSON may lack what others have."""
    items = read(tmp_path, '{"text":"a"}\n{"txt":"b"}\n', name="in.jsonl")
    assert problem(items) == ("in.csv:2: text: is no column of this row, and the prompt uses it (its columns are txt)")
    assert content(items[0]) == "Classify: a"


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("{{ text", "the prompt is not a template that can be read, line 1"),
        ("\n{{ text | nope }}", "the prompt is not a template that can be read, line 2: filter nope is unknown"),
        ("{% include 'x' %}", "the prompt is not a template"),
        (" ", "the prompt is empty"),
    ],
)
def test_a_template_that_is_none_is_a_usage_error(tmp_path: Path, prompt: str, says: str) -> None:
    """It is not a problem of every row."""
    with pytest.raises(UsageError) as caught:
        read(tmp_path, "id,text\n1,a\n", recipe(prompt))
    assert says in caught.value.message
    assert caught.value.hint


def test_a_parameter_that_no_batch_takes_is_a_usage_error(tmp_path: Path) -> None:
    """Told before the first row, with what to do."""
    with pytest.raises(UsageError, match="temperature API version") as caught:
        read(tmp_path, "id,text\n1,a\n", recipe(params={"temperature": 0}))
    assert "--api-version 2023-06-01" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("{{ text }}", "in.csv:2: prompt: is empty for this row"),
        ("{{ text | int }}", "in.csv:2: prompt: cannot be made of this row: invalid"),
        ("x {{ text.y }}", "in.csv:2: text.y: is no column of this row"),
    ],
)
def test_a_row_that_does_not_suit_the_template_is_a_problem(tmp_path: Path, prompt: str, says: str) -> None:
    """The others are requests."""
    items = read(tmp_path, "id,text\n1, \n", recipe(prompt))
    assert problem(items).startswith(says)
    assert isinstance(items[0], InputProblem)
    assert items[0].raw == b'{"id":"1","text":" "}'


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('"007"', "007"),
        ("7", "7"),
        ('"1e3"', "1e3"),
        ('"é \\"x"', 'é "x'),
        ("12345678901234567890", "12345678901234567890"),
    ],
)
def test_ids_are_the_users_whatever_they_look_like(tmp_path: Path, value: str, told: str) -> None:
    """Text stays text, and whole numbers are written out."""
    found = line(read(tmp_path, f'{{"n":{value},"text":"a"}}', recipe(id_column="n"), "in.jsonl"))
    assert found.custom_id == told


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("null", "is null, which is no id"),
        ("1.5", "is 1.5, which is no id"),
        ("true", "is true, which is no id"),
        ('""', "is empty"),
        ('"a\\u0000"', "has a NUL character"),
    ],
)
def test_what_is_no_id_is_a_problem(tmp_path: Path, value: str, says: str) -> None:
    """By the same rule as in a file of requests."""
    assert says in problem(read(tmp_path, f'{{"n":{value},"text":"a"}}', recipe(id_column="n"), "in.jsonl"))


def test_an_id_column_that_is_not_there(tmp_path: Path) -> None:
    """Said once, with the columns that there are."""
    items = read(tmp_path, "id,text\n1,a\n2,b\n", recipe(id_column="key"))
    assert (
        problem(items).removeprefix(f"{tmp_path}/")
        == "in.csv:2: key: is no column (line 2) (the id column is one of id, text)"
    )


def test_files_are_named_by_their_paths(tmp_path: Path) -> None:
    """Below the folder; a folder may be inside."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/one.txt").write_text("first")
    found = line(asyncio.run(drained(source_of(tmp_path / "in", recipe("{{ path }}: {{ text }}")))))
    assert (found.custom_id, content(found)) == ("one.txt", "one.txt: first")


def test_an_image_is_read_with_its_row(tmp_path: Path) -> None:
    """Its path is relative to the table; the type is told by its bytes; the row keeps the path alone."""
    (tmp_path / "a.jpg").write_bytes(PNG)
    text = "id,photo,text\n1,a.jpg,what?\n2,https://example.com/x.png,and?\n"
    first, second = read(tmp_path, text, recipe(image_columns=("photo",)))
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
    assert content(first) == [{"type": "image", "source": source}, {"type": "text", "text": "Classify: what?"}]
    assert isinstance(first, InputLine)
    assert first.row == b'{"id":"1","photo":"a.jpg","text":"what?"}'
    assert content(second)[0]["source"] == {"type": "url", "url": "https://example.com/x.png"}


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("", "names no image"),
        ("~nosuch/x", "No such file"),
        ("missing.png", "No such file"),
        ("folder", "Is a directory"),
        ("pipe", "is no file"),
        ("text.png", "is not an image that the API takes"),
        ("large.png", "is larger than 7,864,320 bytes"),
        ("wide.png", "has 8,001 x 1 pixels"),
        ("http://example.com/x.png", "is no https address"),
    ],
)
def test_an_image_that_cannot_be_sent_is_a_problem(tmp_path: Path, named: str, says: str) -> None:
    """Of its row and column; nothing is waited for."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text.png").write_text("a text")
    (tmp_path / "large.png").write_bytes(PNG + bytes(8_000_000))
    (tmp_path / "wide.png").write_bytes(PNG[:16] + (8001).to_bytes(4) + (1).to_bytes(4) + PNG[24:])
    told = problem(read(tmp_path, f"photo,text\n{named},a\n", recipe(image_columns=("photo",))))
    assert told.startswith("in.csv:2: photo: ")
    assert says in told


def test_params_are_checked_like_those_of_any_request(tmp_path: Path) -> None:
    """What cannot fit a batch is told by its line."""
    path = tmp_path / "in.csv"
    path.write_text(f"text\n{'x' * 2000}\n")
    rules = ParamRules(api_version="2026-10-21", max_request_bytes=1000)
    items = asyncio.run(drained(RowSource(TableInput(paths=(str(path),)), recipe(), rules)))
    assert problem(items).startswith("in.csv:2: params: is 2,0")


def test_a_table_without_rows_is_refused_as_a_whole(tmp_path: Path) -> None:
    """Line 0: leaving lines out does not help."""
    (found,) = read(tmp_path, "id,text\n")
    assert isinstance(found, InputProblem)
    assert (found.line, found.message) == (0, "has a header and no rows")


def test_requests_of_the_apis_own_form_are_not_rows(tmp_path: Path) -> None:
    """Both forms are never mixed."""
    for name, text in (("in.jsonl", '{"custom_id":"1","params":{}}'), ("in.json", '[{"custom_id":"1","params":{}}]')):
        with pytest.raises(UsageError, match="the API's own form") as caught:
            read(tmp_path, text, name=name)
        assert "leave the template" in str(caught.value.hint)


def hash_of(path: Path, made: Recipe) -> str:
    source = source_of(path, made)
    with pytest.raises(RuntimeError):
        assert source.content_hash
    asyncio.run(drained(source))
    return source.content_hash


def test_the_same_rows_and_recipe_are_the_same_content(tmp_path: Path) -> None:
    """Promise 7: what would be another request, or has another row, is another job."""
    path = tmp_path / "in.csv"
    path.write_text("id,text\n1,a\n2,b\n")
    other = tmp_path / "other.csv"
    other.write_text("id;text\r\n1;a\r\n2;b\r\n")
    first = hash_of(path, recipe())
    assert first == hash_of(path, recipe()) == hash_of(other, recipe())
    others = [
        hash_of(path, recipe("{{ text }}")),
        hash_of(path, recipe(model="n")),
        hash_of(path, recipe(id_column="id")),
    ]
    path.write_text("id,text,more\n1,a,\n2,b,\n")
    assert len({first, *others, hash_of(path, recipe())}) == 5


def test_content_is_that_of_the_lines_that_it_stands_for(tmp_path: Path) -> None:
    """Another face that renders the same rows finds the same job."""
    import hashlib

    path = tmp_path / "in.csv"
    path.write_text("id,text\n1,a\n2,b\n")
    lines = b"".join(
        b'{"custom_id":%b,"params":%b,"row":%b}\n' % (msgspec.json.encode(item.custom_id), item.params, item.row)
        for item in asyncio.run(drained(source_of(path, recipe())))
        if isinstance(item, InputLine)
    )
    assert hash_of(path, recipe()) == hashlib.sha256(lines).hexdigest()


def test_rows_are_requests_as_a_file_of_requests_has_them(tmp_path: Path) -> None:
    """The params are those that the same request would have, byte for byte."""
    found = line(read(tmp_path, "text\nhow?\n"))
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"custom_id":"row-1","params":%b}\n' % found.params)
    same = line(asyncio.run(drained(open_source(path, rules=RULES, max_line_bytes=1000))))
    assert (same.custom_id, same.params) == (found.custom_id, found.params)


def test_standard_input_has_a_name_and_no_folder() -> None:
    """Images are then relative to where the command was given."""
    given = TableInput(paths=("-",), kind=TableKind.CSV)
    assert (given.name, given.folder) == ("<stdin>", Path())
