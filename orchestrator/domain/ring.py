"""Daemons that are each other's API: what was sent must not come back as new work, round and round, paid each time.

Each create names the stores that it came through, in a header; one that names the store it arrives at is refused.
"""

from __future__ import annotations

import re
from typing import Final

HEADER: Final = "orchestrator-lineage"
_LINEAGE: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
#: Far more than stand in a row anywhere.
_MOST: Final = 32


class Passed:
    """The stores whose creates a daemon passes on: its *own*, and those that it was sent creates from.

    Not kept per job: a daemon has one API, so whoever sends to it at all sends through it. Nor across a restart: the
    next create of a ring brings it back.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._others: dict[str, None] = {}

    @property
    def header(self) -> str:
        """What to send along with a create."""
        return ",".join((self._own, *self._others))

    def take(self, header: str) -> bool:
        """Remember the stores that a create came through; False: ours is among them, and nothing is remembered."""
        named = [name for name in (part.strip() for part in header.split(",")) if _LINEAGE.fullmatch(name)]
        if self._own in named:
            return False
        for name in named:
            self._others.pop(name, None)
            self._others[name] = None
        while len(self._others) > _MOST:
            del self._others[next(iter(self._others))]
        return True
