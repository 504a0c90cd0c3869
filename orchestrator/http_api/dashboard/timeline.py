"""The batches of a job over time, as places in a picture: percents of its width, rows from the top.

Drawn by our clock: what the API dates is put behind the moment a batch was sent. In the sandbox its time runs faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.domain.states import BatchState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.domain.model import Batch
    from orchestrator.http_api.look import Pulse

_FLYING: Final = frozenset({BatchState.IN_PROGRESS, BatchState.CANCELING, BatchState.IN_DOUBT, BatchState.SUBMITTING})
_ROW: Final = 20
_TOP: Final = 6
#: From this part of its 24 hours on, a batch is shown together with their end.
_NEAR: Final = 0.25
_SHORTEST: Final = timedelta(seconds=1)
_TICKS: Final = 4


@dataclass(frozen=True, slots=True)
class _Bar:
    """One batch by our clock. expiry: when its 24 hours end, if that is known."""

    batch: Batch
    start: datetime
    sent: datetime
    ended: datetime
    settled: datetime
    expiry: datetime | None


def timeline(batches: Sequence[Batch], pulse: Pulse) -> dict[str, object] | None:
    """The picture of *batches*, in their order; None where none was planned."""
    bars = [_bar(batch, pulse) for batch in batches]
    if not bars:
        return None
    first = min(bar.start for bar in bars)
    last = max(bar.settled for bar in bars)
    flying = [bar for bar in bars if bar.batch.state in _FLYING and bar.expiry is not None]
    line = min((bar.expiry for bar in flying if bar.expiry is not None), default=None)
    if flying:
        last = max(last, pulse.now)
        oldest = min(bar.sent for bar in flying)
        if line is not None and (last - oldest) > (line - oldest) * _NEAR:
            last = max(last, line + (line - oldest) * 0.04)
    span = max(last - first, _SHORTEST) * 1.02

    def place(at: datetime) -> float:
        return round(min(max((at - first) / span * 100, 0), 100), 2)

    return {
        "rows": [_row(index, bar, place) for index, bar in enumerate(bars)],
        "height": len(bars) * _ROW + _TOP,
        "now": place(pulse.now) if flying else None,
        "line": None if line is None or line > first + span else place(line),
        "line_in": None if line is None or line <= first + span else (line - pulse.now) * pulse.speed,
        "ticks": [{"x": 100 * n / _TICKS, "at": first + span * (n / _TICKS)} for n in range(_TICKS)],
    }


def _bar(batch: Batch, pulse: Pulse) -> _Bar:
    start = batch.planned_at
    sent = start if batch.sent_at is None else batch.sent_at
    waits = batch.state is BatchState.PLANNED
    ended = pulse.now if batch.state in _FLYING else sent
    expiry = None
    if batch.created_at is not None:
        if batch.ended_at is not None:
            ended = sent + (batch.ended_at - batch.created_at) / pulse.speed
        if batch.expires_at is not None:
            expiry = sent + (batch.expires_at - batch.created_at) / pulse.speed
    over = batch.settled_at
    if over is not None:
        ended = min(ended, over)
    settled = over if over is not None else pulse.now if batch.state is BatchState.ENDED or waits else ended
    return _Bar(batch, start, pulse.now if waits else sent, max(ended, sent), max(settled, ended, sent), expiry)


def _row(index: int, bar: _Bar, place: Callable[[datetime], float]) -> dict[str, object]:
    start, sent, ended, settled = (place(at) for at in (bar.start, bar.sent, bar.ended, bar.settled))
    return {
        "batch": bar.batch,
        "y": _TOP + index * _ROW,
        "wait": {"x": start, "width": round(sent - start, 2)},
        "fly": {"x": sent, "width": round(max(ended - sent, 0.4), 2)},
        "collect": {"x": ended, "width": round(settled - ended, 2)},
    }
