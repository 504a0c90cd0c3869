"""Problems as a person reads them, and as a file of refused lines that can be repaired and sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.ports.source import Problem

SHOWN: Final = 20


def problem_line(name: str, problem: Problem) -> str:
    """`reviews.jsonl:17: params.max_tokens: is missing (add it, for example 1024)`."""
    where = name if problem.line == 0 else f"{name}:{problem.line}"
    what = f"{problem.field}: {problem.message}" if problem.field else problem.message
    return f"{where}: {what} ({problem.remedy})"


def problem_lines(name: str, problems: Iterable[Problem], *, total: int, shown: int = SHOWN) -> Iterator[str]:
    """The first *shown* of *problems*, one line of text each, and how many of *total* more there are."""
    count = 0
    for problem in problems:
        if count == shown:
            break
        yield problem_line(name, problem)
        count += 1
    if total > count:
        yield f"… and {total - count:,} more"


def refused_line(problem: Problem) -> bytes:
    r"""One line for the file of refused lines, newline included; `raw` is the line's text, cut at 64 KiB.

    Bytes that are not UTF-8 stand in `raw` as `\xNN`.
    """
    raw = problem.raw.decode("utf-8", errors="backslashreplace")
    return (
        msgspec.json.encode(
            {
                "line": problem.line,
                "field": problem.field,
                "problem": problem.message,
                "remedy": problem.remedy,
                "raw": raw,
            }
        )
        + b"\n"
    )


def refused_lines(problems: Iterable[Problem]) -> bytes:
    """The lines of many problems, in the order given."""
    return b"".join(map(refused_line, problems))
