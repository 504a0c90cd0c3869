"""Output of a command: data on stdout, messages on stderr; `--json` is one object, never coloured."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.domain.humanize import readable

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions

BANNER: Final = "SANDBOX  no network, no key, no cost: the answers are canned"


def show(text: str) -> None:
    """Data for a person, on stdout."""
    click.echo(readable(text))


def show_json(facts: object) -> None:
    """One JSON object, on stdout."""
    import msgspec

    try:
        text = msgspec.json.encode(facts)
    except UnicodeEncodeError:  # a file's name that is no UTF-8
        text = msgspec.json.encode(_readable(msgspec.to_builtins(facts)))
    click.echo(msgspec.json.format(text, indent=2) + b"\n", nl=False)


def _readable(facts: object) -> object:
    if isinstance(facts, Mapping):
        return {key: _readable(inner) for key, inner in facts.items()}
    if isinstance(facts, list | tuple):
        return [_readable(inner) for inner in facts]
    return readable(facts) if isinstance(facts, str) else facts


def say(options: GlobalOptions, text: str) -> None:
    """A message, on stderr; nothing with `-q`."""
    if not options.quiet:
        click.echo(readable(text), err=True)


def show_banner(options: GlobalOptions, *, sandbox: bool) -> None:
    """The sandbox banner on stdout, for screens; JSON has `sandbox: true` instead."""
    if sandbox and not options.as_json:
        show(coloured(BANNER, "yellow"))


def say_banner(options: GlobalOptions, *, sandbox: bool) -> None:
    """The sandbox banner on stderr, for commands whose stdout is data."""
    if sandbox:
        say(options, coloured(BANNER, "yellow"))


def coloured(text: str, colour: str | None, *, bold: bool = False) -> str:
    """*text* in a colour; unchanged where NO_COLOR is set. Colour is never the only sign of anything."""
    if os.environ.get("NO_COLOR", "") != "":
        return text
    import click

    return click.style(text, fg=colour, bold=True if bold else None)


def near_path(path: str) -> str:
    """*path* relative to the current folder, if it lies below it."""
    found = Path(path)
    if not found.is_absolute():
        return path
    try:
        return str(found.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path


def as_table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """*rows*, the first being the heads, in columns two blanks apart; columns of *right* are right-aligned."""
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
