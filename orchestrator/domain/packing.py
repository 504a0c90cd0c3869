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
    """

    numbers: Sequence[int]
    size_bytes: int
    full: bool


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


def _body(items: int, numbers: Sequence[int]) -> int:
    return body_bytes(items, len(numbers)) if numbers else 0
