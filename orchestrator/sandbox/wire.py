"""What goes over the wire: the API's objects as msgspec structs, and its errors as exceptions.

Field names, order and texts follow the Message Batches API reference and the types of SDK 2.12. Nothing here knows
how a batch lives; `machine.py` decides, this module only says it in the API's words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

import msgspec

API_VERSIONS: Final = ("2023-06-01", "2026-10-21")
DEFAULT_WORKSPACE: Final = "wrkspc_sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks and how: the workspace of the key, the API version and betas of the headers, the URL that was called."""

    workspace: str = DEFAULT_WORKSPACE
    api_version: str = API_VERSIONS[-1]
    betas: frozenset[str] = field(default_factory=frozenset)
    base_url: str = "http://sandbox.localhost"


class RequestCounts(msgspec.Struct, frozen=True):
    """Tallies of a batch; their sum is always its number of requests, and all but the first are 0 until it ends."""

    processing: int
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class MessageBatchObject(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as `create`, `retrieve`, `list` and `cancel` show it. Instants are aware and in UTC."""

    id: str
    type: str = "message_batch"
    processing_status: Literal["in_progress", "canceling", "ended"]
    request_counts: RequestCounts
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    cancel_initiated_at: datetime | None
    archived_at: datetime | None
    results_url: str | None


class BatchPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of `list`, newest first. `last_id` is set on the last page too: `has_more` says whether to go on."""

    data: list[MessageBatchObject]
    has_more: bool
    first_id: str | None
    last_id: str | None


class DeletedBatch(msgspec.Struct, frozen=True):
    """The answer of `delete`."""

    id: str
    type: str = "message_batch_deleted"


class ApiError(Exception):
    """An answer of the API that is not a success: HTTP *status*, error *kind*, *message*, extra *headers*.

    `details` is the optional object beside the message (`{"error_code": …}`).
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        details: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {kind}: {message}")
        self.status = status
        self.kind = kind
        self.message = message
        self.headers = headers
        self.details = details

    def body(self, request_id: str | None) -> bytes:
        """The error as the API's JSON body."""
        return error_body(self.kind, self.message, request_id, self.details)


def error_body(kind: str, message: str, request_id: str | None, details: dict[str, str] | None = None) -> bytes:
    """An error object in the API's shape, for an HTTP answer or for an errored row."""
    inner: dict[str, object] = {"type": kind, "message": message, "details": details}
    return msgspec.json.encode({"type": "error", "error": inner, "request_id": request_id})


def invalid_request(message: str) -> ApiError:
    """A 400 of the ordinary kind."""
    return ApiError(400, "invalid_request_error", message)


def batch_not_found(batch_id: str) -> ApiError:
    """The 404 for an id that does not exist, was deleted, or belongs to another workspace (live captures, 2026-09)."""
    return not_found(f"Message Batch {batch_id} not found.")


def not_found(message: str) -> ApiError:
    """A 404; the API tells SDKs not to retry it (live captures, 2026-09)."""
    return ApiError(404, "not_found_error", message, headers=(("x-should-retry", "false"),))


def too_large() -> ApiError:
    """The 413 for a body over the limit."""
    return ApiError(413, "request_too_large", "Request exceeds the maximum size")
