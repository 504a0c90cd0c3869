"""Packs queued requests into a batch: in order, never over a limit, none skipped."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.domain.limits import BODY_HEAD, BODY_TAIL, body_bytes, item_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The limits of one batch: `requests` >= 1, `size_bytes` of the exact body."""

    requests: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The longest prefix of what was offered that fits one batch.

    numbers: the requests' places in their job, in order; size_bytes: the exact body; full: more was offered than fits.
    nanos: what it can cost at most, in nano-dollars; None: nobody asked.
    """

    numbers: Sequence[int]
    size_bytes: int
    full: bool
    nanos: int | None = None


def pack(rows: Iterable[tuple[int, int]], caps: Caps) -> Pack:
    """Take *rows* of (number, params bytes) in their order until the next one would break a cap.

    A first request that is too large alone gives an empty pack with `full` set: the caller fails that request.
    """
    numbers = array("I")  # compact: a batch has up to 100,000, and several are cut side by side
    items = 0
    room = caps.size_bytes - len(BODY_HEAD) - len(BODY_TAIL)
    for number, params_bytes in rows:
        size = item_bytes(params_bytes, number)
        if len(numbers) >= caps.requests or items + len(numbers) + size > room:
            return Pack(numbers=numbers, size_bytes=_body(items, numbers), full=True)
        numbers.append(number)
        items += size
    return Pack(numbers=numbers, size_bytes=_body(items, numbers), full=False)


class Affordable:
    """The longest prefix of requests that costs *nanos* at most: the third limit of a batch, asked last."""

    def __init__(self, nanos: int) -> None:
        self._room = nanos
        self._numbers = array("I")
        self._items = 0
        self.nanos = 0
        #: What the first request that does not fit can cost at most; None: all of them fit.
        self.first_left: int | None = None

    def take(self, number: int, params_bytes: int, worst: int) -> bool:
        """Take the next request, if it fits. Once one does not, none is taken any more."""
        if self.first_left is not None or self.nanos + worst > self._room:
            self.first_left = worst if self.first_left is None else self.first_left
            return False
        self._numbers.append(number)
        self._items += item_bytes(params_bytes, number)
        self.nanos += worst
        return True

    def pack(self, *, full: bool) -> Pack:
        """What was taken; *full*: there is more."""
        return Pack(numbers=self._numbers, size_bytes=_body(self._items, self._numbers), full=full, nanos=self.nanos)


def _body(items: int, numbers: Sequence[int]) -> int:
    return body_bytes(items, len(numbers)) if numbers else 0
