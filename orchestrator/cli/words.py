"""How things are said on a terminal: colours, paths, tables, and the words that every face shares."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from orchestrator.domain.humanize import batches, clock, count, plain, size, span

__all__ = ["BANNER", "batches", "clock", "coloured", "count", "near_path", "plain", "size", "span", "table"]

BANNER: Final = "SANDBOX  no network, no key, no cost: the answers are canned"


def coloured(text: str, colour: str | None, *, bold: bool = False) -> str:
    """*text* in a colour, for a terminal; as it is where NO_COLOR is set. Colour never says anything alone."""
    if os.environ.get("NO_COLOR", "") != "":
        return text
    import click

    return click.style(text, fg=colour, bold=True if bold else None)


def near_path(path: str) -> str:
    """*path* as a person here would write it: relative to the current folder if it lies below it."""
    found = Path(path)
    if not found.is_absolute():
        return path
    try:
        return str(found.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """*rows*, the first being the heads, in columns two blanks apart; columns in *right* are flushed right."""
    flushed = set(right)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index in flushed else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
