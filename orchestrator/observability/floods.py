"""Lines that others can make us write, at most one a minute of each kind: a flood does not fill the log.

Ours are events, one for each change of a state. What libraries say may follow from each connection and each byte that a
stranger sends; so do the few events of `FLOODABLE`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

#: Events of ours that a client can cause as often as it likes.
FLOODABLE: Final = frozenset({"download.cut", "login.refused"})
_WINDOW_S: Final = 60.0
#: Kinds that are told apart; beyond them all are one kind.
_MOST: Final = 256
#: What differs between two lines of a kind: numbers, addresses, what somebody sent.
_DIFFERS: Final = re.compile(r"'[^']*'|\"[^\"]*\"|0x[0-9a-f]+|[0-9a-f]*\d[0-9a-f]*", re.IGNORECASE)
_OTHERS: Final = ("", 0, "", "")

_Kind = tuple[str, int, str, str]


@dataclass(slots=True)
class _Seen:
    """A kind that was written. until: its minute is over. more: lines that were not written since."""

    text: str
    until: float
    more: int = 0


class Floods:
    """Decides which records are written. *now*: a clock that never goes back, in seconds."""

    def __init__(self, now: Callable[[], float], *, is_flood: Callable[[logging.LogRecord], bool]) -> None:
        self._now = now
        self._is_flood = is_flood
        self._kinds: dict[_Kind, _Seen] = {}

    def written(self, record: logging.LogRecord) -> Iterator[logging.LogRecord]:
        """What is to be written where *record* came: how many of a kind were left out, then itself, or nothing."""
        now = self._now()
        yield from self._over(now)
        if not self._is_flood(record):
            yield record
            return
        kind, text = _kind_of(record)
        if kind not in self._kinds and len(self._kinds) >= _MOST:
            kind = _OTHERS
        seen = self._kinds.get(kind)
        if seen is None:
            self._kinds[kind] = _Seen(text, now + _WINDOW_S)
            yield record
        else:
            seen.more += 1

    def _over(self, now: float) -> Iterator[logging.LogRecord]:
        for kind, seen in list(self._kinds.items()):
            if seen.until > now:
                continue
            del self._kinds[kind]
            if seen.more:
                told = f"{seen.text}: {seen.more:,} more lines of this kind were left out"
                yield logging.LogRecord(kind[0] or "orchestrator", kind[1] or logging.WARNING, "", 0, told, None, None)


def _kind_of(record: logging.LogRecord) -> tuple[_Kind, str]:
    """What makes *record* alike to others, and the words that stand for all of them."""
    said = record.msg.get("event", "") if isinstance(record.msg, dict) else str(record.msg)
    text = said.partition("\n")[0][:200]
    where = ""
    if record.exc_info and record.exc_info[0] is not None:
        trace = record.exc_info[2]
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        where = f"{record.exc_info[0].__name__} {place}"
    return (record.name, record.levelno, _DIFFERS.sub("…", text), where), text
