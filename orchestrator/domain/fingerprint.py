"""What tells identical params: a digest of their bytes, without the spaces between the tokens of the JSON.

The order of keys, the spelling of numbers and escapes are part of it: the params are never parsed for it. It has 128
bits: of ten million requests two that differ have the same one by chance once in 10^24 jobs.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from typing import Final

import msgspec

from orchestrator.domain.json_text import UNREADABLE

__all__ = ["SeenRequests", "fingerprint_of"]

_BYTES: Final = 16
#: Different requests that are remembered: some 25 MB. What comes after them is held against these, and not remembered.
_MOST: Final = 250_000
#: Of a digest, in hex: 64 bits, as only a count depends on it.
_DIGITS: Final = 16


def fingerprint_of(params: bytes) -> str:
    """The digest of *params*, a JSON value, in hex; some 2 us for a short prompt."""
    with suppress(*UNREADABLE):  # half a surrogate pair: legal, and told apart by its bytes as they are
        params = msgspec.json.format(params, indent=-1)
    return blake2b(params, digest_size=_BYTES).hexdigest()


class SeenRequests:
    """Finds requests that are identical to an earlier one. most: so many different ones are remembered.

    is_full: there were more, and what is found is the least.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._seen: set[int] = set()
        self.is_full = False

    def take(self, params: bytes) -> bool:
        """Whether an earlier request is known to have the same *params*."""
        digest = int(fingerprint_of(params)[:_DIGITS], 16)
        if digest in self._seen:
            return True
        if len(self._seen) < self._most:
            self._seen.add(digest)
        else:
            self.is_full = True
        return False
