"""How the engine is doing, for the faces only: no stage decides by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

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
class ApiHealth:
    """Whether the API answers."""

    worked: bool = False
    trouble: str | None = None
    blocked: bool = False

    @property
    def api_worked(self) -> bool:
        """Some call got an answer since the start."""
        return self.worked

    @property
    def last_trouble(self) -> str | None:
        """Why the last call failed; None if it worked."""
        return self.trouble

    @property
    def reads_blocked(self) -> bool:
        """The last read was refused for what only a person can mend: nothing can be collected meanwhile."""
        return self.blocked

    def note_answer(self) -> None:
        """A call worked."""
        self.worked = True
        self.trouble = None
        self.blocked = False

    def note_trouble(self, why: str) -> None:
        """A call failed."""
        self.trouble = why

    def note_refusal(self, why: str, *, blocked: bool) -> None:
        """A read got an answer, and it was a refusal; *blocked*: until a person acts."""
        self.worked = True
        self.trouble = why
        self.blocked = blocked
