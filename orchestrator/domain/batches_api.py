"""The wire format of the Message Batches API: its objects as msgspec structs, its errors as exceptions.

For what serves this API: the sandbox, and the daemon's own `/v1`. Field names, order and texts follow the Message
Batches API reference and the types of SDK 2.12.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, Literal

import msgspec

from orchestrator.domain.api_versions import API_VERSIONS

MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 20
#: The organization that the sandbox answers for: whoever meets it on a port knows it by this.
SANDBOX_ORGANIZATION: Final = "00000000-0000-4000-8000-5a4db0000000"


class RequestCountsObject(msgspec.Struct, frozen=True):
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
    request_counts: RequestCountsObject
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    cancel_initiated_at: datetime | None
    archived_at: datetime | None
    results_url: str | None


class BatchListObject(msgspec.Struct, frozen=True, kw_only=True):
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
        """The error as a JSON body of the API."""
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


def known_version(version: str | None) -> str:
    """The header `anthropic-version`, if it is one of the API's. Raises ApiError 400."""
    if version is None:
        raise invalid_request("anthropic-version: header is required")
    if version not in API_VERSIONS:
        raise invalid_request(f'anthropic-version: "{version}" is not a valid version')
    return version


def page_limit(text: str | None) -> int:
    """How many batches a page of `list` may have, out of its query. Raises ApiError 400."""
    if text is None:
        return DEFAULT_PAGE
    try:
        return int(text)
    except ValueError:
        raise invalid_request("limit: Input should be a valid integer, unable to parse string as an integer") from None


def check_page(before_id: str | None, after_id: str | None, limit: int) -> None:
    """Raises ApiError 400 for what the API refuses of a page."""
    if limit < 1:
        raise invalid_request("limit: Input should be greater than or equal to 1")
    if limit > MAX_PAGE:
        raise invalid_request(f"limit: Input should be less than or equal to {MAX_PAGE}")
    if before_id is not None and after_id is not None:
        raise invalid_request("Only one of before_id and after_id can be given")


def no_results(batch_id: str) -> ApiError:
    """The 404 for results before the end, and after 29 days (live captures, 2026-09)."""
    return not_found(f"Message Batch {batch_id} has no available results.")


def delete_too_early() -> ApiError:
    """The 400 for the delete of a batch that has not ended (live captures, 2026-09)."""
    return invalid_request("In progress batches cannot be deleted. Consider canceling the batch instead.")


def duplicate_id(custom_id: str) -> ApiError:
    """The 400 for a create in which two requests share an id (live captures, 2026-09)."""
    return invalid_request(
        f"requests: custom_id's must be unique within a batch. Duplicate custom_id found: {custom_id}"
    )


def method_not_allowed() -> ApiError:
    """The 405 for a path that knows other methods."""
    return ApiError(405, "invalid_request_error", "Method Not Allowed")


#: Names the stores that a create came through. A daemon may be another's API: what was sent must not come back as new
#: work, round and round, paid each time.
LOOP_HEADER: Final = "orchestrator-lineage"
_LINEAGE: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
#: Far more than stand in a row anywhere.
_MOST: Final = 32


class LoopGuard:
    """Detects a ring of daemons that are each other's API: the stores whose creates this daemon passes on.

    Those are its *own* and all that sent creates to it. Not kept per job, because a daemon has one API, through which
    everything goes that is sent to it. Nor across a restart: the next create in a ring brings the names back.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._others: dict[str, None] = {}

    @property
    def header(self) -> str:
        """The value of LOOP_HEADER for a create."""
        return ",".join((self._own, *self._others))

    def take(self, header: str) -> bool:
        """Note the stores that a create came through; False: ours is among them, and nothing is noted."""
        named = [name for name in (part.strip() for part in header.split(",")) if _LINEAGE.fullmatch(name)]
        if self._own in named:
            return False
        for name in named:
            self._others.pop(name, None)
            self._others[name] = None
        while len(self._others) > _MOST:
            del self._others[next(iter(self._others))]
        return True
