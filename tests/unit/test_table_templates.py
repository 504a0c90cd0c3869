"""What a template may see of a row, and what stops one: a name that is not there, methods, loops without end."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator.domain.answer_schema import AnswerSchema
from orchestrator.domain.errors import UsageError
from orchestrator.domain.params import ParamRules
from orchestrator.domain.table_spec import params_of
from orchestrator.ports.streams import InputProblem
from orchestrator.tables import Recipe, RowSource, TableInput
from orchestrator.tables.template import Renderer, RowRefused

RULES = ParamRules(api_version="2026-10-21")
ROW = {"a": 1, "t": "text", "d": {"b": 2, "values": 3}, "l": [1, {"k": "v"}], "n": None}

#: A template that is the same for every row.
ANY: Final = '{{ "x" }}'


def said(prompt: str, row: dict[str, Any] = ROW) -> str:
    params = Renderer(Recipe(prompt=prompt, model="m", max_tokens=5), RULES).params(row)
    content: str = json.loads(params)["messages"][0]["content"]
    return content


def refused(prompt: str, row: dict[str, Any] = ROW) -> RowRefused:
    with pytest.raises(RowRefused) as caught:
        said(prompt, row)
    return caught.value


@pytest.mark.parametrize(
    "use",
    [
        *("x | tojson", "[x]", '{"a": x}', "x | length", "x | pprint", "x | e", "x | urlencode", "x | indent"),
        *("x == 1", "1 != x", "'a' if x", "x ~ 1", "[x] | tojson", "x | join", "x | list"),
    ],
)
@pytest.mark.parametrize("name", ["typo", "row.typo", "row['typo']", "range", "debug", "row.values", "row.get"])
def test_a_column_that_is_not_there_is_never_nothing(use: str, name: str) -> None:
    """Whatever is done with it; functions of the engine and methods of Python do not stand in for one."""
    found = refused(f"{{{{ {re.sub('x(?![a-z])', name, use)} }}}}")
    assert found.field == name.removeprefix("row.").removeprefix("row['").removesuffix("']")
    assert found.message == "is no column of this row, and the prompt uses it"
    assert found.remedy == "its columns are a, t, d, l, n"
    assert found.is_unknown


@pytest.mark.parametrize("use", ["d.typo | tojson", "[d.typo]", "d.typo", "d.typo | length"])
def test_a_member_that_is_not_there(use: str) -> None:
    """It is named with its column; that may be so in this row alone."""
    found = refused(f"{{{{ {use} }}}}")
    assert (found.field, found.is_unknown) == ("d.typo", False)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("{{ typo | default('x') }}{{ row.typo | d('y') }}{{ row['a b'] | default('z') }}", "xyz"),
        ("{{ d.typo is defined }} {{ typo is not defined }}", "False True"),
        ("{% if 'typo' in row %}y{% else %}n{% endif %}", "n"),
        ("{% set k = 'typo' %}{% if k in row %}y{% else %}n{% endif %}", "n"),
        ("{% if a == 2 %}{{ typo }}{% else %}one{% endif %}", "one"),
        ("{% for k, v in d.items() %}{{ k }}{{ v }}{% endfor %}{{ d.keys() }}", "b2values3['b', 'values']"),
        ("{{ row.get('typo', 'x') }}{{ d.values }}{{ l }}", "x3[1, {'k': 'v'}]"),
        ("{{ d | tojson }}{{ l | tojson }}", '{"b":2,"values":3}[1,{"k":"v"}]'),
        ("{% for i in range(3) %}{{ loop.index }}{% endfor %}", "123"),
        ("{% set ns = namespace(x=1) %}{% for i in l %}{% set ns.x = ns.x + 1 %}{% endfor %}{{ ns.x }}", "3"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(t) }}{% raw %}{{ typo }}{% endraw %}", "<text>{{ typo }}"),
    ],
)
def test_what_asks_whether_a_value_is_there_may(prompt: str, says: str) -> None:
    """And what else is of use in prompts."""
    assert said(prompt) == says


def test_a_column_comes_before_a_function_of_its_name() -> None:
    """Such as `range`, and `row` itself."""
    assert said("{{ range }} {{ row }} {{ debug }}", {"range": "a", "row": "b", "debug": "c"}) == "a b c"


@pytest.mark.parametrize(
    "use", ["l.append", "[l.append] | tojson", "l.append(1)", "t | tojson('a')", "d.pop('x')", "l | sum"]
)
def test_what_cannot_be_done_is_a_problem_of_the_row(use: str) -> None:
    """Whatever a filter or a method raises; no address of an object is ever sent."""
    if use.startswith("["):
        assert said(f"{{{{ {use} }}}}") == "[null]"
        return
    assert refused(f"{{{{ {use} }}}}").remedy


@pytest.mark.parametrize(
    "prompt",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}" + "y" * 100_000 + "{% endfor %}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ t | indent(1000000000) }}",
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    ],
    ids=["steps", "text", "times", "indent", "doubled"],
)
def test_a_template_that_does_not_end_is_stopped(prompt: str) -> None:
    """With a hint at the loop, and before it takes the memory."""
    found = refused(prompt)
    assert found.message == "takes too many steps to make of this row"
    assert "loop" in found.remedy


def test_a_template_that_prints_too_much_is_stopped() -> None:
    """Of few steps, each of a large column."""
    found = refused("{% for i in range(2000) %}{{ t }}{% endfor %}", {"t": "x" * 100_000})
    assert found.message == "is longer than 67,108,864 characters for this row"


def test_large_prompts_are_made() -> None:
    """The bounds are far from what anybody means: a thousand rounds over a row of a megabyte."""
    row = {"items": [{"text": "word " * 200}] * 1000}
    text = said("y" * 100_000 + "{% for each in items %}{{ loop.index }}: {{ each.text | trim }}\n{% endfor %}", row)
    assert len(text) > 1_000_000


@pytest.mark.parametrize("prompt", ["{% if id == '2' %}{{ typo }}{% endif %}", "{{ row.typo }}", "{{ typo | tojson }}"])
def test_a_fault_of_the_whole_template_is_said_once(tmp_path: Path, prompt: str) -> None:
    """Where all rows have the same columns, before the first of them is taken."""
    path = tmp_path / "in.csv"
    path.write_text("id,text\n1,a\n2,b\n")

    async def read() -> list[object]:
        source = RowSource(TableInput(paths=(str(path),)), Recipe(prompt=prompt, model="m", max_tokens=5), RULES)
        return [item async for chunk in source.chunks() for item in chunk]

    (found,) = asyncio.run(read())
    assert isinstance(found, InputProblem)
    assert (found.line, found.field) == (0, "typo")


def test_a_parameter_keeps_its_digits() -> None:
    """As it was given, without the white space."""
    more = params_of(("a=123456789012345678901234567890", 'b={"c": [1.50,\n2]}'))
    params = Renderer(Recipe(prompt=ANY, model="m", max_tokens=5, params=more), RULES).params({})
    assert b'"a":123456789012345678901234567890,"b":{"c":[1.50,2]}' in params


def test_a_schema_goes_beside_what_else_is_said_of_the_output() -> None:
    """The effort is the user's; a format of his own and a schema are two answers to one question."""
    schema = AnswerSchema.read("label")

    def rendered(*params: str) -> bytes:
        recipe = Recipe(prompt=ANY, model="m", max_tokens=5, params=params_of(params), schema=schema)
        return Renderer(recipe, RULES).params({})

    wanted = b'"format":{"type":"json_schema","schema":%b}}' % schema.text.encode()
    assert b'"output_config":{%b' % wanted in rendered()
    assert b'"output_config":{"effort":"low",%b' % wanted in rendered('output_config={"effort":"low"}')
    with pytest.raises(UsageError, match="output_config has a format, and a schema is given"):
        rendered('output_config={"format":{"type":"json_schema"}}')
    with pytest.raises(UsageError, match="output_config is no object"):
        rendered("output_config=[]")


def test_an_id_column_that_is_not_there_lists_a_few(tmp_path: Path) -> None:
    """A table may have hundreds."""
    path = tmp_path / "in.csv"
    path.write_text(f"{','.join(f'c{number}' for number in range(100))}\n{',' * 99}\n")

    async def read() -> list[object]:
        recipe = Recipe(prompt=ANY, model="m", max_tokens=5, id_column="nope")
        source = RowSource(TableInput(paths=(str(path),)), recipe, RULES)
        return [item async for chunk in source.chunks() for item in chunk]

    (found,) = asyncio.run(read())
    assert isinstance(found, InputProblem)
    assert found.remedy.endswith("more")
    assert len(found.remedy) < 100
