"""Repeatable randomness and scaled time.

Every draw is a hash of the seed and of its subject, so it does not depend on how many came before it: the same seed
gives the same world whatever the order of calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

_SPAN: Final = 1 << 64


def word(seed: int, *about: object) -> int:
    """A 64-bit number that depends on *seed* and *about* alone."""
    text = "\x1f".join(str(part) for part in about).encode()
    return int.from_bytes(blake2b(text, digest_size=8, key=seed_key(seed)).digest(), "big")


def unit(seed: int, *about: object) -> float:
    """A number from 0 (included) to 1 (excluded) that depends on *seed* and *about* alone."""
    return word(seed, *about) / _SPAN


def token(seed: int, *about: object) -> str:
    """24 characters for an id, from *seed* and *about* alone."""
    text = "\x1f".join(str(part) for part in about).encode()
    return blake2b(text, digest_size=12, key=seed_key(seed)).hexdigest()


def seed_key(seed: int) -> bytes:
    """The seed as a key for blake2b; any integer will do."""
    return (seed % _SPAN).to_bytes(8, "big")


class ScaledClock:
    """The start + real seconds × *speed* + what `advance` added; never goes back. With *speed* 0 it stands still.

    *start*: an aware instant, default the wall clock now. *monotonic*: the source of real seconds.
    """

    def __init__(
        self,
        speed: float,
        *,
        start: datetime | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.speed = speed
        self._monotonic = monotonic
        self._began = monotonic()
        self._start = datetime.now(UTC) if start is None else start
        self._added = timedelta(0)

    def now(self) -> datetime:
        """The sandbox's current instant."""
        return self._start + timedelta(seconds=(self._monotonic() - self._began) * self.speed) + self._added

    def advance(self, by: timedelta) -> datetime:
        """Move forward at once; return the new instant. Raises ValueError on a step back."""
        if by < timedelta(0):
            raise ValueError("time only goes forward")
        self._added += by
        return self.now()
