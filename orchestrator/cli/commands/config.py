"""`config`: the settings that hold and where each comes from; a file to start from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Final

from orchestrator.cli.console import say, say_unused_path, screen_width, show, show_banner, show_json
from orchestrator.cli.group import CommandEntry, command, group
from orchestrator.cli.options import GlobalOptions
from orchestrator.cli.output_files import write_new
from orchestrator.config import PROJECT_FILE, SettingRow, render_example, setting_rows

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
    loaded = options.settings()
    rows = list(setting_rows(loaded))
    if options.as_json:
        from orchestrator.views.service_views import SettingsView

        show_json(SettingsView.of(rows, sandbox=options.sandbox))
        return
    show_banner(options, sandbox=options.sandbox)
    show("\n".join(_setting_lines(rows)))
    say_unused_path(options, loaded)


def _setting_lines(rows: Sequence[SettingRow]) -> Iterator[str]:
    """A table within 80 columns, or those of the terminal: what an unset setting means is wrapped, a value is not."""
    width = max(len(row.name) for row in rows)
    room = (screen_width() or 0) - width - max(len(row.origin) for row in rows) - 4
    longest = max(len(row.text or "") for row in rows)
    of_value = max(_VALUE_WIDTH, min(room, longest))
    yield f"{'SETTING':<{width}}  {'VALUE':<{of_value}}  FROM"
    for row in rows:
        value, *more = [row.text] if row.text is not None else wrap(f"not set: {row.unset}", of_value)
        yield f"{row.name:<{width}}  {value:<{of_value}}  {row.origin}"
        yield from (f"{'':<{width}}  {line}" for line in more)


@command(EXAMPLES)
def init(options: GlobalOptions) -> None:
    """Every setting is in it with its meaning and its default, commented out. A file that is there is left alone."""
    write_new(Path(PROJECT_FILE), render_example())
    say(options, f"wrote {PROJECT_FILE}: take the # away before what you want to change")
