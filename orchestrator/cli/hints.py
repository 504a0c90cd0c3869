"""Command lines for messages: each can be pasted, and leads to the same store as the command that was given."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from orchestrator.domain.humanize import readable

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.domain.model import JobStatus

#: How the hints of every layer name a command of ours.
_QUOTED: Final = re.compile(r"`(orchestrator [^`]+)`")


def pasteable(options: GlobalOptions, line: str, *, sandbox: bool = False) -> str:
    """*line*, such as "orchestrator serve", with the flags that lead to the same store, where it lacks them.

    sandbox: the store holds sandbox work, which the line must say even if the command that was given did not.
    """
    have = line.split()
    flags = []
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
    from orchestrator.cli.command_table import COMMANDS

    entry = COMMANDS.get(command)
    return entry is None or entry.is_for_servers


def joined(words: Iterable[str]) -> str:
    """*words* as a shell takes them; a name that is no UTF-8 is written so that it can be pasted all the same."""
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    if readable(word) == word:
        return shlex.quote(word)
    escaped = os.fsencode(word).replace(b"\\", rb"\\").replace(b"'", rb"\'")
    return f"$'{escaped.decode('utf-8', 'backslashreplace')}'"


def completed(options: GlobalOptions, text: str) -> str:
    """*text* with every command in backticks made pasteable."""
    return _QUOTED.sub(lambda found: f"`{pasteable(options, found[1])}`", text)


def resume_line(options: GlobalOptions, job: str, output: str | None, *, sandbox: bool = False) -> str:
    """The command that goes on with *job*. sandbox: its store holds sandbox work."""
    out = "" if output is None else f" -o {joined([output])}"
    return pasteable(options, f"orchestrator resume {job}{out}", sandbox=sandbox)


def results_line(options: GlobalOptions, status: JobStatus) -> str:
    """The command that writes the results of the job."""
    return pasteable(options, f"orchestrator results {status.job.public_id} -o FILE", sandbox=status.sandbox)


def same_line(options: GlobalOptions) -> str:
    """The command as it was given."""
    return joined(["orchestrator", *options.argv])


def engine_lines(options: GlobalOptions, job: str, *, sandbox: bool = False) -> str:
    """The two commands that work on *job* when no engine does."""
    serve = pasteable(options, "orchestrator serve", sandbox=sandbox)
    return f"`{serve}` or `{resume_line(options, job, None, sandbox=sandbox)}`"
