"""The API's responses as values: what the provider port returns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class RemoteStatus(StrEnum):
    """`processing_status` of a remote batch (Message Batches API reference)."""

    IN_PROGRESS = "in_progress"
    CANCELING = "canceling"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCounts:
    """`request_counts`: the sum is always the batch's size; the last four stay zero until the batch has ended."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        """How many requests the batch has."""
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseMeta:
    """What the headers of a response say.

    date: the API's own clock (second resolution), the only one that counts for doubt and retention; organization and
    workspace: of the account that answered.
    """

    date: datetime | None = None
    request_id: str | None = None
    organization: str | None = None
    workspace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteBatch:
    """A batch as the API returns it; all times are aware, UTC, and by the API's clock."""

    id: str
    status: RemoteStatus
    counts: ApiCounts
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    archived_at: datetime | None = None


#: Begins the mark of an entry without an id.
NAMELESS: Final = "unreadable-"


@dataclass(frozen=True, slots=True, kw_only=True)
class MalformedEntry:
    """An entry of the list that is not a batch as the API documents it, with the fields that could be read.

    mark: identifies the entry: its id, or NAMELESS and a hash of its bytes.
    """

    mark: str
    id: str | None
    total: int | None
    created_at: datetime | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPage:
    """One page of the list, newest first. `last_id` is set even on the last page: `has_more` alone ends a walk.

    last_id: of the last entry that has an id. malformed: the entries that could not be read; they cost only themselves.
    """

    batches: tuple[RemoteBatch, ...]
    has_more: bool
    last_id: str | None
    meta: ResponseMeta
    malformed: tuple[MalformedEntry, ...] = ()


# --- the outcomes of a create -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A clear yes: a 200 that is a batch with our total count."""

    batch: RemoteBatch
    meta: ResponseMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """A clear no: no connection, or the body was not sent whole. cut: the connection broke inside the body."""

    why: str
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """A clear no for now (429, or 529 with the API's own error body)."""

    why: str
    retry_after_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """A clear no: 413."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """A clear no: 400 or 422. index: place in the batch (from 0) of the request that it names, if any."""

    why: str
    index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A clear no that only a person can change. code: a key of `account.REMEDIES`."""

    code: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """Anything else: the batch may or may not exist."""

    why: str


CreateAnswer = Accepted | NotSent | Busy | TooLarge | Invalid | Blocked | Unclear
