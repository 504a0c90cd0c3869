"""Command lines that we print: each leads to the same store as the command that was given, and works when pasted."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestrator.cli.options import Ask

#: How the hints of every layer name a command of ours.
_QUOTED: Final = re.compile(r"`(orchestrator [^`]+)`")


def pasteable(ask: Ask, line: str, *, sandbox: bool = False) -> str:
    """*line*, such as "orchestrator serve", with the flags that lead to the same store, where it lacks them.

    sandbox: the store holds sandbox work, which the line must say even if the command that was given did not.
    """
    have = line.split()
    flags = []
    if ask.db is not None and "--db" not in have:
        flags += ["--db", ask.db]
    if ask.config is not None and "--config" not in have:
        flags += ["--config", str(ask.config)]
    if (ask.sandbox or sandbox) and "--sandbox" not in have:
        flags.append("--sandbox")
    return f"{line} {shlex.join(flags)}" if flags else line


def completed(ask: Ask, text: str) -> str:
    """*text* with every command in backticks made pasteable."""
    return _QUOTED.sub(lambda found: f"`{pasteable(ask, found[1])}`", text)
