"""A batch of the sandbox: when it was created, when it ends, the outcome of its rows. All of it is a function of time.

Nothing ticks: each question is asked with *now* and computed from stored times. Rows lie in encoded blocks, so that a
batch of 100,000 requests takes some 20 MB; how many of them end how is kept as a tally by (bucket, fate).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Literal, NamedTuple

import msgspec

from orchestrator.domain.batches_api import MessageBatchObject, RequestCountsObject
from orchestrator.sandbox.request_rows import BUCKETS, Fate, Row
from orchestrator.sandbox.sandbox_settings import Caller

BLOCK_ROWS: Final = 512

Outcome = Literal["succeeded", "errored", "canceled", "expired"]
OUTCOMES: Final[dict[Fate, Outcome]] = {
    Fate.SUCCEEDED: "succeeded",
    Fate.REFUSED: "succeeded",
    Fate.ERRORED: "errored",
    Fate.EXPIRED: "expired",
    Fate.CANCELED: "canceled",
}
_HOUR_S: Final = 3600
_decode_row: Final = msgspec.json.Decoder(Row)
_encoder: Final = msgspec.json.Encoder()


def encode_rows(rows: Sequence[Row]) -> bytes:
    """Rows as lines of JSON: the form of a block, and of the journal."""
    return _encoder.encode_lines(rows)


def decode_rows(block: bytes) -> list[Row]:
    """The rows of a block. Raises msgspec.DecodeError on a torn one."""
    return _decode_row.decode_lines(block)


class CachedTokens(NamedTuple):
    """The tokens of a prompt that were read from the cache, or written to it with either lifetime."""

    read: int = 0
    write_5m: int = 0
    write_1h: int = 0


_UNCACHED: Final = CachedTokens()


@dataclass(slots=True, kw_only=True)
class SandboxBatch:
    """One batch. `work_ends_at` is when its last request would be done if nobody cancels and nothing expires.

    `overrun` is how long after `expires_at` an unfinished batch really ends. `tally` counts its rows by (bucket, fate).
    A foreign batch belongs to another client of the workspace: its rows are generated when they are asked for. Deleted
    batches stay for the ledger. `warm`: the prefixes that lay in the prompt cache when it started, each with the last
    bucket whose rows read it; later ones find it gone.
    """

    id: str
    ordinal: int
    workspace: str
    api_version: str
    total: int
    created_at: datetime
    expires_at: datetime
    archives_at: datetime
    work_ends_at: datetime
    cancel_lasts: timedelta
    overrun: timedelta
    tally: Counter[tuple[int, Fate]]
    blocks: list[bytes] = field(default_factory=list)
    warm: dict[int, int] = field(default_factory=dict)
    foreign: bool = False
    cancel_at: datetime | None = None
    deleted: bool = False
    hidden_until: datetime | None = None

    def is_hidden(self, now: datetime) -> bool:
        """True while the API shows it nowhere."""
        return self.hidden_until is not None and now < self.hidden_until

    def ends_at(self) -> datetime:
        """When it ends or ended: all done, 24 h over, or canceled."""
        ends = self.work_ends_at if self.work_ends_at <= self.expires_at else self.expires_at + self.overrun
        return ends if self.cancel_at is None else min(ends, self.cancel_at + self.cancel_lasts)

    def has_ended(self, now: datetime) -> bool:
        """True when every request has an outcome."""
        return now >= self.ends_at()

    def has_results(self, now: datetime) -> bool:
        """True when the results can be downloaded: from the end until 29 days after the creation."""
        return self.has_ended(now) and now < self.archives_at

    def outcome(self, row: Row) -> Outcome:
        """The outcome of a row at the end: its fate, if it was done before the batch was stopped."""
        return OUTCOMES[row.fate] if row.bucket < self._done_before() else self._leftover()

    def cached(self, row: Row) -> CachedTokens:
        """What a row that was answered read: its longest prefix that lay there. Breakpoints after that are written."""
        if not row.prefixes:
            return _UNCACHED
        read = max((prefix.tokens for prefix in row.prefixes if row.bucket <= self.warm.get(prefix.key, -1)), default=0)
        there, hour = read, 0
        for prefix in row.prefixes:
            if prefix.ttl_s and prefix.tokens > there:
                hour += prefix.tokens - there if prefix.ttl_s == _HOUR_S else 0
                there = prefix.tokens
        return CachedTokens(read, there - read - hour, hour)

    def starts_at(self, bucket: int) -> datetime:
        """When the rows of *bucket* are begun; they are answered when the next bucket is."""
        return self.created_at + (self.work_ends_at - self.created_at) * bucket / BUCKETS

    def done_at(self, now: datetime) -> int:
        """Rows of lower buckets were answered until *now*."""
        return min(self._bucket_at(now), self._done_before())

    def counts(self, now: datetime, *, live: bool = False) -> RequestCountsObject:
        """The counts that the API shows at *now*: all processing until the end, unless *live*."""
        if self.has_ended(now):
            return self._counts(self._done_before(), self._leftover())
        return self._counts(self._bucket_at(now), "processing") if live else RequestCountsObject(self.total)

    def show(self, now: datetime, caller: Caller, *, live_counts: bool = False) -> MessageBatchObject:
        """The batch as the API shows it at *now*."""
        ended = self.has_ended(now)
        running: Literal["in_progress", "canceling"] = "in_progress" if self.cancel_at is None else "canceling"
        return MessageBatchObject(
            id=self.id,
            processing_status="ended" if ended else running,
            request_counts=self.counts(now, live=live_counts),
            created_at=self.created_at,
            expires_at=self.expires_at,
            ended_at=self.ends_at() if ended else None,
            cancel_initiated_at=self.cancel_at,
            archived_at=self.archives_at if now >= self.archives_at else None,
            results_url=self._results_url(caller) if self.has_results(now) else None,
        )

    def show_new(self) -> MessageBatchObject:
        """The batch as `create` answers: in progress, however fast it is."""
        return MessageBatchObject(
            id=self.id,
            processing_status="in_progress",
            request_counts=RequestCountsObject(self.total),
            created_at=self.created_at,
            expires_at=self.expires_at,
            ended_at=None,
            cancel_initiated_at=None,
            archived_at=None,
            results_url=None,
        )

    def block_count(self) -> int:
        """The number of blocks of rows."""
        return -(-self.total // BLOCK_ROWS)

    def block(self, number: int) -> list[Row]:
        """The rows of one block, in the order of the body."""
        return list(self._foreign_rows(number)) if self.foreign else decode_rows(self.blocks[number])

    def rows(self) -> Iterator[Row]:
        """All rows, in the order of the body."""
        for number in range(self.block_count()):
            yield from self.block(number)

    def _results_url(self, caller: Caller) -> str:
        return f"{caller.base_url}/v1/messages/batches/{self.id}/results"

    def _leftover(self) -> Outcome:
        """The outcome of a row that was not done."""
        return "expired" if self.cancel_at is None or self.cancel_at > self.expires_at else "canceled"

    def _done_before(self) -> int:
        """Rows of lower buckets are done at the end."""
        stop = self.expires_at if self.cancel_at is None else min(self.cancel_at, self.expires_at)
        return self._bucket_at(stop)

    def _bucket_at(self, instant: datetime) -> int:
        span = (self.work_ends_at - self.created_at).total_seconds()
        gone = (instant - self.created_at).total_seconds()
        return BUCKETS if gone >= span else int(BUCKETS * gone / span)

    def _counts(self, done_before: int, leftover: str) -> RequestCountsObject:
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        for (bucket, fate), number in self.tally.items():
            counts[OUTCOMES[fate] if bucket < done_before else leftover] += number
        return RequestCountsObject(**counts)

    def _foreign_rows(self, block: int) -> Iterator[Row]:
        first = block * BLOCK_ROWS
        for number in range(first, min(first + BLOCK_ROWS, self.total)):
            name = f"theirs-{self.ordinal}-{number}"
            digest = sha256(name.encode()).digest()
            yield Row(name, digest, "claude-haiku-4-5", 100, 25, "a neighbour's question", 0, Fate.SUCCEEDED)


class Traffic:
    """Open creates, and batches that have not ended. most_…: the highest that each ever was; neighbours' do not count.

    A create is open from its head until its answer is made; most_in_flight counts it with the batches.
    """

    def __init__(self) -> None:
        self.open_creates = self.most_open_creates = self.most_in_flight = 0
        self._working: list[SandboxBatch] = []

    @contextmanager
    def create(self, now: datetime) -> Iterator[None]:
        """One create, which begins *now* and is open for the block."""
        self.open_creates += 1
        self._working = [batch for batch in self._working if not batch.has_ended(now)]
        self.most_open_creates = max(self.most_open_creates, self.open_creates)
        self.most_in_flight = max(self.most_in_flight, self.open_creates + len(self._working))
        try:
            yield
        finally:
            self.open_creates -= 1

    def add(self, batch: SandboxBatch) -> None:
        """It was accepted."""
        self._working.append(batch)
