"""How the engine is doing, for the faces only: no stage decides by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from orchestrator.ports.engine import EngineHealth

#: A stage rests ten seconds at most (`engine/runner.py`); one that rests so long was forgotten.
_TOO_LONG: Final = timedelta(seconds=30)


class StageLiveness:
    """Notes when each stage began to rest. A tick itself may take as long as a download does."""

    def __init__(self) -> None:
        self._rests: dict[str, datetime | None] = {}
        self._without_space: set[str] = set()

    def working(self, stage: str) -> None:
        """*stage* works."""
        self._rests[stage] = None

    def idle(self, stage: str, now: datetime) -> None:
        """*stage* did what there was to do."""
        self._rests[stage] = now
        self._without_space.discard(stage)

    def disk_full(self, stage: str) -> None:
        """*stage* could not write: the disk is full."""
        self._without_space.add(stage)

    def trouble(self, now: datetime) -> str | None:
        """What is wrong, for a person; None: every stage goes round."""
        if self._without_space:
            return "there is no space left for the store"
        if not self._rests:
            return "the engine is starting"
        late = sorted(stage for stage, since in self._rests.items() if since is not None and now - since > _TOO_LONG)
        return f"stage {late[0]} does not go round" if late else None


@dataclass(slots=True)
class ApiHealth(EngineHealth):
    """The health that the calls of the API report to."""

    def note_answer(self) -> None:
        """A call worked."""
        self.api_worked = True
        self.last_trouble = None
        self.reads_blocked = False

    def note_trouble(self, why: str) -> None:
        """A call failed."""
        self.last_trouble = why

    def note_refusal(self, why: str, *, blocked: bool) -> None:
        """A read got an answer, and it was a refusal; *blocked*: until a person acts."""
        self.api_worked = True
        self.last_trouble = why
        self.reads_blocked = blocked
