"""Bodies that bring requests: read by their Content-Type, and streamed into a source as they arrive."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from starlette.exceptions import HTTPException

from orchestrator.domain import errors, job_spec, money, table_spec
from orchestrator.domain.answer_schema import AnswerSchema
from orchestrator.domain.humanize import plain
from orchestrator.domain.json_text import UNREADABLE
from orchestrator.http_api.api.form import Form
from orchestrator.http_api.api.route_docs import FORM, JSON, STREAMED
from orchestrator.http_api.upload_memory import claim_of
from orchestrator.ports import engine, runtime, streams
from orchestrator.ports.estimates import CountMode
from orchestrator.views import source_codec
from orchestrator.views.retry_views import RetryBody

if TYPE_CHECKING:
    from starlette.requests import Request

    from orchestrator.http_api.services import Services

#: Larger bodies are streamed, as JSON Lines.
MAX_JSON_BYTES: Final = 8 << 20
#: Limit of bodies that bring no requests.
MAX_ASKED_BYTES: Final = 1 << 20
#: Memory of a parsed body in multiples of its size.
_COPIES: Final = 8
#: Small blocks are joined up to this size: each costs two thread switches later.
_BLOCK_BYTES: Final = 256 * 1024

#: So much of a member's name is told.
_TOLD: Final = 64
#: Options that are dollars.
_AMOUNTS: Final = frozenset({"max_cost", "allow_per_request"})
_TYPES: Final[dict[str, Any]] = {"boolean": bool, "string": str, "integer": int, "array": list[str]}
#: A small job in one JSON object: its requests, and every option by its name.
_SmallJob: Final = msgspec.defstruct(
    "_SmallJob",
    [
        ("requests", list[msgspec.Raw]),
        *((field, _TYPES[option.schema["type"]] | None, None) for field, option in job_spec.OPTIONS.items()),
    ],
    forbid_unknown_fields=True,
)


Flag = Literal["0", "1"]


def _option(field: str, help_text: str | None = None, *, alias: str | None = None) -> FieldInfo:
    """The parameter of a job option; its value is checked by `JobOptions.new_job`, not by the framework.

    alias: what it is called where a name of pydantic's own is in the way.
    """
    option = job_spec.OPTIONS[field]

    def describe(schema: dict[str, Any]) -> None:
        schema.pop("anyOf", None)
        schema.update(option.schema)

    found: FieldInfo = Field(alias=alias, description=help_text or option.help, json_schema_extra=describe)
    return found


def _row_option(field: str) -> FieldInfo:
    """The parameter of an option of rows; its value is checked by `table_spec.read_options`."""
    option = table_spec.ROW_OPTIONS[field]

    def describe(schema: dict[str, Any]) -> None:
        schema.pop("anyOf", None)
        schema.update(option.schema)

    found: FieldInfo = Field(description=option.help, json_schema_extra=describe)
    return found


#: How requests are made of rows.
TEMPLATE_HINT: Final = "give a template, such as Classify: {{ column }}: it makes a request of each row of a table"
_DEFAULT_NAME: Final = "As `name` for a new job; one that is there keeps its name. Else the name of its source."


class UploadOptions(BaseModel):
    """Options of an upload: query parameters, fields of a form, or keys beside the requests in JSON."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str | None, _option("name")] = None
    default_name: Annotated[str | None, _option("name", _DEFAULT_NAME)] = None
    source: Annotated[str, Field(max_length=4096, description="Where the requests come from, for showing.")] = "<http>"
    api_version: Annotated[str | None, _option("api_version")] = None
    beta: Annotated[list[str], _option("betas")] = []
    priority: Annotated[int, _option("priority")] = job_spec.DEFAULT_PRIORITY
    tag: Annotated[list[str], _option("tags")] = []
    cache: Annotated[str | None, _option("cache")] = None
    dedupe: Annotated[bool, _option("dedupe")] = False
    max_cost: Annotated[str | None, _option("max_cost")] = None
    allow_per_request: Annotated[str | None, _option("allow_per_request")] = None
    pilot: Annotated[int | None, _option("pilot")] = None
    after_pilot: Annotated[str | None, _option("after_pilot")] = None
    limit: Annotated[int | None, _option("limit")] = None
    sample: Annotated[int | None, _option("sample")] = None
    seed: Annotated[int | None, _option("seed")] = None
    answer_schema: Annotated[str | None, _option("schema", alias="schema")] = None
    retry_invalid: Annotated[int, _option("retry_invalid")] = job_spec.DEFAULT_RETRY_INVALID
    open: Annotated[Flag, Field(description="1: more requests will come; close it then.")] = "0"
    key: Annotated[str | None, _option("key")] = None
    new: Annotated[Flag, Field(description="1: a new job although the same content is there.")] = "0"
    skip_bad: Annotated[Flag, Field(description="1: leave bad lines out in place of refusing all.")] = "0"
    max_problems: Annotated[int, Field(ge=1, le=10_000, description="List so many problems; all are counted.")] = 20
    shown_as: Annotated[str | None, Field(max_length=4096, description='What stands before ":line".')] = None

    template: Annotated[str | None, _row_option("prompt")] = None
    system: Annotated[str | None, _row_option("system")] = None
    model: Annotated[str | None, _row_option("model")] = None
    max_tokens: Annotated[int | None, _row_option("max_tokens")] = None
    param: Annotated[list[str], _row_option("params")] = []
    image: Annotated[list[str], _row_option("images")] = []
    id_column: Annotated[str | None, _row_option("id_column")] = None
    format: Annotated[str | None, _row_option("format")] = None
    delimiter: Annotated[str | None, _row_option("delimiter")] = None

    def row_options(self) -> table_spec.RowOptions | None:
        """What rows become; None without a template. Raises UsageError."""
        said = {field: getattr(self, option.param) for field, option in table_spec.ROW_OPTIONS.items()}
        return table_spec.read_options(said, prompt="template", hint=TEMPLATE_HINT)

    def job_options(self) -> job_spec.JobOptions:
        """The job options among them."""
        given = self.model_dump(by_alias=True, exclude_unset=True)
        chosen = {field: given[option.param] for field, option in job_spec.OPTIONS.items() if option.param in given}
        return job_spec.JobOptions(**chosen)


class EstimateOptions(UploadOptions):
    """Options of an upload that is only estimated. count: in the query alone."""

    count: Annotated[
        CountMode,
        Field(description="Have the API count a sample (free), every request, or none: tokens by bytes are rough."),
    ] = CountMode.SAMPLED


class JsonWanted(HTTPException):
    """A body of another type where only a JSON object is taken."""

    hint: Final = f"send a JSON object: curl -H 'Content-Type: {JSON}' --data '{{…}}'"

    def __init__(self) -> None:
        super().__init__(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"this body is JSON: send it with content-type: {JSON}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUpload:
    """A parsed upload: its requests, the job to create, and how to ingest it."""

    source: streams.Source
    new: job_spec.NewJob
    terms: engine.IngestOptions


async def parse_upload(
    request: Request, services: Services, options: UploadOptions, *, key: str | None = None
) -> JobUpload:
    """Parse the body of *request* up to its first request. key: of the header `Idempotency-Key`.

    Raises BodyTooLarge, HTTPException 415, UsageError for invalid fields. The requests are read from the source later.
    """
    kind = body_type(request)
    if key is not None:
        options = _merged(options, {"key": key})
    if kind == JSON:
        options, blocks = await _small(request, options)
    elif kind == FORM:
        form = Form(request.headers["content-type"], body_blocks(request))
        options, blocks = _merged(options, await form.fields()), form.blocks()
    elif kind == source_codec.CONTENT_TYPE:
        given, blocks = await source_codec.split_options(body_blocks(request))
        options = _merged(options, given)
    else:
        blocks = body_blocks(request)
    rows = _rows_in(kind, options)
    new = _new(options, api_version=services.settings.api.version)
    name = new.source if options.shown_as is None else options.shown_as
    terms = engine.IngestOptions(
        force_new=options.new == "1", skip_bad=options.skip_bad == "1", max_problems=options.max_problems
    )
    opened: dict[str, Any] = {"name": name, "api_version": new.fixed_version, "claim": claim_of(request)}
    if rows is not None:
        source = services.row_opener(blocks, rows, schema=AnswerSchema.of_job(new.schema), **opened)
    else:
        source = _source(services, kind, blocks, **opened)
    return JobUpload(source=source, new=new, terms=terms)


def _rows_in(kind: str, options: UploadOptions) -> table_spec.RowOptions | None:
    """What the rows of a body of *kind* become; None if it has requests. Raises UsageError for what does not fit."""
    of_type = table_spec.MEDIA_TYPES.get(kind)
    rows = options.row_options()
    if rows is None:
        if kind not in {JSON, source_codec.CONTENT_TYPE}:  # there are requests, whatever they were made of
            table_spec.refuse_untold(options.source, of_type, TEMPLATE_HINT)
        return None
    if kind in {JSON, source_codec.CONTENT_TYPE}:
        hint = "send the table as the part 'file' of a form, or as the body with its own content-type"
        raise errors.UsageError("a template makes requests of a table, and this body is none", hint=hint)
    return rows if rows.format is not None else replace(rows, format=of_type)


def lines_source(request: Request, services: Services, *, name: str, api_version: str) -> streams.Source:
    """A body of JSON Lines without options, as a source. Raises HTTPException 415."""
    kind = body_type(request)
    if kind in (JSON, FORM, *table_spec.MEDIA_TYPES):
        raise _not_taken(kind)
    return _source(services, kind, body_blocks(request), name=name, api_version=api_version, claim=claim_of(request))


async def parse_retry_body(request: Request) -> RetryBody:
    """Which requests, and what is changed of them. Raises UsageError, BodyTooLarge, HTTPException 415."""
    body = await read_small_body(request, MAX_ASKED_BYTES)
    if not body:
        return RetryBody()
    _expect_json(request)
    try:
        return RetryBody.decode(body)
    except UNREADABLE as exc:
        hint = 'give {"only": ["max_tokens"], "set": {"max_tokens": 4096}}'
        raise errors.UsageError("the body cannot be read", cause=str(exc), hint=hint) from exc


async def parse_amount_body(request: Request, name: str) -> int | None:
    """The nano-dollars of a body {"max_cost": "10.00"}, by *name*; null is none.

    Raises UsageError, BodyTooLarge, HTTPException 415.
    """
    body = await read_small_body(request, MAX_ASKED_BYTES)
    hint = f'give {{"{name}": "10.00"}}, dollars in a text, or {{"{name}": null}}'
    _expect_json(request)
    try:
        given = msgspec.json.decode(body, type=dict[str, Any])
        if unknown := sorted(set(given) - {name}):
            raise ValueError(f"{plain(unknown[0][:_TOLD])!r} is no member of it, only {name!r} is")
        if name not in given:
            raise ValueError(f"it has no member {name!r}")
        if given[name] is not None and not isinstance(given[name], str):
            raise ValueError(_no_text(name))
        return None if given[name] is None else money.parse_cap(given[name])
    except (msgspec.DecodeError, ValueError) as exc:
        raise errors.UsageError("the body cannot be used", cause=str(exc), hint=hint) from exc


def _no_text(name: str) -> str:
    return f'{name} is not a text, such as "10.00"'


def _expect_json(request: Request) -> None:
    """Raise JsonWanted for a body that is not declared as JSON, as curl's own are not."""
    if _declared(request) != JSON:
        raise JsonWanted
    body_type(request)  # its encoding


def body_type(request: Request) -> str:
    """The media type of the body. Raises HTTPException 415."""
    if request.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip", "zstd"):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body's encoding is not gzip, zstd or identity")
    kind = _declared(request)
    if kind not in (*STREAMED, *table_spec.MEDIA_TYPES, source_codec.CONTENT_TYPE, JSON, FORM):
        raise _not_taken(kind)
    return kind


def _declared(request: Request) -> str:
    return request.headers.get("content-type", STREAMED[-1]).partition(";")[0].strip().lower()


async def body_blocks(request: Request) -> AsyncGenerator[bytes, None]:
    """The body in blocks as it arrives; reads from the socket only on demand.

    Raises starlette's ClientDisconnect when the client goes away before the end.
    """
    held = bytearray()
    async with aclosing(request.stream()) as pieces:
        async for piece in pieces:
            held += piece
            if len(held) >= _BLOCK_BYTES:
                yield bytes(held)
                held.clear()
    if held:
        yield bytes(held)


def _source(
    services: Services,
    kind: str,
    blocks: AsyncIterator[bytes],
    *,
    name: str,
    api_version: str | None,
    claim: runtime.MemoryReservation,
) -> streams.Source:
    if kind == source_codec.CONTENT_TYPE:
        decoded = source_codec.DecodedSource(blocks, name=name, claim=claim)
        return decoded if api_version is None else streams.VersionedSource(decoded, api_version)
    return services.opener(blocks, name=name, api_version=api_version, claim=claim)


def _new(options: UploadOptions, *, api_version: str | None) -> job_spec.NewJob:
    return options.job_options().new_job(
        options.source,
        default_name=options.default_name or job_spec.name_of(options.source),
        default_version=api_version,
        still_open=options.open == "1",
    )


async def _small(request: Request, options: UploadOptions) -> tuple[UploadOptions, AsyncGenerator[bytes, None]]:
    """The options and the requests of a job in one JSON object."""
    body = await read_small_body(request, MAX_JSON_BYTES)
    try:
        small: Any = msgspec.json.decode(body, type=_SmallJob)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _no_small_job(str(exc)) from exc
    fields = {option.param: getattr(small, field) for field, option in job_spec.OPTIONS.items()}
    return _merged(options, {key: value for key, value in fields.items() if value is not None}), _lines(small.requests)


def _no_small_job(why: str) -> errors.UsageError:
    """*why*: the decoder's words; of an amount that is a number they do not say what to do."""
    hint = 'give {"name": …, "requests": [{"custom_id": …, "params": {…}}, …]}'
    wrong = re.search(r"at `\$\.(\w+)`$", why)
    if wrong is not None and wrong[1] in _AMOUNTS:
        why, hint = _no_text(wrong[1]), f'give "{wrong[1]}": "10.00", dollars in a text'
    return errors.UsageError("the body is not a job in JSON", cause=why, hint=hint)


async def _lines(requests: list[msgspec.Raw]) -> AsyncGenerator[bytes, None]:
    """The requests as JSON Lines; white space between tokens is removed only where a line would break."""
    held = bytearray()
    for request in requests:
        raw = bytes(request)
        held += (msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw) + b"\n"
        if len(held) >= _BLOCK_BYTES:
            yield bytes(held)
            held.clear()
    yield bytes(held)


async def read_small_body(request: Request, most: int) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as it is larger than *most* bytes, ServerBusy."""
    held, claim = bytearray(), claim_of(request)
    async with aclosing(request.stream()) as pieces:
        async for piece in pieces:
            held += piece
            if len(held) > most:
                hint = "send requests as application/x-ndjson: they are streamed, however many"
                raise errors.BodyTooLarge(f"the body is larger than {most:,} bytes", hint=hint)
            await claim.hold(_COPIES * len(held))
    return bytes(held)


def _merged(options: UploadOptions, fields: dict[str, Any]) -> UploadOptions:
    """*options* overridden by *fields* of the body. Raises UsageError."""
    try:
        return type(options).model_validate({**options.model_dump(by_alias=True, exclude_unset=True), **fields})
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise errors.UsageError(f"{place} cannot be used", cause=first["msg"], hint="see /openapi.json") from exc


def _not_taken(kind: str) -> HTTPException:
    return HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a body of type {kind[:100]!r} is not taken here")
