"""A body that brings requests: told apart by its Content-Type, and streamed into a source as it arrives."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from orchestrator.domain.errors import BodyTooLarge, UsageError
from orchestrator.domain.job_spec import OPTIONS, NewJob, name_of
from orchestrator.http_api.api.form import Form
from orchestrator.http_api.api.routing import UploadOptions
from orchestrator.http_api.upload_memory import claim_of
from orchestrator.ports.engine import IngestOptions
from orchestrator.views import source_codec

if TYPE_CHECKING:
    from starlette.requests import Request

    from orchestrator.http_api.services import Services
    from orchestrator.ports.runtime import MemoryReservation
    from orchestrator.ports.streams import Source

#: Larger bodies are streamed, as JSON Lines.
MAX_JSON_BYTES: Final = 8 << 20
STREAMED: Final = (
    "application/x-ndjson",
    "application/jsonl",
    "application/gzip",
    "application/zstd",
    "application/octet-stream",
)
#: What is no input is small.
MAX_ASKED_BYTES: Final = 1 << 20
#: What a body that is taken apart in memory may weigh beside itself, as a list of its parts.
_COPIES: Final = 8
_FORM: Final = "multipart/form-data"
_JSON: Final = "application/json"
#: Blocks are put together up to this size: every one costs two changes of thread further on.
_BLOCK_BYTES: Final = 256 * 1024
_TAKEN: Final = ", ".join((*STREAMED, _FORM, _JSON))


_TYPES: Final[dict[str, Any]] = {"string": str, "integer": int, "array": list[str]}
#: A small job in one JSON object: its requests, and every option by its name.
_SmallJob: Final = msgspec.defstruct(
    "_SmallJob",
    [
        ("requests", list[msgspec.Raw]),
        *((field, _TYPES[option.schema["type"]] | None, None) for field, option in OPTIONS.items()),
    ],
    forbid_unknown_fields=True,
)


class _Only(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be retried."""

    only: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUpload:
    """What a body is to become."""

    source: Source
    new: NewJob
    terms: IngestOptions


async def parse_upload(
    request: Request, services: Services, options: UploadOptions, *, key: str | None = None
) -> JobUpload:
    """The body of *request* as a source, and what it is to become; key: of the header `Idempotency-Key`.

    Raises BodyTooLarge, HTTPException 415, UsageError for fields that are wrong. Nothing is read yet but what stands
    before the requests.
    """
    kind = body_type(request)
    if key is not None:
        options = _merged(options, {"key": key})
    if kind == _JSON:
        options, blocks = await _small(request, options)
    elif kind == _FORM:
        form = Form(request.headers["content-type"], body_blocks(request))
        options, blocks = _merged(options, await form.fields()), form.blocks()
    else:
        blocks = body_blocks(request)
    new = _new(options, api_version=services.identity.api_version)
    name = new.source if options.shown_as is None else options.shown_as
    terms = IngestOptions(
        force_new=options.new == "1", skip_bad=options.skip_bad == "1", max_problems=options.max_problems
    )
    source = _source(services, kind, blocks, name=name, api_version=new.api_version, claim=claim_of(request))
    return JobUpload(source=source, new=new, terms=terms)


def lines_source(request: Request, services: Services, *, name: str, api_version: str) -> Source:
    """The body as a source, without options. Raises HTTPException 415."""
    kind = body_type(request)
    if kind in (_JSON, _FORM):
        raise _not_taken(kind)
    return _source(services, kind, body_blocks(request), name=name, api_version=api_version, claim=claim_of(request))


async def parse_retry_filter(request: Request) -> str | None:
    """`only` of a body {"only": "api_error"}; None without one. Raises UsageError, BodyTooLarge, HTTPException 415."""
    body = await read_small_body(request, MAX_ASKED_BYTES)
    if not body:
        return None
    if body_type(request) != _JSON:
        raise _not_taken(body_type(request))
    try:
        return msgspec.json.decode(body, type=_Only).only
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise UsageError("the body cannot be read", cause=str(exc), hint='give {"only": "api_error"}') from exc


def body_type(request: Request) -> str:
    """The type of the body. Raises HTTPException 415 with what to send in its place."""
    if request.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip", "zstd"):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body's encoding is not gzip, zstd or identity")
    kind = request.headers.get("content-type", STREAMED[-1]).partition(";")[0].strip().lower()
    if kind not in (*STREAMED, source_codec.CONTENT_TYPE, _JSON, _FORM):
        raise _not_taken(kind)
    return kind


async def body_blocks(request: Request) -> AsyncGenerator[bytes, None]:
    """The body as it arrives; nothing is read from the socket before it is wanted here.

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
    claim: MemoryReservation,
) -> Source:
    if kind == source_codec.CONTENT_TYPE:
        return source_codec.DecodedSource(blocks, name=name, claim=claim)
    return services.opener(blocks, name=name, api_version=api_version, claim=claim)


def _new(options: UploadOptions, *, api_version: str) -> NewJob:
    return options.job_options().new_job(
        options.source,
        default_name=name_of(options.source) if options.default_name is None else options.default_name,
        default_version=api_version,
        still_open=options.open == "1",
    )


async def _small(request: Request, options: UploadOptions) -> tuple[UploadOptions, AsyncIterator[bytes]]:
    """A job in one JSON object: its options, and its requests as lines."""
    body = await read_small_body(request, MAX_JSON_BYTES)
    try:
        small: Any = msgspec.json.decode(body, type=_SmallJob)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        hint = 'give {"name": …, "requests": [{"custom_id": …, "params": {…}}, …]}'
        raise UsageError("the body is not a job in JSON", cause=str(exc), hint=hint) from exc
    fields = {option.param: getattr(small, field) for field, option in OPTIONS.items()}
    return _merged(options, {key: value for key, value in fields.items() if value is not None}), _lines(small.requests)


async def _lines(requests: list[msgspec.Raw]) -> AsyncGenerator[bytes, None]:
    """The requests as JSON Lines; only white space between tokens is taken out, and only where a line would break."""
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
                raise BodyTooLarge(f"the body is larger than {most:,} bytes", hint=hint)
            await claim.hold(_COPIES * len(held))
    return bytes(held)


def _merged(options: UploadOptions, fields: dict[str, Any]) -> UploadOptions:
    """*options* with *fields* in the body, which win. Raises UsageError."""
    try:
        return UploadOptions.model_validate({**options.model_dump(exclude_unset=True), **fields})
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{place} cannot be used", cause=first["msg"], hint="see /openapi.json") from exc


def _not_taken(kind: str) -> HTTPException:
    return HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a body of type {kind[:100]!r} is not taken here")


_BYTES: Final = {
    kind: {"schema": {"type": "string", "format": "binary", "description": "JSON Lines, also compressed."}}
    for kind in STREAMED
}
#: How the bodies of `streamed` are described.
LINES_DESCRIBED: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": _BYTES}}
#: How the body of `parse_retry_filter` is described.
RETRY_DESCRIBED: Final[dict[str, Any]] = {
    "requestBody": {
        "required": False,
        "content": {
            _JSON: {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"only": {"type": ["string", "null"]}},
                },
                "example": {"only": "api_error"},
            }
        },
    }
}
#: How the bodies of `handed` are described.
DESCRIBED: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            **_BYTES,
            _FORM: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "description": "The file; options as fields before it.",
                }
            },
            _JSON: {
                "schema": {
                    "type": "object",
                    "required": ["requests"],
                    "additionalProperties": False,
                    "properties": {
                        "requests": {"type": "array", "items": {"type": "object"}},
                        **{
                            field: {**option.schema, "type": [option.schema["type"], "null"]}
                            for field, option in OPTIONS.items()
                        },
                    },
                },
                "example": {
                    "name": "greetings",
                    "requests": [
                        {
                            "custom_id": "hello-1",
                            "params": {
                                "model": "claude-haiku-4-5",
                                "max_tokens": 64,
                                "messages": [{"role": "user", "content": "Say hello."}],
                            },
                        }
                    ],
                },
            },
        },
    }
}
