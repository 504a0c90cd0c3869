"""`config`: the settings that hold and where each comes from; a file to start from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Final

from orchestrator.cli.console import say, show, show_banner, show_json
from orchestrator.cli.group import CommandEntry, command, group
from orchestrator.cli.options import GlobalOptions
from orchestrator.config import PROJECT_FILE, SettingRow, render_example, setting_rows
from orchestrator.domain.errors import GuardRefused, OutputError

_VALUE_WIDTH: Final = 38

EXAMPLES = """
Examples:
  orchestrator config show                                       every setting, its value and where it comes from
  ORCHESTRATOR_LIMITS__POLL_INTERVAL=10s orchestrator config show
  orchestrator config init                                       writes ./orchestrator.toml, all of it commented out

Strongest first: flag > environment > ./orchestrator.toml > ~/.config/orchestrator/config.toml > default.
"""


config = group(
    {
        "show": CommandEntry("Show every setting and where it comes from.", "config", "show_settings"),
        "init": CommandEntry("Write ./orchestrator.toml to start from.", "config"),
    },
    EXAMPLES,
)


@command(EXAMPLES)
def show_settings(options: GlobalOptions) -> None:
    rows = list(setting_rows(options.settings()))
    if options.as_json:
        settings = [{"name": row.name, "value": row.text, "origin": row.origin} for row in rows]
        show_json({"settings": settings, "sandbox": options.sandbox})
        return
    show_banner(options, sandbox=options.sandbox)
    show("\n".join(_setting_lines(rows)))


def _setting_lines(rows: Sequence[SettingRow]) -> Iterator[str]:
    """A table within 80 columns: what a setting means while it is not set is wrapped, a long value is not."""
    width = max(len(row.name) for row in rows)
    yield f"{'SETTING':<{width}}  {'VALUE':<{_VALUE_WIDTH}}  FROM"
    for row in rows:
        value, *more = [row.text] if row.text is not None else wrap(f"not set: {row.unset}", _VALUE_WIDTH)
        yield f"{row.name:<{width}}  {value:<{_VALUE_WIDTH}}  {row.origin}"
        yield from (f"{'':<{width}}  {line}" for line in more)


@command(EXAMPLES)
def init(options: GlobalOptions) -> None:
    """Every setting is in it with its meaning and its default, commented out. A file that is there is left alone."""
    path = Path.cwd() / PROJECT_FILE
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise GuardRefused(
            f"{PROJECT_FILE} is there already; nothing was changed", hint="move it away to write a new one"
        ) from None
    except OSError as exc:
        raise OutputError(f"{path} cannot be written", cause=exc.strerror, hint="go to another folder") from exc
    try:
        with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123 - an open descriptor, made exclusively
            file.write(render_example())
    except OSError as exc:
        path.unlink()  # half of it would be "there already" for the next try
        raise OutputError(f"{path} cannot be written", cause=exc.strerror, hint="make space, then again") from exc
    say(options, f"wrote {PROJECT_FILE}: take the # away before what you want to change")
