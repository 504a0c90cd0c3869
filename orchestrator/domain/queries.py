"""The vocabulary of reads: filters, rows of lists, cursors, sums."""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal, Self

import msgspec

from orchestrator.domain.errors import BadCursor, GuardRefused
from orchestrator.domain.humanize import some
from orchestrator.domain.ids import MAX_NUMBER, BatchId
from orchestrator.domain.model import RequestCounts
from orchestrator.domain.states import BatchState, JobState, RequestState

_PLACE: Final = re.compile(r"(\d{1,18}|rest)\.(\d{1,10})", re.ASCII)
_LISTED: Final = 10
_CURSOR_VERSION: Final = 1

#: What is known of the tokens of an answer: the fields of `RequestView`, and the keys of `usage` in JSON.
TOKENS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDetails:
    """One request with its failed attempts. params: as they are sent; None if purged, as are the row and the result.

    original_params: as they were handed in; None: as they are sent. row: what the request was made of; None as well if
    it was handed in without.

    reused_from: the custom_id of the request with the same params that is sent for it; None: it is sent itself.

    Tokens are as the API counted them, None where it is not known; those of the cache are not among the input's.
    cost_nanos: as in `ResultRow`.
    """

    number: int
    custom_id: str
    line: int
    state: RequestState
    attempts: int
    error_type: str | None
    error_message: str | None
    api_request_id: str | None
    stop_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None
    batch_id: BatchId | None
    params: bytes | None
    result: bytes | None
    failed_attempts: tuple[Attempt, ...]
    cost_nanos: int | None = None
    row: bytes | None = None
    reused_from: str | None = None
    original_params: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that failed, and why. kind: of its result, as the API says it. outcome: what that meant.

    cost_nanos: what was paid for it; None: nobody knows.
    """

    batch_id: BatchId
    kind: str
    error_type: str | None
    error_message: str | None
    api_request_id: str | None
    at: datetime
    outcome: str = ""
    cost_nanos: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Failed requests of one cause: how many, and the first few as examples (custom_id, line).

    cause: what their messages have in common. error_message: that of the first of them, word for word.
    """

    error_type: str
    cause: str
    error_message: str
    count: int
    examples: tuple[tuple[str, int], ...]


class ResultRow(msgspec.Struct, frozen=True, gc=False):
    """One settled request, for the output: `body` is the API's result object; None for one that was never sent."""

    number: int
    custom_id: str
    state: RequestState
    body: bytes | None
    cost_nanos: int | None = None  #: of all its answers, those of earlier attempts included; None: not known
    row: bytes = b""  #: what the request was made of, as handed in; empty if there is none, or it was not asked for
    reused_from: str | None = None  #: the custom_id of the request whose answer it shows; None: it has its own


class RequestCost(msgspec.Struct, frozen=True, gc=False):
    """What one settled request cost. model: of its answer; None as the tokens if it has none, or they are not known.

    cost_nanos: as in `ResultRow`.
    """

    number: int
    custom_id: str
    state: RequestState
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None
    cache_read_tokens: int | None
    web_searches: int | None
    cost_nanos: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Jobs in one of *states* (empty: any) with all of *tags*, and *text* in the name or the id, in any case.

    submitted_by: that were handed in with the token of that name; None: any. since, until: the first and the last day
    (UTC) on which they were made; None: any.
    """

    states: frozenset[JobState] = frozenset()
    tags: frozenset[str] = frozenset()
    text: str | None = None
    submitted_by: str | None = None
    since: date | None = None
    until: date | None = None


ALL_JOBS: Final = JobFilter()
#: The states of a job that is handed in whole and not over.
UNFINISHED: Final = frozenset({JobState.RUNNING, JobState.PAUSED, JobState.CANCELING})


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """Requests of a job; a field that is None matches all. batch: the one that they belong to now.

    id_prefix: what their custom ids begin with, letter by letter. error_type, error_message, cause: of what has failed,
    unless a state or a batch is said; of others, what came last.
    """

    state: RequestState | None = None
    batch: BatchId | None = None
    error_type: str | None = None
    error_message: str | None = None
    cause: str | None = None
    stop_reason: str | None = None
    id_prefix: str | None = None


#: What to do where there is no such job, at the command line.
LISTED_JOBS: Final = "orchestrator ls shows every job"
ALL_REQUESTS: Final = RequestFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One request in a list. What its answer took, its tokens and its cost, is there only where it was asked for."""

    number: int
    custom_id: str
    line: int
    state: RequestState
    attempts: int
    error_type: str | None
    error_message: str | None
    stop_reason: str | None
    batch_id: BatchId | None
    params_bytes: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nanos: int | None = None  #: as in `ResultRow`


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBodies:
    """What a request says and what was answered, as stored; None: it is not there, was purged, or is too long."""

    params: bytes | None = None
    result: bytes | None = None


@dataclass(frozen=True, slots=True)
class RequestLine:
    """A request as a line of an input, newline included."""

    custom_id: str
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledCursor:
    """A place in the results, in the order in which they settled.

    event: of the settling of the batch that is being read; None: the rest, which no settled batch brought, is being
    read. number: the last request that was read there.
    """

    event: int | None = 0
    number: int = 0

    def to_text(self) -> str:
        """What `from_text` reads."""
        return f"{'rest' if self.event is None else self.event}.{self.number}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The place that `to_text` wrote. Raises ValueError."""
        found = _PLACE.fullmatch(text)
        if found is None or int(found[2]) > MAX_NUMBER:
            raise ValueError("not a place in the results")
        return cls(event=None if found[1] == "rest" else int(found[1]), number=int(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over all jobs. `jobs` and `batches` have every state as a key.

    in_flight_requests: the API holds, or may hold, them. oldest_unfinished_at: when the oldest job that is not over
    was made. invalid_answers: those of the failed that have one.
    """

    requests: RequestCounts
    jobs: Mapping[JobState, int]
    batches: Mapping[BatchState, int]
    stop_reasons: Mapping[str, int]
    in_flight_requests: int
    next_expiry: datetime | None
    resubmitted: int
    duplicates_total: int
    oldest_unfinished_at: datetime | None
    invalid_answers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The load of all jobs at one moment; `settled`, `failed` and `resubmitted` are sums since ever.

    It holds until the next one. watched: an engine has looked every few seconds since the sample before; if not, what
    changed between them may have changed at any time.
    """

    at: datetime
    queued: int
    in_flight_requests: int
    in_flight_batches: int
    settled: int
    failed: int
    resubmitted: int
    watched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Leap:
    """Requests that were settled, some of them failed, while no engine looked: at any time before the sample *at*."""

    at: datetime
    settled: int
    failed: int


def refuse_several(name: str, ids: Sequence[str]) -> None:
    """Raise GuardRefused if *ids*, newest first, are several jobs of one *name*: nobody can tell which is meant."""
    if len(ids) > 1:
        raise GuardRefused(
            f"{name!r} is the name of {len(ids):,} jobs; nothing was changed",
            cause=f"the newest first: {some(ids, _LISTED)}",
            hint="name one by its id, or the newest of all by @last",
        )


def encode_cursor(place: int | str) -> str:
    """The opaque cursor of a page of a list, the same at every face: where the next one begins is *place*."""
    return urlsafe_b64encode(msgspec.json.encode([_CURSOR_VERSION, place])).decode().rstrip("=")


def decode_cursor(text: str | None) -> int | None:
    """The number in a cursor; None without one. Raises BadCursor."""
    if text is None:
        return None
    try:
        held = msgspec.json.decode(
            urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=tuple[Literal[1], int], strict=True
        )
    except (msgspec.DecodeError, binascii.Error, ValueError) as exc:
        raise _bad_cursor() from exc
    if not 0 <= held[1] <= MAX_NUMBER or encode_cursor(held[1]) != text:
        raise _bad_cursor()
    return held[1]


def _bad_cursor() -> BadCursor:
    return BadCursor("the cursor cannot be read", hint="give `next` of the page before as it is, or leave it out")
