"""How routes are described in the OpenAPI document: their answers, refusals and bodies."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from orchestrator.domain import table_spec
from orchestrator.domain.job_spec import OPTIONS
from orchestrator.views import problem_details
from orchestrator.views.view import View

#: Any route may answer so: a query that is wrong, an engine that failed, one that stops.
_ALWAYS: Final = (400, 409, 500, 503)
_WHY: Final = {
    400: "What was asked is wrong; nothing was changed.",
    404: "There is no such thing.",
    409: "A guard said no; nothing was changed.",
    410: "Its prompts and results were deleted.",
    413: "The body is too large for this route.",
    415: "The body's type is not one that is taken here.",
    422: "The input was read and refused, with every problem by line; nothing was stored or sent.",
    500: "The engine or its store failed; the log says more.",
    502: "The Message Batches API could not be asked.",
    503: "The engine does not own its store, is not ready, or stops: try again.",
    507: "There is no space left for the store.",
}
#: How a problem document is described.
PROBLEM: Final = {problem_details.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
#: Public schema names that are not the class name without "View".
_PUBLIC_NAMES: Final = {"IngestResultView": "TakenIn", "AttemptView": "Trip", "RequestCounts": "Counts"}
FORM: Final = "multipart/form-data"
JSON: Final = "application/json"
#: Types of bodies that are streamed: JSON Lines, also compressed.
STREAMED: Final = (
    "application/x-ndjson",
    "application/jsonl",
    "application/gzip",
    "application/zstd",
    "application/octet-stream",
)


def public_name(kind: str) -> str:
    """The public schema name of the class called *kind*."""
    return _PUBLIC_NAMES.get(kind, kind.removesuffix("View"))


def answers(
    view: type[View], *refusals: int, status: int = HTTPStatus.OK, what: str = "Successful Response"
) -> dict[int | str, dict[str, Any]]:
    """Responses of a route that answers with *view*. refusals: see `error_responses`."""
    schema = {"$ref": f"#/components/schemas/{public_name(view.__name__)}"}
    answer = {"description": what, "content": {"application/json": {"schema": schema}}}
    return {int(status): answer, **error_responses(*refusals)}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals of a route: *statuses*, and those that every route may give."""
    return {status: _refusal(status) for status in sorted({*_ALWAYS, *statuses})}


def _refusal(status: int) -> dict[str, Any]:
    schema = "Refused" if status == HTTPStatus.UNPROCESSABLE_ENTITY else "Problem"
    content = {problem_details.CONTENT_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": _WHY[status], "content": content}


_BYTES: Final = {
    kind: {"schema": {"type": "string", "format": "binary", "description": "JSON Lines, also compressed."}}
    for kind in STREAMED
}
#: A body of requests alone (`job_upload.lines_source`).
LINES_BODY: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": _BYTES}}
#: A body that says what to retry (`job_upload.parse_retry_body`).
RETRY_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": False,
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "only": {
                            "type": ["string", "array", "null"],
                            "items": {"type": "string"},
                            "description": "failed, canceled, invalid, an error type, refusal, max_tokens.",
                        },
                        "error_cause": {
                            "type": ["string", "array", "null"],
                            "items": {"type": "string"},
                            "description": "Failures of this `cause`, or of one of these, as `errors` gives it.",
                        },
                        "set": {"type": "object", "description": "Members of params that get another value."},
                        "drop": {"type": "array", "items": {"type": "string"}, "description": "That are left out."},
                        "grow": {"type": "boolean", "description": "Twice the `max_tokens`, up to the model's most."},
                    },
                },
                "example": {"only": ["max_tokens"], "grow": True},
            }
        },
    }
}


def amount_body(name: str) -> dict[str, Any]:
    """A body that says an amount of dollars, called *name*; null is none (`job_upload.parse_amount_body`)."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": [name],
        "properties": {name: {"type": ["string", "null"], "description": "Dollars, such as 10.00; null: none."}},
    }
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema, "example": {name: "10.00"}}}}}


_TABLES: Final = {
    kind: {"schema": {"type": "string", "format": "binary", "description": "A table, with a template in the query."}}
    for kind in table_spec.MEDIA_TYPES
}
#: A body that makes a job (`job_upload.parse_upload`).
JOB_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            **_BYTES,
            **_TABLES,
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        **{
                            option.param: {**option.schema, "description": option.help}
                            for option in table_spec.ROW_OPTIONS.values()
                        },
                        "file": {"type": "string", "format": "binary"},
                    },
                    "description": "The file, of requests, or with a template a table; options as fields before it.",
                }
            },
            JSON: {
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
