"""Requests that are alike, a fair sample of them, and what stands before the messages of many.

A shared head (tools, system prompt, schema of the answer) is counted once, and what is left of its requests is small.
The first few requests of each are taken for ordinary ones: only then is it known to be shared.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from random import Random
from typing import Final, NamedTuple

import msgspec

from orchestrator.domain.rough_size import Script, rough_head
from orchestrator.domain.token_bounds import PricedRequest

__all__ = ["ALONE", "EARLY", "Heads", "Likeness", "SampledRequest", "SharedHead", "Strata", "Stratum", "Terms"]

_MOST_STRATA: Final = 256
#: In place of the number of a shared head: the request has none.
ALONE: Final = -1
_SHARED_BY: Final = 4
#: Requests with a shared head that were taken for ordinary ones: it is among what their strata have.
EARLY: Final = _SHARED_BY - 1
_MOST_SHARED: Final = 64
_MOST_SEEN: Final = 4_096
_LEAST_MESSAGE: Final = msgspec.Raw(b'[{"role":"user","content":"."}]')
_FIELDS: Final = ("system", "tools", "tool_choice", "thinking", "output_config")
#: Kept in all, about, but at least so many of each: as many as may be counted, and some to spare.
_KEPT: Final = 400
_KEPT_EACH: Final = 4
_KEPT_BYTES: Final = 32 << 20
#: Larger requests are not counted: they are few, and the API takes 32 MB.
_MOST_COUNTED_BYTES: Final = 8 << 20


class Terms(NamedTuple):
    """What decides at which rates a prompt is billed. write: for how long it may be written to the cache, or ""."""

    model: str
    is_us: bool
    write: str


class Likeness(NamedTuple):
    """What requests of one stratum share. head: which shared beginning they have, -1: none. scale: log2 of the size."""

    terms: Terms
    head: int
    scale: int
    script: Script
    has_media: bool


class SampledRequest(NamedTuple):
    """A request that may be counted. size: its rough tokens, without a shared head."""

    size: float
    head: int
    params: bytes


class Stratum:
    """How many requests are alike, what they have in all, and some of them, drawn fairly (a reservoir)."""

    __slots__ = ("counted", "kept", "likeness", "max_tokens", "requests", "size")

    def __init__(self, likeness: Likeness) -> None:
        self.likeness = likeness
        self.requests = 0
        self.size = 0.0
        self.max_tokens = 0
        self.counted = 0.0  #: tokens, where every request is counted
        self.kept: list[SampledRequest] = []


class Strata:
    """The strata of one input. Past `_MOST_STRATA` what is new goes into one for all that is left of its model.

    What is kept of each shrinks as strata become more: a fair sample of a fair sample is one.
    """

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._room = _KEPT
        self._bytes = 0
        self._by_likeness: dict[Likeness, Stratum] = {}

    def __iter__(self) -> Iterator[Stratum]:
        return iter(self._by_likeness.values())

    def add(self, likeness: Likeness, candidate: SampledRequest, max_tokens: int) -> Stratum:
        """Take one request; returns the stratum that it is in."""
        stratum = self._by_likeness.get(likeness)
        if stratum is None:
            stratum = self._stratum(likeness)
        stratum.requests += 1
        stratum.size += candidate.size
        stratum.max_tokens += max_tokens
        if len(candidate.params) <= _MOST_COUNTED_BYTES:
            self._draw(stratum, candidate)
        return stratum

    def _draw(self, stratum: Stratum, candidate: SampledRequest) -> None:
        if len(stratum.kept) < self._room:
            self._keep(stratum, candidate)
        elif (place := int(self._chance.random() * stratum.requests)) < self._room:
            self._bytes -= len(stratum.kept[place].params)
            stratum.kept[place] = candidate
            self._weigh(candidate)

    def _stratum(self, likeness: Likeness) -> Stratum:
        if len(self._by_likeness) >= _MOST_STRATA:
            likeness = likeness._replace(head=-1, scale=0, script=Script.SOME, has_media=False)
        stratum = self._by_likeness.setdefault(likeness, Stratum(likeness))
        self._make_room(max(_KEPT_EACH, _KEPT // len(self._by_likeness)))
        return stratum

    def _keep(self, stratum: Stratum, candidate: SampledRequest) -> None:
        stratum.kept.append(candidate)
        self._weigh(candidate)

    def _weigh(self, candidate: SampledRequest) -> None:
        self._bytes += len(candidate.params)
        while self._bytes > _KEPT_BYTES and self._room > 1:
            self._make_room(self._room // 2)

    def _make_room(self, room: int) -> None:
        if room >= self._room:
            return
        self._room = room
        for stratum in self._by_likeness.values():
            while len(stratum.kept) > room:
                gone = stratum.kept.pop(int(self._chance.random() * len(stratum.kept)))
                self._bytes -= len(gone.params)


class SharedHead:
    """A head that several requests have. params: a request with nothing else; tokens: rough ones until counted."""

    __slots__ = ("is_counted", "params", "requests", "terms", "tokens")

    def __init__(self, terms: Terms, params: bytes, tokens: float) -> None:
        self.terms = terms
        self.params = params
        self.tokens = tokens
        self.is_counted = False
        self.requests = 0


class Heads:
    """The heads of one input."""

    def __init__(self) -> None:
        self.shared: list[SharedHead] = []
        self._numbers: dict[bytes, int] = {}
        self._seen: dict[bytes, int] = {}
        self._last: tuple[Terms, bytes] | None = None
        self._last_number = ALONE
        self._last_size = 0.0

    def add(self, request: PricedRequest, terms: Terms) -> tuple[int, float]:
        """The number of the shared head of *request*, and 0; or ALONE, and the rough tokens of its own."""
        head = _bytes_of(request)
        if not head:
            return ALONE, 0.0
        if self._last != (terms, head) or self._last_number == ALONE:
            self._look_at(request, terms, head)
        if self._last_number == ALONE:
            return ALONE, self._last_size
        self.shared[self._last_number].requests += 1
        return self._last_number, 0.0

    def _look_at(self, request: PricedRequest, terms: Terms, head: bytes) -> None:
        key = blake2b(repr(terms).encode() + head, digest_size=12).digest()
        self._last, self._last_size = (terms, head), rough_head(request, head)
        self._last_number = self._numbers.get(key, ALONE)
        if self._last_number == ALONE and self._is_shared_now(key):
            self._last_number = self._numbers[key] = len(self.shared)
            self.shared.append(SharedHead(terms, _without_messages(request), self._last_size))

    def _is_shared_now(self, key: bytes) -> bool:
        if len(self.shared) >= _MOST_SHARED or (key not in self._seen and len(self._seen) >= _MOST_SEEN):
            return False
        self._seen[key] = self._seen.get(key, 0) + 1
        return self._seen[key] >= _SHARED_BY


def _bytes_of(request: PricedRequest) -> bytes:
    parts = [bytes(raw) for raw in (getattr(request, name) for name in _FIELDS) if raw]
    return b"\0".join(parts)


def _without_messages(request: PricedRequest) -> bytes:
    """A request that a count takes, of the head and a single character."""
    fields = {name: raw for name in _FIELDS if (raw := getattr(request, name))}
    return msgspec.json.encode({"model": request.model, "messages": _LEAST_MESSAGE, **fields})
