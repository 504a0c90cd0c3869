"""What makes the params of a request out of a row: a template in the language of Jinja, and what goes with it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import some
from orchestrator.domain.params import problems_in
from orchestrator.tables.row_values import FUNCTIONS, Missing, NamesUsed, all_shown, shown

if TYPE_CHECKING:
    from minijinja import TemplateError

    from orchestrator.domain.answer_schema import AnswerSchema
    from orchestrator.domain.params import ParamRules
    from orchestrator.domain.table_spec import Recipe

#: Mistakes in the template, whatever the row.
_BAD_TEMPLATE: Final = frozenset(
    {"SyntaxError", "UnknownFilter", "UnknownTest", "UnknownFunction", "TemplateNotFound", "BadInclude", "EvalBlock"}
)
_MARKS: Final = ("{{", "{%", "{#")
_NO_COLUMN: Final = 'write columns as {{ name }}; to ask the same of every row all the same, write {{ "" }} in it'
_PRINTED: Final = re.compile(r"\{\{[-+]?\s*(\w+)\s*[-+]?\}\}")
_STATEMENT: Final = re.compile(r"\{%.*?%\}", re.DOTALL)
_UNDEFINED: Final = re.compile(r"`([^`]+)` is undefined")
_SHOWN_CHARS: Final = 300
#: Of one text, printed out of a row: over what any request may have.
_MOST_CHARS: Final = 64 << 20
#: The engine takes some ten million a second: about five for a round of a loop, and one for every 64 bytes of text.
_MOST_STEPS: Final = 5_000_000

_encode: Final = msgspec.json.Encoder().encode
_decode_config: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode


class RowRefused(Exception):
    """No request can be made of a row; is_unknown: as *field* is a column that it does not have."""

    def __init__(self, field: str, message: str, remedy: str, *, is_unknown: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.remedy = remedy
        self.is_unknown = is_unknown


class Renderer:
    """Makes params of rows by a recipe; the same row gives the same bytes, with the keys in one order.

    Raises UsageError for a template that is none, and for params that no batch takes, whatever the row.
    """

    def __init__(self, recipe: Recipe, rules: ParamRules) -> None:
        self._prompt = _Text("prompt", recipe.prompt)
        self._system = None if recipe.system is None else _Text("system", recipe.system)
        self._texts = [text for text in (self._prompt, self._system) if text is not None]
        if not recipe.image_columns and not any(text.is_template for text in self._texts):
            raise UsageError("the prompt names no column: every row would ask the same", hint=_NO_COLUMN)
        params = recipe.params if recipe.schema is None else _with_format(recipe.params, recipe.schema)
        more = {key: params[key] for key in sorted(params)}
        self._head = _encode({"model": recipe.model, "max_tokens": recipe.max_tokens, **more})[:-1]
        self._refuse_params(rules)
        #: The columns that stand in a text as they are.
        self.printed = sorted({name for text in self._texts for name in text.printed})

    def params(self, values: Mapping[str, Any], images: Sequence[bytes] = ()) -> bytes:
        """The params of one request; *images*: content blocks, which come before the text. Raises RowRefused."""
        prompt = _encode(self._prompt.of(values))
        content = prompt
        if images:
            content = b'[%b,{"type":"text","text":%b}]' % (b",".join(images), prompt)
        system = b"" if self._system is None else b',"system":%b' % _encode(self._system.of(values))
        return b'%b%b,"messages":[{"role":"user","content":%b}]}' % (self._head, system, content)

    def refuse_unknown(self, columns: Sequence[str]) -> None:
        """Raise RowRefused if a template uses a column that is none of *columns*, which all rows have."""
        for text in self._texts:
            text.refuse_unknown(columns)

    def _refuse_params(self, rules: ParamRules) -> None:
        probe = b'%b,"messages":[{"role":"user","content":"?"}]}' % self._head
        for found in problems_in(probe, rules):
            name = found.field.removeprefix("params.")
            raise UsageError(f"{name} {found.message}", hint=found.remedy)


def _with_format(params: Mapping[str, Any], schema: AnswerSchema) -> dict[str, Any]:
    """*params* that ask for answers of *schema*. Raises UsageError if they ask for a format already."""
    given = _encode(params.get("output_config"))
    try:
        config = _decode_config(given) or {}
    except msgspec.DecodeError as exc:
        raise UsageError("output_config is no object", hint='write {"effort": "low"}, or leave it out') from exc
    if "format" in config:
        hint = "leave the schema out, or the format in output_config"
        raise UsageError("output_config has a format, and a schema is given: answers have one form", hint=hint)
    return {**params, "output_config": config | {"format": schema.format}}


class _Text:
    """One text of a request. *called*: what it is, for people."""

    def __init__(self, called: str, source: str) -> None:
        self._called = called
        self._source = source
        self.is_template = any(mark in source for mark in _MARKS)
        #: Columns that are printed as they are, whatever the row: of what a statement names the template may take care.
        in_statements = " ".join(_STATEMENT.findall(source))
        self.printed = {name for name in _PRINTED.findall(source) if not re.search(rf"\b{name}\b", in_statements)}
        self._missed: list[str] = []
        self._chars = 0  # printed so far
        if self.is_template:
            self._compile()
        elif not source.strip():
            raise UsageError(f"the {called} is empty", hint="write a text with the columns in it, such as {{ text }}")

    def of(self, values: Mapping[str, Any]) -> str:
        """The text for a row. Raises RowRefused, and UsageError for what is wrong with every row."""
        if not self.is_template:
            return self._source
        self._missed.clear()
        self._chars = 0
        try:
            text: str = self._environment.render_template("", **self._context(values))
        except (MemoryError, _TooLong):
            message = f"is longer than {_MOST_CHARS:,} characters for this row"
            raise RowRefused(self._called, message, "look for a loop in the template that prints too much") from None
        except Exception as exc:  # of a filter or a method, whatever it raises: the text cannot be made of this row
            raise self._refused(exc, values) from exc
        if self._missed:
            raise self._unknown(self._missed[0], values)
        if not text or text.isspace():
            remedy = "the API takes no empty text: mend the row, or leave it out"
            raise RowRefused(self._called, "is empty for this row", remedy)
        return text

    def refuse_unknown(self, columns: Sequence[str]) -> None:
        """Raise RowRefused for a name that is none of *columns*."""
        if self.is_template:
            used = self._names.columns if "row" in columns else self._names.columns | self._names.of_row
            for name in sorted(used.difference(columns)):
                raise self._unknown(name, columns)

    def _context(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the template gets: the row's values, and something that notes its use for each that it lacks."""
        names = self._names
        note = self._note if names.has_noted_members else None
        context = all_shown(values, note)
        for name in names.columns:
            if name not in context:
                if name in names.compared:
                    self._note(name)
                context[name] = Missing(name, self._note)
        if names.takes_row and "row" not in values:
            context["row"] = shown(values, note)
        return context

    def _note(self, name: str) -> None:
        if name.rpartition(".")[2] not in self._names.guarded:
            self._missed.append(name)

    def _compile(self) -> None:
        from minijinja import Environment, TemplateError  # with the first template: it takes a while to load

        self._error: type[TemplateError] = TemplateError
        self._environment = Environment(
            undefined_behavior="strict",
            auto_escape_callback=lambda _name: False,
            finalizer=self._printed,
            filters={"tojson": _to_json},
            fuel=_MOST_STEPS,
        )
        for name in self._environment.globals.keys() - FUNCTIONS:
            self._environment.remove_global(name)
        try:
            self._environment.add_template("", self._source)
            names, paths = (self._environment.undeclared_variables_in_template("", nested) for nested in (False, True))
            self._names = NamesUsed(self._source, names, paths)
        except TemplateError as exc:
            raise self._bad(exc) from exc

    def _bad(self, exc: TemplateError) -> UsageError:
        where = "" if exc.line is None else f", line {exc.line}"
        return UsageError(
            f"the {self._called} is not a template that can be read{where}: {_detail(exc)}",
            hint="write columns as {{ name }}; a brace that is meant as such is {{ '{{' }}",
        )

    def _printed(self, value: object) -> object:
        """What stands in the text: nothing for null. Raises _TooLong, and TypeError for what is no value."""
        if value is None:
            return ""
        if isinstance(value, str):
            self._chars += len(value)
        elif callable(value):
            raise TypeError("a method is not called: write () behind it")
        else:
            self._chars += len(str(value))
        if self._chars > _MOST_CHARS:
            raise _TooLong
        return value

    def _refused(self, exc: Exception, values: Mapping[str, Any]) -> Exception:
        own = exc if isinstance(exc, self._error) else None
        kind = "" if own is None else own.kind
        if own is not None and kind in _BAD_TEMPLATE:
            return self._bad(own)
        if self._missed:
            return self._unknown(self._missed[0], values)
        if kind == "OutOfFuel":
            remedy = "look for a loop in the template that does not end soon"
            return RowRefused(self._called, "takes too many steps to make of this row", remedy)
        detail = f"{type(exc).__name__}: {exc}"[:_SHOWN_CHARS] if own is None else _detail(own)
        found = _UNDEFINED.search(detail)
        if found is None:
            absent = sorted(self._names.columns.difference(values))  # what it was used for has failed
            if absent:
                return self._unknown(absent[0], values)
            return RowRefused(self._called, f"cannot be made of this row: {detail}", "mend the row or the text")
        return self._unknown(found[1], values)

    def _unknown(self, name: str, columns: Collection[str]) -> RowRefused:
        head, *members = re.split(r"[.\[]", name.removeprefix("row."))
        return RowRefused(
            name,
            f"is no column of this row, and the {self._called} uses it",
            f"its columns are {some(list(columns))}",
            is_unknown=head not in columns and (not members or head in self._names.columns),
        )


class _TooLong(Exception):
    """More was printed than a request may have."""


def _detail(exc: TemplateError) -> str:
    detail = exc.message if exc.detail is None else exc.detail
    return detail if len(detail) <= _SHOWN_CHARS else f"{detail[:_SHOWN_CHARS]}…"


def _to_json(value: object, indent: int = 0) -> str:
    """JSON as a model should read it: minijinja's own has `<` as an escape, for HTML."""
    text = _encode(value)
    return (msgspec.json.format(text, indent=indent) if indent else text).decode()
