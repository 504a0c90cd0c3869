"""What is to be said of a conversion: problems of lines, and what became of fields that went another way, by cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from orchestrator.domain.param_problem import ParamProblem

_LINES_TOLD: Final = 5
#: Causes have values of users in them; more than so many are told together.
_MOST_CAUSES: Final = 100


class FindingKind(StrEnum):
    """What became of a field.

    LOST: it has no counterpart. CHANGED: it is said in another way, or something was put in. DEFAULT: it said what
    holds anyway, and was left out.
    """

    LOST = "lost"
    CHANGED = "changed"
    DEFAULT = "default"


@dataclass(slots=True, kw_only=True)
class FoundCause:
    """One cause: what became of a field, in so many requests. lines: the first of theirs."""

    kind: FindingKind
    name: str
    words: str
    requests: int = 0
    lines: list[int] = field(default_factory=list)

    @property
    def shown_lines(self) -> str:
        """`line 7`, `lines 1, 2, 3, 4, 5, …`."""
        named = ", ".join(f"{line:,}" for line in self.lines)
        more = ", …" if self.requests > len(self.lines) else ""
        return f"line{'s' * (self.requests > 1)} {named}{more}"


class LineFindings:
    """What is found in one line. A line with problems becomes no request."""

    def __init__(self) -> None:
        self.problems: list[ParamProblem] = []
        self.causes: dict[tuple[FindingKind, str, str], None] = {}

    def wrong(self, place: str, message: str, remedy: str, *, is_alike: bool = False) -> None:
        """The line cannot be converted. is_alike: for a cause that many lines may have."""
        self.problems.append(ParamProblem(place, message, remedy, is_alike))

    def lost(self, name: str, words: str) -> None:
        """The field *name* has no counterpart."""
        self.causes[FindingKind.LOST, name, words] = None

    def changed(self, name: str, words: str) -> None:
        """The field *name* is said in another way."""
        self.causes[FindingKind.CHANGED, name, words] = None

    def default(self, name: str) -> None:
        """The field *name* said what holds anyway."""
        self.causes[FindingKind.DEFAULT, name, "says what holds anyway"] = None


class Findings:
    """All that was found in a file so far, by cause."""

    def __init__(self) -> None:
        self._found: dict[tuple[FindingKind, str, str], FoundCause] = {}

    def add(self, line: int, found: LineFindings) -> None:
        """Count the causes of a *line* that became a request."""
        for kind, name, words in found.causes:
            key = kind, name, words
            if key not in self._found and len(self._found) >= _MOST_CAUSES:
                key = kind, "others", "are different from line to line"
            known = self._found.setdefault(key, FoundCause(kind=kind, name=key[1], words=key[2]))
            known.requests += 1
            if len(known.lines) < _LINES_TOLD:
                known.lines.append(line)

    def of(self, kind: FindingKind) -> list[FoundCause]:
        """Those of a *kind*, the commonest first."""
        return sorted((each for each in self._found.values() if each.kind is kind), key=lambda each: -each.requests)
