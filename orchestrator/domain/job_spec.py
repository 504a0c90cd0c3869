r"""The options of a new job: what each one means and may be, once for every face.

A face turns its own strings (flags, query parameters, form fields, headers, keywords) into `JobOptions` and calls
`new_job`, which checks every value. Help texts and the OpenAPI description are made of `OPTIONS`. A new option is one
field of `JobOptions` and one row of `OPTIONS`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Final

from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import plain, readable

DEFAULT_PRIORITY: Final = 10
MAX_NAME: Final = 500
_ENDINGS: Final = (".gz", ".zst", ".jsonl", ".ndjson", ".json", ".txt")
#: Control characters, line breaks, spaces but U+0020, invisible and bidirectional marks: as a JSON Schema has them.
_HIDDEN: Final = r"\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb"
_SHOWN_CHARS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a new job.

    param: its name as a flag (`--param`), a query parameter and a form field; a list is given item by item. help: what
    it does. rule: what it may be, as a sentence. schema: the same as JSON Schema, which is what is checked.
    """

    param: str
    help: str
    rule: str
    schema: Mapping[str, Any]

    @property
    def is_list(self) -> bool:
        """It takes several values."""
        return bool(self.schema["type"] == "array")

    def is_valid(self, value: object) -> bool:
        """True if *value* is what the schema describes."""
        return _fits(value, self.schema)


def _list_of(pattern: str, *, longest: int, most: int) -> Mapping[str, Any]:
    return {"type": "array", "maxItems": most, "items": {"type": "string", "pattern": pattern, "maxLength": longest}}


#: By the field of `JobOptions`.
OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(
    {
        "name": Option(
            param="name",
            help="What the job is called.",
            rule=f"a name has 1 to {MAX_NAME} characters, at least one visible, no line breaks, and no @ in front",
            schema={
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_NAME,
                "pattern": f"^ *[^ @{_HIDDEN}][^{_HIDDEN}]*$",
            },
        ),
        "key": Option(
            param="key",
            help="Your own key of this hand-over: with it again, the same job.",
            rule="a key has 1 to 255 printable ASCII characters",
            schema={"type": "string", "pattern": "^[ -~]{1,255}$"},
        ),
        "api_version": Option(
            param="api_version",
            help="The API version to send the requests with.",
            rule="a version of the API is a date such as 2023-06-01",
            schema={"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        ),
        "betas": Option(
            param="beta",
            help="A beta to send the requests with; may be repeated.",
            rule='the name of a beta has letters, digits, ".", "_" and "-", and begins with a letter or a digit',
            schema=_list_of("^[A-Za-z0-9][A-Za-z0-9._-]*$", longest=200, most=100),
        ),
        "priority": Option(
            param="priority",
            help="A larger number gets a larger share of the account's queue.",
            rule="a priority is a whole number from 1 to 100",
            schema={"type": "integer", "minimum": 1, "maximum": 100},
        ),
        "tags": Option(
            param="tag",
            help="File the job under a tag; may be repeated.",
            rule="a tag has 1 to 64 characters, no comma, no line breaks, and no space in front or at the end",
            schema=_list_of(f"^[^ ,{_HIDDEN}]([^,{_HIDDEN}]*[^ ,{_HIDDEN}])?$", longest=64, most=20),
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What the user chose of a new job; not checked yet. None: not chosen."""

    name: str | None = None
    key: str | None = None  #: the caller's own name of this hand-over
    api_version: str | None = None
    betas: Collection[str] = ()
    priority: int = DEFAULT_PRIORITY
    tags: Collection[str] = ()

    def new_job(self, source: str, *, default_name: str, default_version: str, still_open: bool = False) -> NewJob:
        """The job to make out of *source*. Raises UsageError, whose hint is the rule."""
        chosen = {field: checked(field, getattr(self, field)) for field in OPTIONS}
        is_named = chosen["name"] is not None
        if not is_named:
            chosen["name"] = checked("name", default_name)
        if chosen["api_version"] is None:
            chosen["api_version"] = default_version
        lists = {field: tuple(sorted(set(chosen[field]))) for field, option in OPTIONS.items() if option.is_list}
        return NewJob(**chosen | lists, source=source, still_open=still_open, is_named=is_named)

    def items(self) -> Iterator[tuple[str, str]]:
        """(parameter, value as text) of each option that is not the default; a list item by item."""
        for field, option in OPTIONS.items():
            value = getattr(self, field)
            for each in value if option.is_list else (value,):
                if each is not None and each != getattr(_DEFAULT, field):
                    yield option.param, str(each)


_DEFAULT: Final = JobOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob(JobOptions):
    """A job before the first line of its input is read.

    is_named: the user chose the name, so a job of the same content that is there already is renamed to it.
    """

    name: str
    api_version: str
    betas: tuple[str, ...] = ()
    source: str
    still_open: bool = False
    is_named: bool = False

    @property
    def is_from_file(self) -> bool:
        """Its source is a path that may hold something else tomorrow."""
        return self.source.startswith("/")


def checked(field: str, value: Any) -> Any:  # noqa: ANN401 - each option has its own type
    """*value* if the option *field* may have it, or None (not chosen). Raises UsageError, whose hint is the rule."""
    if isinstance(value, str):
        value = readable(value)
    option = OPTIONS[field]
    if value is not None and not option.is_valid(value):
        told = ascii(value) if len(ascii(value)) <= _SHOWN_CHARS else f"{ascii(value)[:_SHOWN_CHARS]}…"
        raise UsageError(f"{field} is {told}", hint=option.rule)
    return value


def name_of(source: str) -> str:
    """The name of a job that nobody named: its file's name without folder and endings; `<stdin>` gives `stdin`."""
    name = PurePath(readable(source)).name.removeprefix("<").removesuffix(">")
    for ending in _ENDINGS:
        name = name.removesuffix(ending) if len(name) > len(ending) else name
    return plain(name).lstrip("@ ")[:MAX_NAME] or "input"


def _fits(value: object, schema: Mapping[str, Any]) -> bool:
    """True if *value* is what *schema* describes: the keywords that `OPTIONS` uses."""
    match schema["type"]:
        case "string":
            fits = isinstance(value, str) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 4096)
            return fits and re.fullmatch(schema["pattern"], str(value), re.ASCII) is not None
        case "integer":
            return type(value) is int and schema["minimum"] <= value <= schema["maximum"]
        case _:
            if isinstance(value, str) or not isinstance(value, Collection) or len(value) > schema["maxItems"]:
                return False
            return all(_fits(each, schema["items"]) for each in value)
