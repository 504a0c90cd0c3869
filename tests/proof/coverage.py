"""Which fault met which state (T8): the matrix, and what is not in it.

A cell counts how often a fault struck while some batch, or some job, was in a state. Rows and columns are closed lists,
so that a fault that never struck shows as an empty row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from orchestrator.domain.states import BatchState, JobState
from proof.chronicle import Cell
from proof.mischief import CALLS, STORMS

STATES: Final = (*(state.value for state in BatchState), *(f"job {state.value}" for state in JobState))
FAULTS: Final = (
    "crash",
    "stands still",
    "unit handed out again",
    "unit late",
    "store restored",
    "clock ahead",
    "clock behind",
    "suspended",
    "disk full",
    "batch hidden",
    "batch stuck",
    "foreign twin",
    "neighbour deleted",
    "flicker404",
    *(f"storm {fault}" for fault in STORMS),
    *CALLS,
    *(f"row {kind}" for kind in ("api_error", "overloaded_error", "timeout_error", "invalid_request_error")),
    *(f"row {kind}" for kind in ("novel_error", "x", "c", "r", "s hidden")),
    "garbled",
    "duplicated",
    "foreign_lines",
    "blank_lines",
)
#: (fault, or "*", state): why the two cannot meet.
UNREACHABLE: Final[Mapping[Cell, str]] = {}


def matrix(hit: Mapping[Cell, int]) -> Iterator[str]:
    """A table, faults down and states across."""
    yield f"| fault | {' | '.join(STATES)} |"
    yield f"| --- |{' --- |' * len(STATES)}"
    for fault in FAULTS:
        yield f"| {fault} | {' | '.join(_cell(hit, fault, state) for state in STATES)} |"


def unreached(hit: Mapping[Cell, int]) -> Iterator[str]:
    """How much of what can be met was met, and what was not."""
    legal = [(fault, state) for fault in FAULTS for state in STATES if _why_not(fault, state) is None]
    missing = [cell for cell in legal if not hit.get(cell)]
    yield f"{len(legal) - len(missing):,} of {len(legal):,} cells that can be met were met."
    yield from (f"- not met: {fault} × {state}" for fault, state in missing)
    yield from (f"- cannot be met ({fault} × {state}): {why}" for (fault, state), why in UNREACHABLE.items())


def _cell(hit: Mapping[Cell, int], fault: str, state: str) -> str:
    times = hit.get((fault, state), 0)
    return f"{times:,}" if times else "—" if _why_not(fault, state) is not None else "0"


def _why_not(fault: str, state: str) -> str | None:
    return UNREACHABLE.get((fault, state), UNREACHABLE.get(("*", state)))
