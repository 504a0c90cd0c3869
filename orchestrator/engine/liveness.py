"""How the engine is doing, for the faces only: no stage decides by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from orchestrator.ports.engine import EngineHealth

#: A stage rests ten seconds at most (`engine/runner.py`); one that rests so long was forgotten.
_TOO_LONG: Final = timedelta(seconds=30)


class StageLiveness:
    """Notes since when each stage is idle. A tick itself may take as long as a download does."""

    def __init__(self) -> None:
        self._rests: dict[str, datetime | None] = {}
        self._without_space: set[str] = set()

    def working(self, stage: str) -> None:
        """*stage* has begun a tick."""
        self._rests[stage] = None

    def idle(self, stage: str, now: datetime) -> None:
        """*stage* has ended its tick."""
        self._rests[stage] = now
        self._without_space.discard(stage)

    def disk_full(self, stage: str) -> None:
        """*stage* could not write: the disk is full."""
        self._without_space.add(stage)

    def trouble(self, now: datetime) -> str | None:
        """What is wrong, for a person; None if every stage is ticking."""
        if self._without_space:
            return "there is no space left for the store"
        if not self._rests:
            return "the engine is starting"
        late = sorted(stage for stage, since in self._rests.items() if since is not None and now - since > _TOO_LONG)
        return f"stage {late[0]} does not go round" if late else None


@dataclass(slots=True)
class ApiHealth(EngineHealth):
    """The health of the API, as its calls report it."""

    def note_answer(self) -> None:
        """A call worked."""
        self.api_worked = True
        self.last_trouble = None
        self.reads_blocked = False

    def note_trouble(self, why: str) -> None:
        """A call failed without an answer."""
        self.last_trouble = why

    def note_refusal(self, why: str, *, blocked: bool) -> None:
        """A read was refused; *blocked*: until a person acts."""
        self.api_worked = True
        self.last_trouble = why
        self.reads_blocked = blocked
