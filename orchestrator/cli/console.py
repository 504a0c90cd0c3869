"""What a command prints: data on stdout, messages on stderr, and command lines that can be pasted.

`--json` is one object, never coloured. A command line in a message leads to the same store as the command
that was given.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Final

import click

from orchestrator.domain.humanize import plain, readable

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.config import Settings
    from orchestrator.domain.model import JobStatus

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
        text = msgspec.json.encode(_readable(msgspec.to_builtins(facts, enc_hook=_of_raw)))
    click.echo(msgspec.json.format(text, indent=2) + b"\n", nl=False)


def _of_raw(value: object) -> object:
    """JSON that stands in *facts* as it is stored."""
    import msgspec

    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    raise NotImplementedError


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


def say_api_address(options: GlobalOptions, settings: Settings, *, sandbox: bool) -> str | None:
    """Say where keys and prompts go, if that is not the API's own address; returns that address, for JSON.

    To be called before anything is sent. Raises UsageError for an address that they may not be sent to.
    """
    if sandbox or options.server is not None:
        return None
    from orchestrator.api_side import api_address

    address = api_address(settings, with_profile=True)
    if address.is_usual:
        return None
    told = plain(address.words)
    say(options, coloured(told, "red") if address.is_readable else told)
    return address.shown


def say_unused_path(options: GlobalOptions, settings: Settings) -> None:
    """Say that a file which was set somewhere is not used, where an address stands for it that `--db` did not name."""
    if settings.database.url is not None and options.db is None and settings.is_set("database.path"):
        path, url = settings.origin("database.path"), settings.origin("database.url")
        say(options, f"[database] path ({path}) is not used: [database] url is set ({url})")


def coloured(text: str, colour: str | None, *, bold: bool = False) -> str:
    """*text* in a colour; unchanged where NO_COLOR is set. Colour is never the only sign of anything."""
    if os.environ.get("NO_COLOR", "") != "":
        return text
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


#: More of a name, which may have ten thousand characters, is in no table; `--json` has all of it.
_WIDEST: Final = 120
#: With less room than that on a terminal a text runs over its edge.
_LEAST_ROOM: Final = 12


def screen_width() -> int | None:
    """How many columns the terminal has that stdout goes to; None: it is no terminal, and nothing needs to fit."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def folded(text: str, *, indent: int) -> str:
    """*text*, which begins *indent* columns from the left, in as many lines as the terminal needs."""
    width = screen_width()
    if width is None or indent + _LEAST_ROOM > width:
        return text
    lines = wrap(text, width - indent, break_long_words=False, break_on_hyphens=False)
    return f"\n{'':<{indent}}".join(lines)


def as_table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = (), cuts_last: bool = False) -> str:
    """*rows*, the first being the header, in columns two spaces apart; columns of *right* are right-aligned.

    cuts_last: of the last column a terminal has what it has room for. Names are others': a long one is cut, and would
    else push every line of its column apart.
    """
    flushed = set(right)
    shown = [[_cell(text) for text in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    lines = []
    for row in shown:
        cells = [
            cell.rjust(width) if index in flushed else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    width = screen_width() if cuts_last else None
    return "\n".join(
        lines if width is None else _cut(lines, max(width, sum(widths[:-1]) + 2 * len(widths) + _LEAST_ROOM))
    )


def _cut(lines: Sequence[str], width: int) -> Iterator[str]:
    return (line if len(line) <= width else f"{line[: width - 1]}…" for line in lines)


def _cell(text: str) -> str:
    text = plain(text)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


#: How the hints of every layer name a command of ours.
_QUOTED: Final = re.compile(r"`(orchestrator [^`]+)`")


def pasteable(options: GlobalOptions, line: str, *, sandbox: bool = False) -> str:
    """*line*, such as "orchestrator serve", with the flags that lead to the same store, where it lacks them.

    sandbox: the store holds sandbox work, which the line must say even if the command that was given did not.
    """
    have = line.split()
    flags = []
    if have[1].startswith("-"):  # --help, --version: no store
        return line
    if options.server is not None and options.db is None:
        if "--server" in have or not _is_for_servers(have[1]) or options.server_from != "--server":
            return line  # what leads there stands in the environment
        flags = [
            "--server",
            options.server,
            *([] if options.token_file is None else ["--token-file", str(options.token_file)]),
        ]
        return f"{line} {joined(flags)}"
    if options.db is not None and "--db" not in have:
        flags += ["--db", options.db]
    if options.config is not None and "--config" not in have:
        flags += ["--config", str(options.config)]
    if (options.sandbox or sandbox) and "--sandbox" not in have:
        flags.append("--sandbox")
    return f"{line} {joined(flags)}" if flags else line


def _is_for_servers(command: str) -> bool:
    from orchestrator.cli.group import COMMANDS

    entry = COMMANDS.get(command)
    return entry is None or entry.is_for_servers


def joined(words: Iterable[str]) -> str:
    """*words* as a shell takes them; a name that is no UTF-8 is written so that it can be pasted all the same.

    The password in the address of a database is not shown.
    """
    return " ".join(_word(_without_password(word)) for word in words)


def _without_password(word: str) -> str:
    from orchestrator.domain.urls import is_database, without_password

    return without_password(word) if is_database(word.removeprefix("--db=")) else word


def _word(word: str) -> str:
    if readable(word) == word:
        return shlex.quote(word)
    escaped = os.fsencode(word).replace(b"\\", rb"\\").replace(b"'", rb"\'")
    return f"$'{escaped.decode('utf-8', 'backslashreplace')}'"


def completed(options: GlobalOptions, text: str) -> str:
    """*text* with every command in backticks made pasteable."""
    return _QUOTED.sub(lambda found: f"`{pasteable(options, found[1])}`", text)


def with_raising(options: GlobalOptions, text: str) -> str:
    """*text* with the command that raises a cap, if there is one, made pasteable."""
    from orchestrator.domain.budgets import raising_in

    command = raising_in(text)
    return text if command is None else text.replace(command, pasteable(options, command))


def resume_line(
    options: GlobalOptions, job: str, output: str | None, *, more: Iterable[str] = (), sandbox: bool = False
) -> str:
    """The command that goes on with *job*. more: options of the output. sandbox: its store holds sandbox work."""
    out = "" if output is None else f" {joined(['-o', output, *more])}"
    return pasteable(options, f"orchestrator resume {job}{out}", sandbox=sandbox)


def results_line(options: GlobalOptions, status: JobStatus) -> str:
    """The command that writes the results of the job."""
    return pasteable(options, f"orchestrator results {status.job.public_id} -o FILE", sandbox=status.sandbox)


def same_line(options: GlobalOptions, *, without: Collection[str] = ()) -> str:
    """The command as it was given, with --sandbox where only the environment says so: another shell may not.

    without: options that have a value, and are left out.
    """
    words = list(_kept(options.argv, without))
    told = ["--sandbox"] if options.sandbox and "--sandbox" not in words else []
    place = words.index("--") if "--" in words else len(words)
    return joined(["orchestrator", *words[:place], *told, *words[place:]])


def _kept(words: Iterable[str], without: Collection[str]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        if word == "--":
            yield from (word, *rest)
        elif word in without:
            next(rest, None)
        elif word.partition("=")[0] not in without:
            yield word


def engine_lines(options: GlobalOptions, job: str, *, sandbox: bool = False) -> str:
    """The two commands that work on *job* when no engine does."""
    serve = pasteable(options, "orchestrator serve", sandbox=sandbox)
    return f"`{serve}` or `{resume_line(options, job, None, sandbox=sandbox)}`"
