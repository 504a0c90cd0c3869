"""Problems that many lines have for one cause: each cause is told once, with how many lines have it."""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from orchestrator.ports.streams import InputProblem

#: Of the lines that have the same problem so many are named.
_LINES_TOLD: Final = 5
#: More causes than that are no causes but one line's own each.
_MOST_CAUSES: Final = 1000
#: What may differ between two problems of one cause: a text in quotes, a number, a place in a list.
_VALUE: Final = re.compile(r"""'[^']*'|"[^"]*"|[0-9][0-9,._]*""")


@dataclass(slots=True)
class _Cause:
    told: InputProblem  #: the first that was found
    lines: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)  #: lines, and where they are
    last: int = 0
    differs: bool = False  #: not all say the very same

    def add(self, problem: InputProblem) -> None:
        self.differs = self.differs or _said(problem) != _said(self.told)
        if problem.line == self.last:
            return
        self.last = problem.line
        self.lines += 1
        if len(self.first) < _LINES_TOLD or problem.line < self.first[-1][0]:  # repeated ids come in another order
            insort(self.first, (problem.line, problem.place or f"{problem.line:,}"))
            del self.first[_LINES_TOLD:]


class AlikeProblems:
    """What was found so far, by its cause; the problems of one line come one after the other.

    Two have one cause if they say the same, but for numbers and what stands in quotes.
    """

    def __init__(self) -> None:
        self._causes: dict[str, _Cause] = {}

    def take(self, problem: InputProblem) -> bool:
        """Whether *problem* is told with an earlier one of its cause. Those with the file as a whole never are."""
        if problem.line == 0:
            return False
        cause = _cause_of(problem)
        known = self._causes.get(cause)
        if known is None:
            if len(self._causes) < _MOST_CAUSES:
                self._causes[cause] = known = _Cause(replace(problem, raw=b""))
                known.add(problem)
            return False
        if problem.line == known.told.line and not problem.is_alike:
            return False  # a line's own places are told one by one
        known.add(problem)
        return True

    def told(self, problems: Iterable[InputProblem]) -> list[InputProblem]:
        """*problems*, of which the first of each cause says how many lines have it."""
        return [self._told(each) for each in problems]

    def _told(self, problem: InputProblem) -> InputProblem:
        cause = self._causes.get(_cause_of(problem))
        is_first = cause is not None and (problem.line, _said(problem)) == (cause.told.line, _said(cause.told))
        if cause is None or cause.lines <= 1 or not is_first:
            return problem
        first = [place for _, place in cause.first]
        named = f"{', '.join(first)}{', …' if cause.lines > len(cause.first) else ''}"
        have = "are like it" if cause.differs and not problem.is_alike else "have it"
        return replace(problem, message=f"{problem.message}: {cause.lines:,} lines {have} ({named})")


def next_step(problems: Sequence[InputProblem], fit: int, leave_out: str | None) -> str:
    """What to do about an input that was refused. problems: the first of them; fit: so many requests have none.

    leave_out: how bad lines are left out, which is named only if something is left then; None: they cannot be.
    """
    whole = next((each for each in problems if each.line == 0), None)
    if whole is not None:
        return whole.remedy
    if fit:
        return "fix them, and hand it in again" if leave_out is None else f"fix them, or {leave_out}"
    return f"every line has it: {problems[0].remedy}" if len(problems) == 1 else "fix them: every line has one"


def _cause_of(problem: InputProblem) -> str:
    """Why a line is refused. Of those that say it themselves the field does not matter."""
    place = "" if problem.is_alike else problem.field
    return _VALUE.sub("…", f"{place}: {problem.message}")


def _said(problem: InputProblem) -> tuple[str, str]:
    return problem.field, problem.message
