"""The batches of a job on a time axis: x in percent of the width, rows from the top.

Times come from the event log, by our clock. Only the end at the API is placed by the API's own duration after its
start; in the sandbox the API's time runs faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from orchestrator.domain import ids, model, states

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.views.status_text import ApiClock


#: What a piece of a bar shows, and its words in the legend. Every state has one; the last three mark an end.
KINDS: Final = {
    "wait": "to send",
    "send": "being sent",
    "doubt": "in doubt",
    "fly": "at the API",
    "collect": "results come",
    "done": "done",
    "failed": "done, with failures",
    "gone": "given up",
}
KIND_OF: Final = {
    states.BatchState.PLANNED: "wait",
    states.BatchState.SUBMITTING: "send",
    states.BatchState.IN_DOUBT: "doubt",
    states.BatchState.IN_PROGRESS: "fly",
    states.BatchState.CANCELING: "fly",
    states.BatchState.ENDED: "collect",
    states.BatchState.SETTLED: "done",
    states.BatchState.VOID: "gone",
    states.BatchState.ABANDONED: "gone",
}
_OVER: Final = frozenset({states.BatchState.SETTLED, states.BatchState.VOID, states.BatchState.ABANDONED})
_ROW: Final = 20
_TOP: Final = 6
#: From this part of its 24 hours on, a batch is shown together with their end.
_NEAR: Final = 0.25
_SHORTEST: Final = timedelta(seconds=1)
_TICKS: Final = 4
#: Percents: whatever was there is seen.
_THINNEST: Final = 0.3


@dataclass(slots=True)
class _Segment:
    """A part of a bar."""

    kind: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class _Bar:
    """One batch by our clock. mark: how it ended, if it did. expiry: the end of its 24 hours, if known."""

    batch: model.Batch
    pieces: list[_Segment]
    mark: str | None
    expiry: datetime | None

    @property
    def end(self) -> datetime:
        return self.pieces[-1].end


def timeline(
    batches: Sequence[model.Batch],
    histories: Mapping[ids.BatchId, Sequence[tuple[datetime, states.BatchState]]],
    api_clock: ApiClock,
) -> dict[str, object] | None:
    """The chart of *batches*, in their order; None if there are none. histories: when each entered a state."""
    bars = [_bar(batch, histories.get(batch.id, ()), api_clock) for batch in batches]
    if not bars:
        return None
    first, last, line = _axis(bars)
    span = max(last - first, _SHORTEST) * 1.02

    def place(at: datetime) -> float:
        return round(min(max((at - first) / span * 100, 0), 100), 2)

    is_drawn = line is not None and line <= first + span
    rows = [_row(index, bar, place) for index, bar in enumerate(bars)]
    shown = {piece.kind for bar in bars for piece in bar.pieces} | {bar.mark for bar in bars}
    return {
        "rows": rows,
        "height": len(bars) * _ROW + _TOP,
        "legend": [(kind, words) for kind, words in KINDS.items() if kind in shown],
        "now": place(api_clock.now) if any(bar.mark is None for bar in bars) else None,
        "line": place(line) if line is not None and is_drawn else None,
        "line_in": None if line is None or is_drawn else (line - api_clock.now) * api_clock.speed,
        "ticks": [{"x": 100 * n / _TICKS, "at": first + span * (n / _TICKS)} for n in range(_TICKS)],
    }


def _axis(bars: Sequence[_Bar]) -> tuple[datetime, datetime, datetime | None]:
    """Where the axis begins and ends, and the next expiry of a batch in flight; once that is near, the axis has it."""
    first = min(bar.pieces[0].start for bar in bars)
    last = max(bar.end for bar in bars)
    flying = [bar for bar in bars if bar.batch.state in states.IN_FLIGHT]
    line = min((bar.expiry for bar in flying if bar.expiry is not None), default=None)
    if line is not None:
        oldest = min(_sent(bar.batch) for bar in flying if bar.expiry is not None)
        if (last - oldest) > (line - oldest) * _NEAR:
            last = max(last, line + (line - oldest) * 0.04)
    return first, last, line


def _bar(batch: model.Batch, history: Sequence[tuple[datetime, states.BatchState]], api_clock: ApiClock) -> _Bar:
    steps = list(history) if history else [(batch.planned_at, batch.state)]
    is_over = batch.state in _OVER
    pieces: list[_Segment] = []
    at = steps[0][0]
    for index, (came, state) in enumerate(steps):
        at = max(at, came)  # our clock may have been put back
        if state in _OVER:
            break
        left = steps[index + 1][0] if index + 1 < len(steps) else api_clock.now
        _add(pieces, KIND_OF[state], at, max(left, at))
    if not pieces:
        pieces.append(_Segment(KIND_OF[steps[0][1]], at, at))
    _end_at_the_api(pieces, batch, api_clock)
    return _Bar(batch, pieces, _mark(batch) if is_over else None, _expiry(batch, api_clock))


def _add(pieces: list[_Segment], kind: str, start: datetime, end: datetime) -> None:
    if start == end:
        return
    if pieces and pieces[-1].kind == kind:
        pieces[-1].end = end
    else:
        pieces.append(_Segment(kind, start, end))


def _end_at_the_api(pieces: list[_Segment], batch: model.Batch, api_clock: ApiClock) -> None:
    """The API may have ended the batch before we noticed: from then on its results waited for us."""
    if batch.created_at is None or batch.ended_at is None:
        return
    for piece, following in pairwise(pieces):
        if (piece.kind, following.kind) == ("fly", "collect"):
            ended = piece.start + (batch.ended_at - batch.created_at) / api_clock.speed
            piece.end = following.start = min(max(ended, piece.start), piece.end)


def _mark(batch: model.Batch) -> str:
    counts = batch.api_counts
    if batch.state is not states.BatchState.SETTLED or (counts is not None and not counts.succeeded + counts.errored):
        return "gone"
    return "failed" if counts is not None and counts.errored else "done"


def _sent(batch: model.Batch) -> datetime:
    return batch.planned_at if batch.sent_at is None else batch.sent_at


def _expiry(batch: model.Batch, api_clock: ApiClock) -> datetime | None:
    if batch.created_at is None or batch.expires_at is None:
        return None
    return _sent(batch) + (batch.expires_at - batch.created_at) / api_clock.speed


def _row(index: int, bar: _Bar, place: Callable[[datetime], float]) -> dict[str, object]:
    pieces = []
    for piece in bar.pieces:
        start = place(piece.start)
        pieces.append({"kind": piece.kind, "x": start, "width": round(max(place(piece.end) - start, _THINNEST), 2)})
    return {
        "batch": bar.batch,
        "y": _TOP + index * _ROW,
        "pieces": pieces,
        "mark": bar.mark,
        "end": place(bar.end),
        "words": ", then ".join(KINDS[kind] for kind in [*(piece.kind for piece in bar.pieces), bar.mark] if kind),
    }
