"""Click's group and command, taught three things: to load late, to show examples, and to guess what was meant."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from orchestrator.cli.options import GlobalOption, GlobalOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEntry:
    """A command that is not loaded yet: its module, its name in there, its line in the help, and under which title."""

    module: str
    attribute: str
    help: str
    title: str = "Commands"


class HintedUsageError(click.UsageError):
    """A usage error that comes with its own remedy."""

    def __init__(self, message: str, *, hint: str, ctx: click.Context | None = None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


class CliCommand(click.Command):
    """A command whose help ends with examples, and lists the options that all commands have apart from its own.

    here: why it cannot be for a server elsewhere; None: it can, or it asks nobody.
    """

    def __init__(self, *args: Any, examples: str = "", here: str | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - click's own, passed on
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.here = here

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run it. Raises Mistake for one that works only here, where a server is meant."""
        options = ctx.find_root().ensure_object(GlobalOptions)
        if (
            self.here is not None
            and options.server is not None
            and (options.db is None or options.server_from == "--server")
        ):
            remedy = "leave --server out" if options.server_from == "--server" else f"unset {options.server_from}"
            raise HintedUsageError(f"{ctx.command_path} does not work with a server: {self.here}", hint=remedy, ctx=ctx)
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options, then the common ones."""
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The examples, line by line as they are."""
        write_examples(self.examples, formatter)


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

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every name, in the order of the help."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command itself; this is where its module is imported."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(importlib.import_module(entry.module), entry.attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that *args* begin with. Raises Mistake with the nearest name."""
        name = args[0]
        if name not in self.entries and not name.startswith("-") and not ctx.resilient_parsing:
            raise HintedUsageError(f"there is no command {name!r}", hint=self._nearest(ctx, name), ctx=ctx)
        return super().resolve_command(ctx, args)

    def _nearest(self, ctx: click.Context, name: str) -> str:
        import difflib

        near = difflib.get_close_matches(name, self.entries, n=1, cutoff=0.5)
        return f"did you mean `{ctx.command_path} {near[0]}`?" if near else f"{ctx.command_path} --help lists them all"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, then the commands."""
        write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The commands under their titles, from the table: none is imported for it."""
        titles = dict.fromkeys(entry.title for entry in self.entries.values())
        for title in titles:
            rows = [(name, entry.help) for name, entry in self.entries.items() if entry.title == title]
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The examples, line by line as they are."""
        write_examples(self.examples, formatter)


def write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Two lists: what only this command has, and what every command has."""
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None and isinstance(param, click.Option):
            (shared if isinstance(param, GlobalOption) or "--help" in param.opts else own).append(record)
    for title, rows in (("Options", own), ("Options of every command", shared)):
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def write_examples(examples: str, formatter: click.HelpFormatter) -> None:
    """*examples* under their title; lines that begin with a word and a colon are titles of their own."""
    if not examples:
        return
    formatter.write_paragraph()
    for line in examples.strip("\n").split("\n"):
        formatter.write(f"{line}\n")


def command_paths(group: LazyGroup, prefix: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """Every command of *group*, subcommands included, as the words that call it."""
    ctx = click.Context(group)
    paths: list[tuple[str, ...]] = []
    for name in group.list_commands(ctx):
        paths.append((*prefix, name))
        command = group.get_command(ctx, name)
        if isinstance(command, LazyGroup):
            paths.extend(command_paths(command, (*prefix, name)))
    return paths
