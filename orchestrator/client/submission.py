"""The options of a hand-in, as the library takes them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypedDict

import msgspec

from orchestrator.domain import errors, humanize, job_spec, table_spec
from orchestrator.ports import engine
from orchestrator.ports.estimates import CountMode

_SHOWN: Final = 20


class Submission(TypedDict, total=False):
    """Options of `submit`, `submit_file`, `estimate` and `open_job`.

    api_version, betas: fixed for the job (default: `[api] version`, else the newest that its requests can go with;
    no beta). priority: 1–100, a larger share of the account's queue for a larger number. tags: what it is filed
    under. cache: "prime" (of requests that mark the same prefix one goes ahead, the default), "auto" (so, and
    markers are added where requests share a beginning) or "off". dedupe: send identical requests once; the others
    get a copy of its answer (`Result.reused_from`). new: start a new job although one with the same content exists.
    skip_bad: leave bad requests out instead of refusing all. key: an idempotency key of your own: the same key
    again is the same job, even with `new`; with other requests it raises KeyReused. max_cost: the most that it may
    cost, in dollars, which is never exceeded; allow_per_request: under it, what is reserved for each request whose
    cost has no bound. A float is no amount. pilot: so many requests, drawn by lot, go first and tell what the
    others will cost; after_pilot: then the job waits for `Job.resume` ("wait", the default: `Job.wait` raises
    NeedsPerson), or goes on ("go_on"). limit: a trial: the first so many requests alone are sent; sample: so many,
    drawn by lot by the number seed. `Job.wait` ends with them; the rest is sent when the same is handed in without,
    or by `Job.resume`; with a larger limit only what is missing. schema: what answers have to match, a JSON Schema
    as a dict or as text, or words such as "label, score float, why?"; requests that are made of rows ask for it,
    others say so themselves, in `output_config`. An answer that does not match is invalid: its request goes again,
    retry_invalid times (default 1; each answer is paid for), and then fails as "invalid_answer".
    """

    api_version: str | None
    betas: Sequence[str]
    priority: int
    tags: Sequence[str]
    cache: str
    dedupe: bool
    new: bool
    skip_bad: bool
    key: str | None
    max_cost: str | int | Decimal | None
    allow_per_request: str | int | Decimal | None
    pilot: int | None
    after_pilot: str | None
    limit: int | None
    sample: int | None
    seed: int | None
    schema: str | Mapping[str, Any] | None
    retry_invalid: int


class RowSubmission(Submission, total=False):
    """Options of `submit`, `submit_file` and `estimate`: with prompt, what is handed in are rows.

    prompt: a template in the language of Jinja, where `{{ column }}` is the value of a column. system: the system
    prompt, a template too. model, max_tokens: of every request (without: `[defaults]` of the settings). params: further
    parameters, by name. image: a column of images, or several: paths or https addresses. id_column: the column of
    `custom_id`s (without: row-1, row-2 and so on). format, delimiter: of a table at a path, if they are not told
    rightly.
    """

    prompt: str | None
    system: str | None
    model: str | None
    max_tokens: int | None
    params: Mapping[str, object]
    image: str | Sequence[str]
    id_column: str | None
    format: str | None
    delimiter: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """A `RowSubmission` and a name: the options of the job, how its input is ingested, and what rows become.

    rows: None where requests of the API's own form are handed in.
    """

    job: job_spec.JobOptions
    ingest: engine.IngestOptions
    rows: table_spec.RowOptions | None = None

    @classmethod
    def of(cls, name: str | None, how: Submission, *, may_be_rows: bool = True) -> SubmitOptions:
        """The options in *how*. Raises UsageError for an unknown one; values are checked when the job is made."""
        of_rows = RowSubmission.__annotations__ if may_be_rows else Submission.__annotations__
        refuse_unknown(how, of_rows)
        given: dict[str, Any] = {**how}
        rows = _rows({key: given.pop(key) for key in _OF_ROWS if key in given})
        force_new, skip_bad = given.pop("new", False), given.pop("skip_bad", False)
        return cls(
            job=job_spec.JobOptions(
                name=name, **given | {key: convert(given[key]) for key, convert in _CONVERTED.items() if key in given}
            ),
            ingest=engine.IngestOptions(force_new=force_new, skip_bad=skip_bad, max_problems=_SHOWN),
            rows=rows,
        )


#: The template of those who have only prompts.
_BARE_PROMPT: Final = "{{ prompt }}"
_OF_A_PART: Final = ("skip_bad", "limit", "sample", "pilot")
Rows: TypeAlias = Iterable[object] | AsyncIterable[object]


def of_prompts(prompts: Iterable[str] | AsyncIterable[str], how: RowSubmission) -> tuple[Rows, RowSubmission]:
    """The rows that *prompts* are, with the one column `prompt`, and how they are submitted.

    Raises UsageError for a single prompt, and while they are read for what is no text.
    """
    if isinstance(prompts, str | bytes):
        raise errors.UsageError("prompts is one text", hint="hand over a list of them: [prompt]")
    for option in _OF_A_PART:
        if how.get(option):
            hint = "submit takes it: rows with prompt="
            raise errors.UsageError(f"map gives a result of every prompt, and {option} leaves some out", hint=hint)
    asked: RowSubmission = {**RowSubmission(prompt=_BARE_PROMPT), **how}
    if isinstance(prompts, AsyncIterable):
        return _rows_of_prompts(prompts), asked
    return _rows_of(prompts), asked


def _rows_of(prompts: Iterable[str]) -> Iterator[dict[str, str]]:
    number = 0
    for number, prompt in enumerate(prompts, 1):
        yield _row_of_prompt(prompt, number)
    _refuse_none(number)


def _refuse_none(number: int) -> None:
    if not number:
        raise errors.UsageError("there are no prompts", hint="hand over at least one")


async def _rows_of_prompts(prompts: AsyncIterable[str]) -> AsyncIterator[dict[str, str]]:
    number = 0
    async for prompt in prompts:
        number += 1
        yield _row_of_prompt(prompt, number)
    _refuse_none(number)


def _row_of_prompt(prompt: object, number: int) -> dict[str, str]:
    if not isinstance(prompt, str):
        hint = "a prompt is a text; rows with more than that go to submit, with prompt="
        raise errors.UsageError(f"prompt {number:,} is of type {type(prompt).__name__}", hint=hint)
    return {"prompt": prompt}


#: The options of rows: all that a `Submission` does not have.
_OF_ROWS: Final = tuple(key for key in RowSubmission.__annotations__ if key not in Submission.__annotations__)


def _rows(given: dict[str, Any]) -> table_spec.RowOptions | None:
    """What rows become; None without a prompt. Raises UsageError for the others without one, and for wrong values."""
    said = {key: value for key, value in given.items() if value is not None}
    for key, value in said.items():
        wanted, called = _TYPES.get(key, (str, "a text"))
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise errors.UsageError(f"{key} is of type {type(value).__name__}", hint=f"{key} is {called}")
    if (image := said.pop("image", None)) is not None:
        said["images"] = (image,) if isinstance(image, str) else tuple(image)
    if "params" in said:
        said["params"] = _params(said["params"])
    return table_spec.read_options(said, prompt="prompt", hint=PROMPT_HINT)


_TYPES: Final[Mapping[str, tuple[type, str]]] = {
    "max_tokens": (int, "a whole number"),
    "params": (Mapping, 'a mapping, such as {"stop_sequences": ["END"]}'),
    "image": (Collection, "the name of a column, or a list of names"),
}
#: How requests are made of rows.
PROMPT_HINT: Final = 'requests are made of rows with prompt="Classify: {{ text }}", model="…"'


def _params(given: Mapping[str, object]) -> dict[str, Any]:
    """Each as the JSON that it is sent as."""
    from orchestrator.inputs.json_encoding import NotJsonError, encode_json

    table_spec.refuse_own_keys(given, "params")
    found: dict[str, Any] = {}
    for key, value in given.items():
        try:
            found[key] = msgspec.Raw(encode_json(value))
        except NotJsonError as exc:
            place = f"{key}.{exc.field}" if exc.field else key
            raise errors.UsageError(f"params: {place} {exc.message}", hint=exc.remedy) from exc
    return found


def as_amount(value: object) -> str | None:
    """An amount of dollars as text. Raises UsageError for what is none: 0.1 is not ten cents."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        told = f'"{value:.2f}"' if isinstance(value, float) and round(value, 2) == value else '"1.50"'
        said = f"an amount of money is a str, an int or a Decimal, not {type(value).__name__}"
        raise errors.UsageError(said, hint=f"write it as text, such as {told}")
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def as_schema(value: object) -> str | None:
    """A JSON Schema as text. Raises UsageError for what JSON cannot hold; the rest is judged with the job."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise errors.UsageError(f"schema is a {type(value).__name__}", hint="give a JSON Schema as a dict, or a text")
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as exc:
        hint = "give plain dicts and lists"
        raise errors.UsageError("schema is not what JSON can hold", cause=str(exc), hint=hint) from exc


#: By the option, how a value of another form becomes the one that a job has.
_CONVERTED: Final[Mapping[str, Callable[[object], str | None]]] = {
    "max_cost": as_amount,
    "allow_per_request": as_amount,
    "schema": as_schema,
}


def count_mode(*, exact: bool, offline: bool) -> CountMode:
    """How an estimate counts. Raises UsageError for both at once."""
    if exact and offline:
        raise errors.UsageError("exact and offline exclude each other", hint="exact asks the API, offline does not")
    return CountMode.EXACT if exact else CountMode.OFFLINE if offline else CountMode.SAMPLED


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise UsageError for the first of *given* that is not in *known*."""
    names = list(known)
    for option in given:
        if option not in names:
            raise errors.UsageError(
                f"there is no option {option!r}",
                hint=humanize.nearest(option, names) or f"the options are: {', '.join(names)}",
            )
