"""The options that make requests of rows: a template, what goes with it, and how the table is read."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestrator.cli.console import near_path
from orchestrator.cli.group import HintedUsageError
from orchestrator.domain.errors import UsageError
from orchestrator.domain.foreign_forms import CALLED, LineForm
from orchestrator.domain.humanize import plain
from orchestrator.domain.table_spec import (
    FORMATS,
    ROW_OPTIONS,
    RowOptions,
    TableKind,
    one_delimiter,
    params_of,
    refuse_delimiter,
)

if TYPE_CHECKING:
    from orchestrator.config import Settings
    from orchestrator.domain.answer_schema import AnswerSchema
    from orchestrator.domain.params import ParamRules
    from orchestrator.tables import RowSource, TableInput

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
_EXAMPLE: Final = "-p 'Classify: {{ text }}' -m MODEL"
_MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class SchemaChoice:
    """The schema of the answers; *given*: how it was said. A file is read once, as it may be a pipe."""

    given: str
    schema: AnswerSchema

    def __str__(self) -> str:
        return self.given


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What the command line says of rows: each of `ROW_OPTIONS`, the template in a file, the schema of the answers."""

    prompt: str | None = None
    prompt_file: str | None = None
    system: str | None = None
    model: str | None = None
    max_tokens: int | None = None
    params: tuple[str, ...] = ()
    schema: SchemaChoice | None = None
    images: tuple[str, ...] = ()
    id_column: str | None = None
    format: str | None = None
    delimiter: str | None = None

    @property
    def has_template(self) -> bool:
        """True if requests are made of rows."""
        return self.prompt is not None or self.prompt_file is not None

    def refuse_unfit(self, paths: tuple[str, ...]) -> None:
        """Raise a usage error for options that do not go together, or not with what is at *paths*."""
        from orchestrator.tables import foreign_form, holds_rows

        self._refuse_other_encodings()
        if self.prompt is not None and self.prompt_file is not None:
            raise HintedUsageError("--prompt and --prompt-file exclude each other", hint="give one of them")
        if self.has_template:
            return
        given = self._given(paths)
        shown, form = plain(near_path(given.name)), foreign_form(given)
        if form in {LineForm.OPENAI_BATCH, LineForm.BEDROCK_BATCH, LineForm.CHAT_ROW}:
            convert = f"orchestrator convert {shlex.quote(shown)} -m MODEL -o requests.jsonl"
            raise HintedUsageError(f"{shown} is {CALLED[form]}", hint=f"`{convert}` makes requests of it")
        what = holds_rows(given)
        if what is not None:
            verb = "is" if len(paths) == 1 else "are"
            hint = "with -p '{{ prompt }}' -m MODEL" if form is LineForm.PROMPT_ROW else f"with {_EXAMPLE}"
            raise HintedUsageError(f"{shown} {verb} {what}: say what to ask of each row", hint=hint)
        used = [flag for flag, value in self._flags() if flag != "--format" and value]
        if used:
            verb = "needs" if len(used) == 1 else "need"
            hint = f"make requests of rows with {_EXAMPLE}; requests of the API's own form are sent as they are"
            if self.schema is not None:
                hint += ", with their schema in params.output_config.format"
            raise HintedUsageError(f"{', '.join(used)} {verb} a template", hint=hint)

    def source(self, paths: tuple[str, ...], settings: Settings, rules: ParamRules) -> RowSource:
        """The requests made of the rows; nothing is read yet. Raises a usage error for a template that is none."""
        from orchestrator.tables import RowSource

        defaults = settings.defaults
        schema = None if self.schema is None else self.schema.schema
        recipe = self._said().recipe(
            model=defaults.model, max_tokens=defaults.max_tokens, system=defaults.system, schema=schema
        )
        return RowSource(self._given(paths), recipe, rules)

    def _refuse_other_encodings(self) -> None:
        """Raise for bytes of the command line that are not UTF-8; paths may have them."""
        for flag, value in self._flags():
            is_path = flag == "--prompt-file" or (flag == "--system" and value is not None and value.startswith("@"))
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str) and not is_path and any("\ud800" <= each <= "\udfff" for each in text):
                    raise HintedUsageError(f"{flag} is not UTF-8", hint="write it in UTF-8, or put it into a file")

    def words(self) -> Iterator[str]:
        """The options as they can be given again."""
        for flag, value in self._flags():
            for each in value if isinstance(value, tuple) else (value,):
                if each is not None:
                    yield f"{flag}={each}"

    def _flags(self) -> Iterator[tuple[str, Any]]:
        for each in fields(self):
            yield _FLAGS[each.name], getattr(self, each.name)

    def _given(self, paths: tuple[str, ...]) -> TableInput:
        from orchestrator.tables import TableInput, told_kind

        kind = None if self.format is None else TableKind(self.format)
        given = TableInput(paths=paths, kind=kind, delimiter=self.delimiter)
        if self.has_template and self.delimiter is not None:
            refuse_delimiter(told_kind(given), self.delimiter, "--delimiter")
        return given

    def _said(self) -> RowOptions:
        """The same without a file or a flag: the texts of the files, and values."""
        of_flags = {name: getattr(self, name) for name in ROW_OPTIONS}
        if self.prompt_file is not None:
            of_flags["prompt"] = _content("--prompt-file", self.prompt_file)
        if self.system is not None:
            of_flags["system"] = _text_or_file(self.system)
        return RowOptions(**of_flags | {"params": params_of(self.params, "--param")})


def _delimiter(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    try:
        return one_delimiter(value)
    except UsageError as exc:
        raise click.BadParameter(str(exc.hint)) from exc


def _flag(field: str) -> str:
    return f"--{field if field == 'prompt' else ROW_OPTIONS[field].param}".replace("_", "-")


def _option(field: str, short: str = "", note: str = "", **more: Any) -> Callable[[F], F]:  # noqa: ANN401 - click's own
    """The flag of one option, with its line of help and *note* behind it."""
    option = ROW_OPTIONS[field]
    if option.schema["type"] == "integer":
        more["type"] = click.IntRange(option.schema["minimum"])
    flags = (short, _flag(field)) if short else (_flag(field),)
    return click.option(*flags, field, multiple=option.is_list, help=f"{option.help}{note}", **more)


def _schema(_ctx: click.Context, _param: click.Parameter, value: str | None) -> SchemaChoice | None:
    """The schema that was given: @FILE, or what looks like a path, is read; else it is JSON, or a few words."""
    if value is None:
        return None
    from orchestrator.domain.answer_schema import AnswerSchema

    path = value.removeprefix("@") if is_path(value) else None
    text = value if path is None else _content("--schema", path)
    try:
        return SchemaChoice(value, AnswerSchema.read(text))
    except UsageError as exc:
        place = "--schema" if path is None else f"--schema {plain(path)}"
        raise UsageError(f"{place}: {exc.message}", cause=exc.cause, hint=exc.hint) from exc


def is_path(value: str) -> bool:
    """True for @FILE, x.json and folder/x: whether there is such a file does not matter."""
    if value.startswith("@"):
        return True
    return not set(value) & set(":,\n{") and (value.endswith(".json") or "/" in value)


_FLAGS: Final[Mapping[str, str]] = {
    "prompt_file": "--prompt-file",
    "schema": "--schema",
    **{field: _flag(field) for field in ROW_OPTIONS},
}
_OPTIONS: Final = (
    _option("prompt", "-p", metavar="TEXT"),
    click.option("--prompt-file", metavar="FILE", help="The same, with the template in a file."),
    _option("system", note=" @FILE is read.", metavar="TEXT"),
    _option("model", "-m", note="  [config: [defaults] model]", metavar="MODEL"),
    _option("max_tokens", note="  [config: [defaults] max_tokens, 1024]"),
    _option("params", metavar="KEY=JSON"),
    click.option(
        "--schema",
        metavar="FILE|TEXT",
        callback=_schema,
        help="What answers look like: a JSON Schema, or words such as 'label, score float, why?'.",
    ),
    _option("images", note=" Paths or https addresses.", metavar="COLUMN"),
    _option("id_column", metavar="COLUMN"),
    _option("format", type=click.Choice(FORMATS)),
    _option("delimiter", metavar="CHAR", callback=_delimiter),
)


def with_table_options(function: Callable[..., R]) -> Callable[..., R]:
    """*function* with the options for rows, which it gets as `table`."""

    @functools.wraps(function)
    def with_options(*args: Any, **given: Any) -> R:  # noqa: ANN401 - what click hands over, by option
        chosen = {field: given.pop(field) for field in _FLAGS}
        return function(*args, table=TableOptions(**chosen), **given)

    wrapped: Callable[..., R] = with_options
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _text_or_file(text: str) -> str:
    return _content("--system", text[1:]) if text.startswith("@") else text


def _content(flag: str, path: str) -> str:
    """The text of a file, without a line feed at its end. Raises HintedUsageError."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise HintedUsageError(f"{flag} {plain(path)} is larger than 16 MiB", hint="is it a prompt?")
        return data.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except OSError as exc:
        from orchestrator.inputs import path_hint

        raise HintedUsageError(f"{flag}: cannot read {plain(path)}: {exc.strerror}", hint=path_hint(path)) from exc
    except UnicodeDecodeError as exc:
        raise HintedUsageError(f"{flag} {plain(path)} is not UTF-8", hint="save it as UTF-8") from exc
