"""Bodies that bring requests: read by their Content-Type, and streamed into a source as they arrive."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from starlette.exceptions import HTTPException

from orchestrator.domain import errors, job_spec
from orchestrator.http_api.api.form import Form
from orchestrator.http_api.api.route_docs import FORM, JSON, STREAMED
from orchestrator.http_api.upload_memory import claim_of
from orchestrator.ports import engine, runtime, streams
from orchestrator.views import source_codec

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

_TYPES: Final[dict[str, Any]] = {"string": str, "integer": int, "array": list[str]}
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


def _option(field: str, help_text: str | None = None) -> FieldInfo:
    """The parameter of a job option; its value is checked by `JobOptions.new_job`, not by the framework."""
    option = job_spec.OPTIONS[field]

    def describe(schema: dict[str, Any]) -> None:
        schema.pop("anyOf", None)
        schema.update(option.schema)

    found: FieldInfo = Field(description=help_text or option.help, json_schema_extra=describe)
    return found


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
    open: Annotated[Flag, Field(description="1: more requests will come; close it then.")] = "0"
    key: Annotated[str | None, _option("key")] = None
    new: Annotated[Flag, Field(description="1: a new job although the same content is there.")] = "0"
    skip_bad: Annotated[Flag, Field(description="1: leave bad lines out in place of refusing all.")] = "0"
    max_problems: Annotated[int, Field(ge=1, le=10_000, description="List so many problems; all are counted.")] = 20
    shown_as: Annotated[str | None, Field(max_length=4096, description='What stands before ":line".')] = None

    def job_options(self) -> job_spec.JobOptions:
        """The job options among them."""
        return job_spec.JobOptions(**{field: getattr(self, option.param) for field, option in job_spec.OPTIONS.items()})


class _Only(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a retry."""

    only: str | None = None


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
    else:
        blocks = body_blocks(request)
    new = _new(options, api_version=services.identity.api_version)
    name = new.source if options.shown_as is None else options.shown_as
    terms = engine.IngestOptions(
        force_new=options.new == "1", skip_bad=options.skip_bad == "1", max_problems=options.max_problems
    )
    source = _source(services, kind, blocks, name=name, api_version=new.api_version, claim=claim_of(request))
    return JobUpload(source=source, new=new, terms=terms)


def lines_source(request: Request, services: Services, *, name: str, api_version: str) -> streams.Source:
    """A body of JSON Lines without options, as a source. Raises HTTPException 415."""
    kind = body_type(request)
    if kind in (JSON, FORM):
        raise _not_taken(kind)
    return _source(services, kind, body_blocks(request), name=name, api_version=api_version, claim=claim_of(request))


async def parse_retry_filter(request: Request) -> str | None:
    """`only` of a body {"only": "api_error"}; None without one. Raises UsageError, BodyTooLarge, HTTPException 415."""
    body = await read_small_body(request, MAX_ASKED_BYTES)
    if not body:
        return None
    if body_type(request) != JSON:
        raise _not_taken(body_type(request))
    try:
        return msgspec.json.decode(body, type=_Only).only
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise errors.UsageError("the body cannot be read", cause=str(exc), hint='give {"only": "api_error"}') from exc


def body_type(request: Request) -> str:
    """The media type of the body. Raises HTTPException 415."""
    if request.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip", "zstd"):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body's encoding is not gzip, zstd or identity")
    kind = request.headers.get("content-type", STREAMED[-1]).partition(";")[0].strip().lower()
    if kind not in (*STREAMED, source_codec.CONTENT_TYPE, JSON, FORM):
        raise _not_taken(kind)
    return kind


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
    api_version: str,
    claim: runtime.MemoryReservation,
) -> streams.Source:
    if kind == source_codec.CONTENT_TYPE:
        return source_codec.DecodedSource(blocks, name=name, claim=claim)
    return services.opener(blocks, name=name, api_version=api_version, claim=claim)


def _new(options: UploadOptions, *, api_version: str) -> job_spec.NewJob:
    return options.job_options().new_job(
        options.source,
        default_name=job_spec.name_of(options.source) if options.default_name is None else options.default_name,
        default_version=api_version,
        still_open=options.open == "1",
    )


async def _small(request: Request, options: UploadOptions) -> tuple[UploadOptions, AsyncIterator[bytes]]:
    """The options and the requests of a job in one JSON object."""
    body = await read_small_body(request, MAX_JSON_BYTES)
    try:
        small: Any = msgspec.json.decode(body, type=_SmallJob)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        hint = 'give {"name": …, "requests": [{"custom_id": …, "params": {…}}, …]}'
        raise errors.UsageError("the body is not a job in JSON", cause=str(exc), hint=hint) from exc
    fields = {option.param: getattr(small, field) for field, option in job_spec.OPTIONS.items()}
    return _merged(options, {key: value for key, value in fields.items() if value is not None}), _lines(small.requests)


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
        return UploadOptions.model_validate({**options.model_dump(exclude_unset=True), **fields})
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise errors.UsageError(f"{place} cannot be used", cause=first["msg"], hint="see /openapi.json") from exc


def _not_taken(kind: str) -> HTTPException:
    return HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a body of type {kind[:100]!r} is not taken here")
