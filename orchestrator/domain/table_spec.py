"""The options that make requests of the rows of a table: what each one means, once for every face.

A face turns its own words (flags, form fields, keywords) into `RowOptions`, which make a `Recipe`. A new option is one
field of `RowOptions`, one row of `ROW_OPTIONS`, and a line in each face: `cli/table_options.py`,
`client/submission.py`, `http_api/api/job_upload.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import plain

if TYPE_CHECKING:
    from orchestrator.domain.answer_schema import AnswerSchema


class TableKind(StrEnum):
    """How rows are written. FILES: each file is one, or each text of a folder."""

    CSV = "csv"
    TSV = "tsv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    TXT = "txt"
    FILES = "files"


#: What a person may say: a folder is told by itself.
FORMATS: Final = tuple(kind.value for kind in TableKind if kind is not TableKind.FILES)
_ENDINGS: Final[Mapping[str, TableKind]] = MappingProxyType(
    {
        ".csv": TableKind.CSV,
        ".tsv": TableKind.TSV,
        ".tab": TableKind.TSV,
        ".json": TableKind.JSON,
        ".jsonl": TableKind.JSONL,
        ".ndjson": TableKind.JSONL,
        ".parquet": TableKind.PARQUET,
        ".txt": TableKind.TXT,
    }
)
#: The media types of bodies that are tables, and of lines that may be rows.
MEDIA_TYPES: Final[Mapping[str, TableKind]] = MappingProxyType(
    {
        "text/csv": TableKind.CSV,
        "text/tab-separated-values": TableKind.TSV,
        "application/vnd.apache.parquet": TableKind.PARQUET,
    }
)
#: A JSON object with one of these is meant as a request, of ours or of others.
OF_REQUESTS: Final = frozenset({"custom_id", "params", "method", "url", "body", "requests"})
#: What is rows, whatever is in it, and no requests.
TABLES: Final = frozenset(MEDIA_TYPES.values())
#: What the options set, and further parameters do not.
OWN_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {"model": "model", "max_tokens": "max_tokens", "system": "system", "messages": "prompt"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOption:
    """One option. param: its name as a query parameter and a form field; help: what it does; schema: JSON Schema."""

    param: str
    help: str
    schema: Mapping[str, Any]

    @property
    def is_list(self) -> bool:
        """It may come several times."""
        return bool(self.schema["type"] == "array")


_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_COUNT: Final = {"type": "integer", "minimum": 1}
#: By the field of `RowOptions`.
ROW_OPTIONS: Final[Mapping[str, RowOption]] = MappingProxyType(
    {
        "prompt": RowOption(
            param="template", help="Make a request of each row: {{ column }} is its value.", schema=_TEXT
        ),
        "system": RowOption(param="system", help="The system prompt, a template too.", schema=_TEXT),
        "model": RowOption(param="model", help="The model to ask.", schema=_TEXT),
        "max_tokens": RowOption(param="max_tokens", help="Where an answer is cut.", schema=_COUNT),
        "params": RowOption(param="param", help="One more parameter, KEY=JSON; may be repeated.", schema=_TEXTS),
        "images": RowOption(param="image", help="A column of images; may be repeated.", schema=_TEXTS),
        "id_column": RowOption(
            param="id_column",
            help="The column of custom_ids; without it they are row-1, row-2 and so on.",
            schema=_TEXT,
        ),
        "format": RowOption(
            param="format", help="What the table is, if its name does not tell.", schema={**_TEXT, "enum": FORMATS}
        ),
        "delimiter": RowOption(
            param="delimiter",
            help="Between cells of CSV, if not told rightly: one character, or tab.",
            schema={**_TEXT, "maxLength": 3},
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a request is made of a row. prompt, system: templates. params: more parameters. schema: of the answers.

    id_column: whose value is the request's `custom_id`; None: `row-1`, `row-2`, … image_columns: each the path of an
    image, or its address.
    """

    prompt: str
    model: str
    max_tokens: int
    system: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    schema: AnswerSchema | None = None
    id_column: str | None = None
    image_columns: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """What was said of rows and of the requests that they become; None, or empty: nothing was.

    params: JSON values by name. delimiter: one character. most: so many rows are read, for a preview.
    """

    prompt: str | None = None
    system: str | None = None
    model: str | None = None
    max_tokens: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[str] = ()
    id_column: str | None = None
    most: int | None = None
    format: TableKind | None = None
    delimiter: str | None = None

    def used(self) -> Iterator[str]:
        """The fields of which something was said."""
        return (each.name for each in fields(self) if getattr(self, each.name) not in (None, (), {}))

    def recipe(
        self, *, model: str | None, max_tokens: int, system: str | None, schema: AnswerSchema | None = None
    ) -> Recipe:
        """How requests are made of rows that ask for answers of *schema*. Raises UsageError.

        *model*, *max_tokens* and *system* apply where nothing was said.
        """
        chosen = model if self.model is None else self.model
        if chosen is None:
            hint = "say model (-m MODEL at the command line), or set [defaults] model in the config"
            raise UsageError("which model to ask is not said", hint=hint)
        return Recipe(
            prompt="" if self.prompt is None else self.prompt,
            model=chosen,
            max_tokens=max_tokens if self.max_tokens is None else self.max_tokens,
            system=(system if self.system is None else self.system) or None,
            params=self.params,
            schema=schema,
            id_column=self.id_column,
            image_columns=tuple(self.images),
        )


def kind_by_name(path: str) -> TableKind | None:
    """The kind that the ending of a file's name tells, packed or not; None if it tells none."""
    name = PurePath(path).name.lower()
    for ending in (".gz", ".zst"):
        name = name.removesuffix(ending)
    return _ENDINGS.get(PurePath(name).suffix)


def refuse_untold(name: str, kind: TableKind | None, hint: str) -> None:
    """Raise UsageError for what is called *name*, and has no template, if it is a table whatever is in it."""
    told = kind or kind_by_name(name)
    if told in TABLES:
        raise UsageError(f"{plain(name)} is a table ({told}), and no template is given", hint=hint)


def refuse_delimiter(kind: TableKind | None, delimiter: str | None, called: str = "delimiter") -> None:
    """Raise UsageError for a delimiter of what has none: *kind*; None: the rows of a program."""
    if delimiter is not None and kind not in {TableKind.CSV, TableKind.TSV}:
        raise UsageError(f"{called} is for CSV and TSV", hint="leave it out, or say that the format is csv")


def read_options(said: Mapping[str, Any], *, prompt: str, hint: str) -> RowOptions | None:
    """What was said, by the field of `RowOptions`, with texts for params; None without a prompt.

    *prompt*: what the face calls that. Raises UsageError for options without it, with *hint*, and for wrong values.
    """
    given = {name: value for name, value in said.items() if value is not None and value != []}
    if "prompt" not in given:
        if given:
            names = ", ".join(ROW_OPTIONS[name].param for name in given)
            raise UsageError(f"{names} {'needs' if len(given) == 1 else 'need'} a {prompt}", hint=hint)
        return None
    if given.get("max_tokens", 1) < 1:
        raise UsageError(f"max_tokens is {given['max_tokens']}", hint="max_tokens is 1 or more")
    if "format" in given:
        if given["format"] not in FORMATS:
            raise UsageError(f"there is no format {given['format']!r}", hint=f"format is one of {', '.join(FORMATS)}")
        given["format"] = TableKind(given["format"])
    if not isinstance(given.get("params", {}), Mapping):
        given["params"] = params_of(given["params"])
    return RowOptions(**given | {"delimiter": one_delimiter(given.get("delimiter"))})


def one_delimiter(text: str | None) -> str | None:
    """The character that *text* means. Raises UsageError for none, or several."""
    told = {"tab": "\t", r"\t": "\t"}.get(text or "", text)
    if told is not None and (len(told) != 1 or told in '"\r\n'):
        raise UsageError("the delimiter cannot be used", hint="a delimiter is one character, or tab")
    return told


def params_of(texts: Iterable[str], called: str = "param") -> dict[str, Any]:
    """The parameters in texts such as `top_k=5`, each digit as given. *called*: the option. Raises UsageError."""
    found: dict[str, Any] = {}
    for text in texts:
        key, has_value, value = text.partition("=")
        if not has_value or not key:
            raise UsageError(f"{called} {text} has no value", hint=f"write {called} KEY=JSON, as top_k=5")
        if key in found:
            raise UsageError(f"{called} {key} is there twice", hint="give it once")
        found[key] = _json(value, f"{called} {key}")
    refuse_own_keys(found, called)
    return found


def refuse_own_keys(params: Collection[str], called: str) -> None:
    """Raise UsageError for a parameter that an option of its own sets."""
    for key in OWN_KEYS:
        if key in params:
            raise UsageError(f"{called} does not set {key}", hint=f"the option {OWN_KEYS[key]} does")


def _json(text: str, called: str) -> msgspec.Raw:
    try:
        msgspec.json.decode(text)
        return msgspec.Raw(msgspec.json.format(text, indent=-1).encode())
    except RecursionError as exc:
        raise UsageError(f"{called} is nested too deeply", hint="is it meant so?") from exc
    except msgspec.DecodeError as exc:
        hint = f"""a text has quotes of its own: '{called.rpartition(" ")[2]}="…"'"""
        raise UsageError(f"{called}: {text} is not JSON", hint=hint) from exc
