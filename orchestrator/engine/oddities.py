"""Entries of the API's list that cannot be read: counted, and told of at most once a minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.api_answers import MalformedEntry
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

_QUIET_FOR: Final = timedelta(minutes=1)


class Oddities:
    """`entries`: how many were met, each time that a page showed one."""

    def __init__(self) -> None:
        self.entries = 0
        self._told_at: datetime | None = None
        self._told = 0

    def note(self, odd: Sequence[MalformedEntry], now: datetime) -> None:
        """A page had *odd* entries. A clock that was set back does not silence us."""
        if not odd:
            return
        self.entries += len(odd)
        if self._told_at is not None and self._told_at <= now < self._told_at + _QUIET_FOR:
            return
        log.warning("list.unreadable", entries=self.entries - self._told, example=odd[0].mark, why=odd[0].why)
        self._told_at, self._told = now, self.entries
