"""Commands and groups of this program: loaded late, with examples in their help, and a guess at what was meant."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import click

from orchestrator.cli.options import GlobalOption, GlobalOptions, add_global_options

_COMMANDS = "orchestrator.cli.commands"


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command before it is loaded.

    help: its line in the list of commands, and the first of its own help. module, function: below `cli/commands`, where
    they are not called as the command is. heading: of the list that it stands in. refuses_server: why it does not work
    with `--server`; but_with: the parameter with which it does; ignores_server: it asks nobody, so no hint need repeat
    the option.
    """

    help: str
    module: str | None = None
    function: str | None = None
    heading: str = "Commands"
    refuses_server: str | None = None
    but_with: str | None = None
    ignores_server: bool = False

    @property
    def is_for_servers(self) -> bool:
        """Whether `--server` means something to it."""
        return (self.refuses_server is None or self.but_with is not None) and not self.ignores_server

    def load(self, name: str) -> click.Command:
        """Import the command, which is called *name*, and fill in name and help from this entry."""
        module = importlib.import_module(f"{_COMMANDS}.{name if self.module is None else self.module}")
        loaded: click.Command = getattr(module, name if self.function is None else self.function)
        loaded.name = name
        loaded.help = self.help if loaded.help is None else f"{self.help}\n\n{inspect.cleandoc(loaded.help)}"
        if isinstance(loaded, CliCommand):
            loaded.refuses_server, loaded.but_with = self.refuses_server, self.but_with
        return loaded


#: Other programs' words for what this one does.
_MEANT: Final = {
    **dict.fromkeys(("help", "commands", "usage"), "--help"),
    "version": "--version",
    **dict.fromkeys(("delete", "del", "remove", "purge", "erase"), "rm"),
    **dict.fromkeys(("list", "jobs"), "ls"),
    **dict.fromkeys(("log", "logs", "history"), "events"),
    **dict.fromkeys(("view", "cat", "get", "inspect", "request"), "show"),
    **dict.fromkeys(("stop", "kill", "abort"), "cancel"),
    **dict.fromkeys(("follow", "tail"), "watch"),
    **dict.fromkeys(("create", "add", "new", "send"), "submit"),
    **dict.fromkeys(("output", "export", "download", "answers"), "results"),
    **dict.fromkeys(("failures", "failed"), "errors"),
    **dict.fromkeys(("cost", "costs"), "spend"),
    **dict.fromkeys(("estimate", "validate", "lint", "plan"), "check"),
    **dict.fromkeys(("daemon", "server"), "serve"),
    "start": "run",
    **dict.fromkeys(("continue", "unpause"), "resume"),
    **dict.fromkeys(("redo", "again"), "retry"),
    **dict.fromkeys(("info", "state", "st"), "status"),
}
#: Names that are less alike are other names.
_LIKE: Final = 0.65


class HintedUsageError(click.UsageError):
    """A usage error that comes with its own remedy."""

    def __init__(self, message: str, *, hint: str, ctx: click.Context | None = None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


class CliCommand(click.Command):
    """A command with the options of every command, which its help lists apart; the help ends with *examples*."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:  # noqa: ANN401 - click's own, passed on
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.refuses_server: str | None = None
        self.but_with: str | None = None
        add_global_options(self)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run it. Raises HintedUsageError where it refuses the server that is meant."""
        options = ctx.find_root().ensure_object(GlobalOptions)
        is_meant = options.server is not None and (options.db is None or options.server_from == "--server")
        works = self.refuses_server is None or (self.but_with is not None and bool(ctx.params[self.but_with]))
        if is_meant and not works:
            remedy = "leave --server out" if options.server_from == "--server" else f"unset {options.server_from}"
            message = f"{ctx.command_path} does not work with a server: {self.refuses_server}"
            raise HintedUsageError(message, hint=remedy, ctx=ctx)
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options, then those of every command."""
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The examples of this command."""
        write_epilog(self.examples, formatter)


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, not before."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's own, passed on
        entries: Mapping[str, CommandEntry],
        examples: str = "",
        **kwargs: Any,  # noqa: ANN401 - click's own, passed on
    ) -> None:
        super().__init__(*args, **kwargs)
        self.entries = entries
        self.examples = examples
        add_global_options(self)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every name, in the order of the help."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command; this is where its module is imported."""
        if cmd_name not in self.commands and (entry := self.entries.get(cmd_name)) is not None:
            self.commands[cmd_name] = entry.load(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that *args* begin with. Raises HintedUsageError with the nearest name."""
        name = args[0]
        if name not in self.entries and not name.startswith("-") and not ctx.resilient_parsing:
            raise HintedUsageError(f"there is no command {name!r}", hint=self._nearest(ctx, name), ctx=ctx)
        return super().resolve_command(ctx, args)

    def _nearest(self, ctx: click.Context, name: str) -> str:
        """What *name* may have meant: a file to run, another program's word, the beginning of a name, or a slip."""
        import difflib
        import shlex

        if ctx.parent is None and Path(name).is_file():
            return f"`{ctx.command_path} run {shlex.quote(name)}` runs it"
        likely = [entry for entry in self.entries if entry.startswith(name)]
        near = likely or difflib.get_close_matches(name, self.entries, n=1, cutoff=_LIKE)
        meant = _MEANT.get(name.lower())
        if meant is not None and (meant.startswith("-") or meant in self.entries):
            near = [meant]
        return f"did you mean `{ctx.command_path} {near[0]}`?" if near else f"{ctx.command_path} --help lists them all"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, then the commands."""
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The commands under their headings, from the table: none is imported for it."""
        headings = dict.fromkeys(entry.heading for entry in self.entries.values())
        for heading in headings:
            rows = [(name, entry.help) for name, entry in self.entries.items() if entry.heading == heading]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The examples of the whole group."""
        write_epilog(self.examples, formatter)


def command(examples: str) -> Callable[[Callable[..., Any]], CliCommand]:
    """Make a function a command: it is given `GlobalOptions`, then an argument for each option of its own.

    Its docstring is what the help says after the command's line; the line and the name stand in the table that lists
    the command.
    """

    def decorate(function: Callable[..., Any]) -> CliCommand:
        return click.command(cls=CliCommand, examples=examples)(click.pass_obj(function))

    return decorate


def group(entries: Mapping[str, CommandEntry], examples: str, *, bare: str | None = None) -> LazyGroup:
    """A command that has commands of its own: *entries*, by name. bare: the one that it is without any."""
    made = LazyGroup(entries=entries, examples=examples, invoke_without_command=bare is not None)
    if bare is not None:
        made.callback = partial(_run_bare, made, bare)
    return made


def _run_bare(made: LazyGroup, bare: str) -> Any:  # noqa: ANN401 - what the command returns
    ctx = click.get_current_context()
    found = made.get_command(ctx, bare)
    return None if ctx.invoked_subcommand is not None or found is None else ctx.invoke(found)


_OF_SERVERS: Final = frozenset({"server", "token_file"})


def _write_options(shown: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Two lists: what only this command has, and what every command has; of a server only where one may be asked."""
    is_local = isinstance(shown, CliCommand) and shown.refuses_server is not None and shown.but_with is None
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for param in shown.get_params(ctx):
        record = None if is_local and param.name in _OF_SERVERS else param.get_help_record(ctx)
        if record is not None and isinstance(param, click.Option):
            (shared if isinstance(param, GlobalOption) or "--help" in param.opts else own).append(record)
    for title, rows in (("Options", own), ("Options of every command", shared)):
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def command_paths(group: LazyGroup, prefix: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """Every command of *group*, subcommands included, as the words that call it."""
    ctx = click.Context(group)
    paths: list[tuple[str, ...]] = []
    for name in group.list_commands(ctx):
        paths.append((*prefix, name))
        found = group.get_command(ctx, name)
        if isinstance(found, LazyGroup):
            paths.extend(command_paths(found, (*prefix, name)))
    return paths


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


_WORK, _LOOK, _STEER, _TOOLS = "Work", "Look", "Steer", "Tools"

COMMANDS: Final = {
    "run": CommandEntry("Submit, wait and write the results; run it again to go on.", heading=_WORK),
    "submit": CommandEntry("Store a job, print its id and return.", heading=_WORK),
    "serve": CommandEntry(
        "Run the engine for every job until it is stopped.",
        heading=_WORK,
        refuses_server="it runs an engine on this machine",
    ),
    "init": CommandEntry("Write a job file to start from, for an input.", heading=_WORK, ignores_server=True),
    "check": CommandEntry("Validate an input and show the plan; sends and stores nothing.", heading=_WORK),
    "convert": CommandEntry(
        "Make requests of an OpenAI batch file, or of rows with messages.", heading=_WORK, ignores_server=True
    ),
    "ls": CommandEntry("List the jobs, the newest first.", "jobs", heading=_LOOK),
    "status": CommandEntry("Show one job.", "jobs", heading=_LOOK),
    "watch": CommandEntry("Show jobs live until they are over.", "jobs", heading=_LOOK),
    "wait": CommandEntry("Wait until a job is over; the exit code says how it ended.", "jobs", heading=_LOOK),
    "requests": CommandEntry("List the requests of a job, or write them as an input to hand in again.", heading=_LOOK),
    "show": CommandEntry("Show one request: its prompt, its answer, its attempts.", "requests", heading=_LOOK),
    "results": CommandEntry("Write a job's results, in input order.", heading=_LOOK),
    "errors": CommandEntry("Show a job's failures, grouped by cause.", "results", heading=_LOOK),
    "events": CommandEntry("Show the history of a job and of its batches.", "jobs", heading=_LOOK),
    "pause": CommandEntry("Send nothing new for a job; what is in flight is still collected.", "steer", heading=_STEER),
    "resume": CommandEntry("Go on with a job.", "run", heading=_STEER),
    "cancel": CommandEntry("Stop a job for good; what has succeeded is kept.", "steer", heading=_STEER),
    "retry": CommandEntry("Queue requests again: what failed, was canceled, cut or refused.", "steer", heading=_STEER),
    "rm": CommandEntry("Delete the prompts and the answers of one job.", heading=_STEER),
    "batches": CommandEntry("Compare the batches at the API with ours; adopt or disown one.", heading=_STEER),
    "webhooks": CommandEntry("Show, test and repeat the notices to other programs.", heading=_STEER),
    "spend": CommandEntry("Show what was spent, by day, model or job.", heading=_LOOK),
    "budget": CommandEntry("Show or set what a job, a day, a month or all jobs may cost.", heading=_STEER),
    "prices": CommandEntry(
        "Show what a token costs in a batch, and where the price is from.",
        heading=_LOOK,
        refuses_server="it shows the prices by the settings of this machine",
        but_with="reprice",
    ),
    "doctor": CommandEntry("Check key, API, clock, store, disk and limits, each with a remedy.", heading=_TOOLS),
    "login": CommandEntry("Print a link that opens the dashboard of the daemon, once.", "service", heading=_TOOLS),
    "health": CommandEntry(
        "Ask the engine of this store, or of a server, whether it is ready.", "service", heading=_TOOLS
    ),
    "config": CommandEntry(
        "Show the settings that hold, or write a file to start from.", heading=_TOOLS, ignores_server=True
    ),
    "service": CommandEntry(
        "Print a unit file, or make a token for the HTTP API.", heading=_TOOLS, ignores_server=True
    ),
    "db": CommandEntry("Back up, check, prune, compact, adopt or migrate the store's file.", heading=_TOOLS),
    "sandbox": CommandEntry(
        "Serve the local API on a port, for any client.", heading=_TOOLS, refuses_server="it serves a local API"
    ),
    "completion": CommandEntry("Print the completion script for a shell.", heading=_TOOLS, ignores_server=True),
}
