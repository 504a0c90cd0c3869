r"""The options of a new job: what each one means and may be, once for every face.

A face turns its own strings (flags, query parameters, form fields, headers, keywords) into `JobOptions` and calls
`new_job`, which checks every value. Help texts and the OpenAPI description are made of `OPTIONS`. A new option is one
field of `JobOptions` and one row of `OPTIONS`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import money
from orchestrator.domain.api_versions import API_VERSIONS, NEWEST_API_VERSION
from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import plain, readable
from orchestrator.domain.ids import MAX_NUMBER
from orchestrator.domain.pilot import LEAST_PILOT, MOST_PILOT, AfterPilot
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.version_choice import VersionChoice

DEFAULT_PRIORITY: Final = 10
#: How often a request is sent again whose answers do not match the job's schema.
DEFAULT_RETRY_INVALID: Final = 1
MAX_NAME: Final = 500
_ENDINGS: Final = (".gz", ".zst", ".jsonl", ".ndjson", ".json", ".txt", ".csv", ".tsv", ".parquet", ".toml")
#: Control characters, line breaks, spaces but U+0020, invisible and bidirectional marks: as a JSON Schema has them.
_HIDDEN: Final = r"\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb"
_SHOWN_CHARS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a new job.

    param: its name as a flag (`--param`), a query parameter and a form field; a list is given item by item. help: what
    it does. rule: what it may be, as a sentence. schema: the same as JSON Schema, which is what is checked.
    not_in_file: why a job file may not say it, which may be somebody else's word; None: it may.
    """

    param: str
    help: str
    rule: str
    schema: Mapping[str, Any]
    not_in_file: str | None = None

    @property
    def is_list(self) -> bool:
        """It takes several values."""
        return bool(self.schema["type"] == "array")

    def is_valid(self, value: object) -> bool:
        """True if *value* is what the schema describes."""
        return _fits(value, self.schema)


def _list_of(pattern: str, *, longest: int, most: int) -> Mapping[str, Any]:
    return {"type": "array", "maxItems": most, "items": {"type": "string", "pattern": pattern, "maxLength": longest}}


_DOLLARS: Final = r" *\$? *(\d{1,9}(\.\d{1,9})?|\.\d{1,9}) *([uU][sS][dD])? *$"
_AMOUNT: Final = {"type": "string", "pattern": f"^{_DOLLARS}"}
_CAP: Final = {"type": "string", "pattern": f"^(?=.*[1-9]){_DOLLARS}"}
_AMOUNT_RULE: Final = "an amount is dollars with a point, such as 10, '$10' or 10.50usd, with up to nine decimal places"
_CAP_RULE: Final = f"{_AMOUNT_RULE}, below a billion, and more than 0: {money.NO_ZERO}"
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
            help="The API version to send the requests with: 2023-06-01 or 2026-10-21. Without it the newest, or the "
            "older one if some of them need it.",
            rule=f"the versions of the API are {' and '.join(API_VERSIONS)}; without one the requests decide",
            schema={"type": "string", "pattern": f"^({'|'.join(API_VERSIONS)})$"},
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
        "cache": Option(
            param="cache",
            help="What to do about the prompt cache: prime (one request of each marked prefix goes ahead), auto (so, "
            "and markers are added where requests share a beginning) or off.",
            rule=f"cache is {', '.join(CacheUse)}",
            schema={"type": "string", "pattern": f"^({'|'.join(CacheUse)})$"},
        ),
        "dedupe": Option(
            param="dedupe",
            help="Send identical requests once: the others get a copy of its answer, for nothing.",
            rule="dedupe is true or false",
            schema={"type": "boolean"},
        ),
        "max_cost": Option(
            param="max_cost",
            help="The most that the job may cost: 10, '$10' or 10.50usd. It is never exceeded.",
            rule=_CAP_RULE,
            schema=_CAP,
        ),
        "allow_per_request": Option(
            param="allow_per_request",
            help="Under a cap, what is reserved at least for each request whose cost has no bound (server tools, MCP).",
            rule=f"{_AMOUNT_RULE}, and above zero",
            schema={**_AMOUNT, "pattern": f"^(?=.*[1-9]){_AMOUNT['pattern'].removeprefix('^')}"},
            not_in_file="it lets requests through whose cost has no bound",
        ),
        "pilot": Option(
            param="pilot",
            help="Send so many requests first, drawn by lot, and tell by them what the others will cost.",
            rule=f"a pilot has {LEAST_PILOT} to {MOST_PILOT:,} requests",
            schema={"type": "integer", "minimum": LEAST_PILOT, "maximum": MOST_PILOT},
        ),
        "after_pilot": Option(
            param="after_pilot",
            help="When the pilot has ended: wait (for a resume) or go_on.",
            rule=f"after_pilot is {' or '.join(AfterPilot)}",
            schema={"type": "string", "pattern": f"^({'|'.join(AfterPilot)})$"},
        ),
        "limit": Option(
            param="limit",
            help="A trial: of all requests that are handed in send the first so many; the rest waits for a resume, or "
            "for the same without it.",
            rule=f"a limit is a whole number from 1 to {MAX_NUMBER:,}",
            schema={"type": "integer", "minimum": 1, "maximum": MAX_NUMBER},
        ),
        "sample": Option(
            param="sample",
            help="The same with so many requests drawn by lot.",
            rule=f"a sample has 1 to {MOST_PILOT:,} requests; a limit may be larger",
            schema={"type": "integer", "minimum": 1, "maximum": MOST_PILOT},
        ),
        "seed": Option(
            param="seed",
            help="With a sample: another number draws others; the same number draws the same.",
            rule=f"a seed is a whole number from 0 to {MAX_NUMBER:,}",
            schema={"type": "integer", "minimum": 0, "maximum": MAX_NUMBER},
        ),
        "schema": Option(
            param="schema",
            help="What answers have to match: a JSON Schema, or words such as 'label, score float, why?'. One that "
            "does not is invalid: it is asked for again, and at last fails with its text.",
            rule="a schema is a JSON Schema, or words such as 'label, score float, why?'; 65,536 characters at most",
            schema={"type": "string", "pattern": r"^[\s\S]*\S[\s\S]*$", "maxLength": 65_536},
        ),
        "retry_invalid": Option(
            param="retry_invalid",
            help="How often a request is sent again whose answer does not match the schema; each answer is paid for.",
            rule="retry_invalid is a whole number from 0 to 10",
            schema={"type": "integer", "minimum": 0, "maximum": 10},
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
    priority: int | None = None
    tags: Collection[str] = ()
    cache: str | None = None  #: None: what the settings of the engine say
    dedupe: bool = False  #: of requests with the same params only the first is sent
    max_cost: str | None = None
    allow_per_request: str | None = None  #: what is reserved for a request whose cost has no bound
    pilot: int | None = None  #: so many requests go first
    after_pilot: str | None = AfterPilot.WAIT.value  #: None: the same
    limit: int | None = None  #: a trial: the first so many requests, and no more for now
    sample: int | None = None  #: a trial: so many, drawn by lot
    seed: int | None = None  #: of that lot; None: 0
    schema: str | None = None  #: what answers have to match, as JSON Schema
    retry_invalid: int | None = None

    def new_job(
        self, source: str, *, default_name: str, default_version: str | None, still_open: bool = False
    ) -> NewJob:
        """The job to make out of *source*. Raises UsageError, whose hint is the rule.

        default_version: where none was chosen; None: the requests decide, or, of an open job, the newest.
        """
        chosen = {field: checked(field, getattr(self, field)) for field in OPTIONS}
        is_named = chosen["name"] is not None
        if not is_named:
            chosen["name"] = checked("name", default_name)
        chosen["api_version"] = chosen["api_version"] or default_version
        picks_version = chosen["api_version"] is None and not still_open
        chosen["api_version"] = chosen["api_version"] or NEWEST_API_VERSION
        chosen["after_pilot"] = chosen["after_pilot"] or AfterPilot.WAIT.value
        said = frozenset(field for field in DEFAULTS if chosen[field] is not None)
        chosen |= {field: value for field, value in DEFAULTS.items() if field not in said}
        if chosen["schema"] is not None:
            chosen["schema"] = _schema_text(chosen["schema"])
        chosen["dedupe"] = bool(chosen["dedupe"])
        _refuse_together({field: chosen[field] for field in _FIRST}, still_open=still_open)
        if chosen["seed"] is not None and chosen["sample"] is None:
            raise UsageError("a seed is for a sample, and there is none", hint="sample says how many are drawn")
        lists = {field: tuple(sorted(set(chosen[field]))) for field, option in OPTIONS.items() if option.is_list}
        more: dict[str, Any] = {
            "still_open": still_open,
            "is_named": is_named,
            "picks_version": picks_version,
            "said": said,
        }
        return NewJob(**chosen | lists | more, source=source)

    def items(self) -> Iterator[tuple[str, str]]:
        """(parameter, value as text) of each option that is not the default; a list item by item."""
        for field, option in OPTIONS.items():
            value = getattr(self, field)
            for each in value if option.is_list else (value,):
                if each is not None and each != getattr(_DEFAULT, field):
                    yield option.param, str(each).lower() if isinstance(each, bool) else str(each)


_DEFAULT: Final = JobOptions()
#: What a job has where nothing was chosen.
DEFAULTS: Final = MappingProxyType({"priority": DEFAULT_PRIORITY, "retry_invalid": DEFAULT_RETRY_INVALID})
#: Each says that some requests go first.
_FIRST: Final = ("pilot", "limit", "sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob(JobOptions):
    """A job before the first line of its input is read.

    is_named: the user chose the name, so a job of the same content that is there already is renamed to it.
    has_own_cache: cache, if there is one, is the user's choice, not that of the settings. picks_version: nobody chose
    the API version, so it is the newest until all requests are read; version_reason: why they need another. said: which
    of `DEFAULTS` the user chose, perhaps the same.
    """

    name: str
    api_version: str
    betas: tuple[str, ...] = ()
    priority: int = DEFAULT_PRIORITY
    after_pilot: str = AfterPilot.WAIT.value
    retry_invalid: int = DEFAULT_RETRY_INVALID
    source: str
    still_open: bool = False
    is_named: bool = False
    has_own_cache: bool = True
    picks_version: bool = False
    version_reason: str | None = None
    said: frozenset[str] = frozenset()

    @property
    def fixed_version(self) -> str | None:
        """The API version that its requests are checked against; None: they decide which it is."""
        return None if self.picks_version else self.api_version

    def with_version(self, choice: VersionChoice) -> NewJob:
        """The same, with the version that its requests need, now that all are read."""
        if not self.picks_version:
            return self
        return replace(self, api_version=choice.version, version_reason=choice.reason)

    @override
    def items(self) -> Iterator[tuple[str, str]]:
        unsaid = {(field, str(value)) for field, value in DEFAULTS.items() if field not in self.said}
        for each in JobOptions.items(self):  # a dataclass with slots has no bare super()
            if each not in unsaid and not (self.picks_version and each[0] == "api_version"):
                yield each

    @property
    def trial(self) -> int | None:
        """So many of its requests are sent for now; None: all."""
        return self.limit if self.sample is None else self.sample

    @property
    def first(self) -> int | None:
        """So many of its requests are sent before a person is asked, or asks; None: all."""
        return self.pilot if self.trial is None else self.trial

    @property
    def cap_nanos(self) -> int | None:
        """The most that it may cost; None: nobody said."""
        return None if self.max_cost is None else money.parse_amount(self.max_cost)

    @property
    def per_request_nanos(self) -> int | None:
        """What is reserved for a request whose cost has no bound; None: under a cap none is sent."""
        return None if self.allow_per_request is None else money.parse_amount(self.allow_per_request)

    @property
    def tries(self) -> int:
        """How many answers to a request may be paid for, as none of them matches the schema."""
        return 1 if self.schema is None else 1 + self.retry_invalid

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


def _refuse_together(first: Mapping[str, int | None], *, still_open: bool) -> None:
    """Raise UsageError for more than one of `_FIRST`, and for one of an open job."""
    said = [field for field, size in first.items() if size is not None]
    if len(said) > 1:
        hint = "each says which requests go first: give one of them"
        raise UsageError(f"{' and '.join(said)} exclude each other", hint=hint)
    if said and still_open:
        called = "pilot" if said == ["pilot"] else "trial"
        raise UsageError(f"an open job has no {called}", hint=f"a {called} is of all requests of a job")


def _schema_text(text: str) -> str:
    """A schema as it is kept. Raises UsageError for what is none, or what the API would refuse."""
    from orchestrator.domain.answer_schema import AnswerSchema  # late: few jobs have one

    return AnswerSchema.read(text).text


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
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return type(value) is int and schema["minimum"] <= value <= schema["maximum"]
        case _:
            if isinstance(value, str) or not isinstance(value, Collection) or len(value) > schema["maxItems"]:
                return False
            return all(_fits(each, schema["items"]) for each in value)
