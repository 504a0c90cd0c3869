"""Problems that many lines have for one cause: each cause is told once, with how many lines have it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from orchestrator.ports.streams import InputProblem

#: Of the lines that have the same problem so many are named.
_LINES_TOLD: Final = 5
#: More causes than that are no causes but one line's own each: of problems that say they have one, and of all others.
_MOST_CAUSES: Final = 50
_MOST_OTHERS: Final = 1000


@dataclass(slots=True)
class _Cause:
    lines: int = 0
    first: list[str] = field(default_factory=list)
    last: int = 0

    def add(self, line: int) -> None:
        if line == self.last:
            return
        self.last = line
        self.lines += 1
        self.first += [f"{line:,}"] if len(self.first) < _LINES_TOLD else []


class AlikeProblems:
    """What was found so far, by its cause; the problems of one line come one after the other."""

    def __init__(self) -> None:
        self._causes: dict[str, _Cause] = {}
        self._others: dict[tuple[str, str], _Cause] = {}

    def take(self, problem: InputProblem) -> bool:
        """Whether *problem* is told with an earlier one of its cause."""
        known = self._known(problem)
        is_first = known is None
        if known is None:
            if problem.is_alike and len(self._causes) < _MOST_CAUSES:
                self._causes[problem.message] = known = _Cause()
            elif not problem.is_alike and len(self._others) < _MOST_OTHERS:
                self._others[problem.field, problem.message] = known = _Cause()
            else:
                return False
        known.add(problem.line)
        return not is_first

    def _known(self, problem: InputProblem) -> _Cause | None:
        """Its cause so far. What does not name one has that of the same words about the same field."""
        if problem.is_alike:
            return self._causes.get(problem.message)
        return self._others.get((problem.field, problem.message))

    def told(self, problems: Iterable[InputProblem]) -> list[InputProblem]:
        """*problems*, of which the first of each cause says how many lines have it."""
        return [self._told(each) for each in problems]

    def _told(self, problem: InputProblem) -> InputProblem:
        cause = self._known(problem)
        if cause is None or cause.lines <= 1:
            return problem
        named = f"{', '.join(cause.first)}{', …' if cause.lines > len(cause.first) else ''}"
        return replace(problem, message=f"{problem.message}: {cause.lines:,} lines have it ({named})")
