"""The batches of the local API and what it answers: what `benchmarks/server.py` serves. It knows no sockets.

Source of the shapes: Message Batches API reference; live captures of error texts.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

BATCHES: Final = "/v1/messages/batches"
#: Bytes of result lines handed to the socket at once; the socket's own buffer is the flow control.
_WRITE_BYTES: Final = 512 * 1024
_MAX_REQUESTS: Final = 100_000
_MAX_BODY_BYTES: Final = 256_000_000
_CORPUS_BYTES: Final = 8 * 1024 * 1024
_PREFIX: Final = "msgbatch_01"
_SAFE_IDS: Final = re.compile(r'[^"\\\x00-\x1f]+', re.ASCII)
_MODEL: Final = re.compile(rb'"model"\s*:\s*"([\w.-]+)"')
_LINE: Final = (
    b'{"custom_id":"%%b","result":{"type":"succeeded","message":{"id":"msg_01%%022x","type":"message",'
    b'"role":"assistant","model":"%b","content":[{"type":"text","text":%%b}],"stop_reason":"end_turn",'
    b'"stop_sequence":null,"usage":{"input_tokens":250,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
    b'"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":130,'
    b'"service_tier":"batch","inference_geo":"not_available"}}}}\n'
)


class _Item(msgspec.Struct, gc=False):
    custom_id: str


class _Create(msgspec.Struct, gc=False):
    requests: list[_Item]


_create: Final = msgspec.json.Decoder(_Create)


class Refusal(Exception):
    """The API's own error body, with its status."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_bench"}


class Replies:
    """The texts of the answers, as JSON strings of one length: the same one always, or words, no two alike for long."""

    def __init__(self, size_bytes: int, text: str | None) -> None:
        self._fixed = None if text is None else json.dumps(text).encode()
        self._size = size_bytes
        self._corpus = b"" if self._fixed is not None else _words(_CORPUS_BYTES)
        self.size_bytes = size_bytes + 2 if self._fixed is None else len(self._fixed)

    def of(self, number: int) -> bytes:
        """The JSON string that answers the request *number* of this server."""
        if self._fixed is not None:
            return self._fixed
        start = number * self._size % (len(self._corpus) - self._size)
        return b'"%b"' % self._corpus[start : start + self._size]


def _words(size_bytes: int) -> bytes:
    """Made-up words, the first of them much more frequent than the last, as in a language."""
    chance = random.Random(4)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(4000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    return " ".join(chance.choices(words, weights, k=size_bytes // 5)).encode()[:size_bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is kept of a batch."""

    number: int  #: from 0, in the order of creation
    first: int  #: how many requests all batches before it had
    count: int
    ids: bytes  #: the custom_ids, a line feed between two
    model: bytes
    created_at: datetime
    ends_at: datetime

    @property
    def id(self) -> str:
        """What the API calls it."""
        return f"{_PREFIX}{self.number:022d}"

    def view(self, host: str, now: datetime) -> dict[str, object]:
        """The MessageBatch object at *now*."""
        ended = now >= self.ends_at
        counts = {"processing": 0 if ended else self.count, "succeeded": self.count if ended else 0}
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": {**counts, "errored": 0, "canceled": 0, "expired": 0},
            "created_at": _instant(self.created_at),
            "expires_at": _instant(self.created_at + timedelta(days=1)),
            "ended_at": _instant(self.ends_at) if ended else None,
            "cancel_initiated_at": None,
            "archived_at": None,
            "results_url": f"http://{host}{BATCHES}/{self.id}/results" if ended else None,
        }


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(slots=True)
class Calls:
    """How often each route was called since the last reset, and when the first call came (monotonic seconds)."""

    count: Counter[str] = field(default_factory=Counter)
    first_s: float | None = None

    def note(self, route: str) -> None:
        """One more call."""
        if self.first_s is None:
            self.first_s = time.monotonic()
        self.count[route] += 1


class Machine:
    """The batches, and what the API answers."""

    def __init__(self, replies: Replies, in_flight_for: timedelta) -> None:
        self.replies = replies
        self.calls = Calls()
        self._in_flight_for = in_flight_for
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        self._deleted: set[int] = set()
        self._total = 0

    def end_all(self) -> None:
        """Let every batch end that has not."""
        with self._lock:
            now = datetime.now(UTC)
            self._batches = [replace(batch, ends_at=min(batch.ends_at, now)) for batch in self._batches]

    def create(self, body: bytes, host: str) -> dict[str, object]:
        """Keep the ids of a new batch."""
        ids = _ids_of(body)
        model = _MODEL.search(body)
        now = datetime.now(UTC)
        with self._lock:
            batch = Batch(
                number=len(self._batches),
                first=self._total,
                count=len(ids),
                ids="\n".join(ids).encode(),
                model=b"claude-haiku-4-5" if model is None else model[1],
                created_at=now,
                ends_at=now + self._in_flight_for,
            )
            self._batches.append(batch)
            self._total += batch.count
        return batch.view(host, now - timedelta(seconds=1) if batch.ends_at == now else now)

    def find(self, name: str) -> Batch:
        """The batch that the API calls *name*."""
        digits = name.removeprefix(_PREFIX)
        number = int(digits) if digits.isdecimal() else -1
        if not 0 <= number < len(self._batches) or number in self._deleted:
            raise Refusal(404, "not_found_error", f"Message Batch {name} not found.")
        return self._batches[number]

    def page(self, query: dict[str, list[str]], host: str) -> dict[str, object]:
        """The list, newest first: after_id goes to older ones, before_id to newer ones."""
        limit = int(query.get("limit", ["20"])[0])
        if not 1 <= limit <= 1000:
            raise Refusal(400, "invalid_request_error", "limit: must be between 1 and 1000")
        if "before_id" in query:
            newer = range(self.find(query["before_id"][0]).number + 1, len(self._batches))
            found = self._some(iter(newer), limit)[::-1]
            more = bool(found) and found[0].number != newer[-1]
        else:
            top = self.find(query["after_id"][0]).number if "after_id" in query else len(self._batches)
            found = self._some(iter(range(top - 1, -1, -1)), limit + 1)
            found, more = found[:limit], len(found) > limit
        now = datetime.now(UTC)
        return {
            "data": [batch.view(host, now) for batch in found],
            "has_more": more,
            "first_id": found[0].id if found else None,
            "last_id": found[-1].id if found else None,
        }

    def _some(self, numbers: Iterator[int], limit: int) -> list[Batch]:
        found: list[Batch] = []
        for number in numbers:
            if number not in self._deleted:
                found.append(self._batches[number])
                if len(found) == limit:
                    break
        return found

    def delete(self, name: str) -> dict[str, object]:
        """Forget an ended batch."""
        batch = self.find(name)
        if datetime.now(UTC) < batch.ends_at:
            words = "In progress batches cannot be deleted. Consider canceling the batch instead."
            raise Refusal(400, "invalid_request_error", words)
        self._deleted.add(batch.number)
        return {"id": name, "type": "message_batch_deleted"}

    def results(self, name: str) -> tuple[int, Iterator[bytes]]:
        """How many bytes the result lines of a batch have, and the lines, in an order shuffled by its number."""
        batch = self.find(name)
        if datetime.now(UTC) < batch.ends_at:
            raise Refusal(404, "not_found_error", f"Message Batch {name} has no available results.")
        line = _LINE % batch.model
        fixed = len(line % (b"", 0, b"")) + self.replies.size_bytes
        return batch.count * fixed + len(batch.ids) - (batch.count - 1), self._lines(batch, line, fixed)

    def _lines(self, batch: Batch, line: bytes, fixed: int) -> Iterator[bytes]:
        ids = batch.ids.split(b"\n")
        random.Random(batch.number).shuffle(ids)
        reply = self.replies.of
        step = max(1, _WRITE_BYTES // (fixed + 30))
        for start in range(0, len(ids), step):
            first = batch.first + start
            yield b"".join(
                [line % (name, number * 0x9E3779B97F4A7C15, reply(number))
                 for number, name in enumerate(ids[start : start + step], first)]
            )  # fmt: skip


def _ids_of(body: bytes) -> list[str]:
    """The custom_ids in the body of a create. Raises Refusal where the API refuses the whole create."""
    if len(body) > _MAX_BODY_BYTES:
        raise Refusal(413, "request_too_large", "Request exceeds the maximum size")
    try:
        ids = [item.custom_id for item in _create.decode(body).requests]
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Refusal(400, "invalid_request_error", f"The request body is not valid JSON: {exc}") from exc
    if not 1 <= len(ids) <= _MAX_REQUESTS:
        raise Refusal(400, "invalid_request_error", f"requests: 1 to {_MAX_REQUESTS} items, not {len(ids)}")
    if not _SAFE_IDS.fullmatch("".join(ids)) or not all(ids):
        raise Refusal(400, "invalid_request_error", "requests.0.custom_id: String should match pattern")
    if len(set(ids)) != len(ids):
        raise Refusal(400, "invalid_request_error", "requests: custom_id's must be unique within a batch.")
    return ids
