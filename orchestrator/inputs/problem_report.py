"""Problems as text for people, and as a file of refused lines that can be repaired and sent."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orchestrator.ports.streams import InputProblem

SHOWN: Final = 20


def problem_line(name: str, problem: InputProblem) -> str:
    """`reviews.jsonl:17: params.max_tokens: is missing (add it, for example 1024)`."""
    where = problem.place or (name if problem.line == 0 else f"{name}:{problem.line}")
    what = f"{problem.field}: {problem.message}" if problem.field else problem.message
    return f"{where}: {what} ({problem.remedy})"


def problem_lines(name: str, problems: Iterable[InputProblem], *, total: int, shown: int = SHOWN) -> Iterator[str]:
    """The first *shown* of *problems*, one line of text each, and how many of *total* remain."""
    count = 0
    for problem in problems:
        if count == shown:
            break
        yield problem_line(name, problem)
        count += 1
    if total > count:
        yield f"… and {total - count:,} more"


def _refused_line(problems: Sequence[InputProblem]) -> bytes:
    r"""One line for the file of refused lines, newline included. problems: all of one line's, at least one.

    `raw` is the line's text, cut at 64 KiB; bytes that are not UTF-8 stand in it as `\xNN`.
    """
    first = problems[0]
    entry = {
        "line": first.line,
        "problems": [{"field": each.field, "problem": each.message, "remedy": each.remedy} for each in problems],
        "raw": first.raw.decode("utf-8", errors="backslashreplace"),
    }
    return msgspec.json.encode(entry) + b"\n"


def refused_lines(problems: Iterable[InputProblem]) -> list[bytes]:
    """One entry for each refused line, however many problems it has, so that nobody sends it twice after repair.

    The problems of a line must stand together.
    """
    return [_refused_line(list(same)) for _, same in groupby(problems, key=attrgetter("line"))]
