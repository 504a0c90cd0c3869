"""The epilog of a command's help: examples and prose, folded to the width of the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

import click

#: A command, or a term, with what is said beside it.
_COMMENTED: Final = re.compile(r"(?P<head> +\S.*?)(?P<gap> {2,})(?P<comment>\S.*)")
#: Comments that begin left of here stay in their column, others go below their command.
_NARROW: Final = 24
_BELOW: Final = " " * 6


def write_epilog(text: str, formatter: click.HelpFormatter) -> None:
    """*text* as it is written; a block of it that is too wide is folded. Blank lines part the blocks."""
    if not text:
        return
    formatter.write_paragraph()
    blocks = [block.split("\n") for block in text.strip("\n").split("\n\n")]
    folded = ("\n".join(_fitted(lines, formatter.width)) for lines in blocks)
    formatter.write("\n\n".join(folded) + "\n")


def _fitted(lines: Sequence[str], width: int) -> Iterator[str]:
    """*lines*, none longer than *width* but commands: whoever pastes one wants it whole."""
    if all(len(line) <= width for line in lines):
        yield from lines
        return
    prose: list[str] = []
    for line in _with_whole_comments(lines):
        if not line.startswith(" "):
            prose.append(line)
            continue
        yield from wrap(" ".join(prose), width)
        prose.clear()
        yield from _folded(line, width)
    yield from wrap(" ".join(prose), width)


def _with_whole_comments(lines: Sequence[str]) -> Iterator[str]:
    """*lines*, where a comment that is continued in its column is one line."""
    whole = ""
    column = 0
    for line in lines:
        found = _COMMENTED.fullmatch(line)
        if column and line[:column].isspace():
            whole += f" {line.strip()}"
            continue
        if whole:
            yield whole
        whole, column = line, 0 if found is None else found.start("comment")
    yield whole


def _folded(line: str, width: int) -> Iterator[str]:
    found = _COMMENTED.fullmatch(line)
    indent = len(line) - len(line.lstrip())
    if found is not None and (column := found.start("comment")) <= _NARROW:
        yield from wrap(line, width, subsequent_indent=" " * column)
    elif found is not None:
        yield found["head"]
        yield from wrap(found["comment"], width, initial_indent=_BELOW, subsequent_indent=_BELOW)
    elif indent >= len(_BELOW):  # said of the command above
        yield from wrap(line.strip(), width, initial_indent=_BELOW, subsequent_indent=_BELOW)
    else:
        yield line
