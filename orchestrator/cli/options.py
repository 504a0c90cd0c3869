"""The options of every command, given before or after its name, and the settings and server that they choose."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from orchestrator.domain.errors import OrchestratorError, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from click.shell_completion import CompletionItem

    from orchestrator.client.server_address import Server
    from orchestrator.config import Settings

    _TextParam = click.ParamType[str]
    _DurationParam = click.ParamType[timedelta]
else:  # click before 8.4 has no generic ParamType
    _TextParam = _DurationParam = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class GlobalOptions:
    """Values of the options of every command, filled in while the command line is parsed.

    server: the address of a remote daemon; server_from: the flag or variable that names it; token_file: its token.
    quiet: only errors and data. verbose: 1 shows the log, 2 also tracebacks. argv: the command line as it was given.
    """

    db: str | None = None
    config: Path | None = None
    sandbox: bool = False
    server: str | None = None
    server_from: str = "--server"
    token_file: Path | None = None
    as_json: bool = False
    quiet: bool = False
    verbose: int = 0
    argv: tuple[str, ...] = ()

    def settings(self, more: Mapping[str, object] | None = None) -> Settings:
        """The settings of this command. more: its own flags, by setting. Raises UsageError."""
        from orchestrator.config import database_flags, load_settings

        try:
            cwd = Path.cwd()
        except FileNotFoundError:
            raise UsageError("the current folder does not exist any more", hint="cd to another one") from None
        flags = {**database_flags(self.db), **({} if more is None else more)}
        return load_settings(flags=flags, env=self._env(), cwd=cwd, config_file=self.config, sandbox=self.sandbox)

    def _env(self) -> Mapping[str, str]:
        if self.server is None:
            return os.environ
        from orchestrator.client.server_address import environ_for_remote

        return environ_for_remote(os.environ)

    def remote(self) -> Server | None:
        """The remote daemon that this command is for; None: it works on a local store.

        --db on the command line overrides a server in the environment. Raises UsageError, NeedsPerson.
        """
        if self.server is None or (self.db is not None and self.server_from != "--server"):
            return None
        if self.db is not None:
            raise UsageError("--db and --server exclude each other", hint="a server has a store of its own: name one")
        from orchestrator.client.server_address import server_at

        return server_at(self.server, token_file=self.token_file)


class GlobalOption(click.Option):
    """An option of every command, before or after its name; its value goes to `GlobalOptions`."""


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> None:  # noqa: ANN401 - click's signature
    """Keep a value that was given; one that was not leaves what stood before the command's name."""
    if value is None:
        return
    if ctx.parent is not None and ctx.get_parameter_source(str(param.name)) is ParameterSource.ENVIRONMENT:
        return  # the root has read it already, and a flag before the command's name is stronger
    options = ctx.find_root().ensure_object(GlobalOptions)
    if param.name == "verbose":
        options.verbose += value
    elif param.name == "server":
        is_flag = ctx.get_parameter_source("server") is ParameterSource.COMMANDLINE
        options.server, options.server_from = value, "--server" if is_flag else str(param.envvar)
    else:
        setattr(options, str(param.name), value)


def _show_version(ctx: click.Context, _param: click.Parameter, value: Any) -> None:  # noqa: ANN401 - click's signature
    if value and not ctx.resilient_parsing:
        from orchestrator.version import VERSION

        click.echo(f"orchestrator {VERSION}")
        ctx.exit()


def _global(*names: str, help: str, **more: Any) -> GlobalOption:  # noqa: A002, ANN401 - click's words, passed on
    return GlobalOption(names, help=help, **{"expose_value": False, "callback": _note, **more})


GLOBAL_OPTIONS: Final = (
    _global(
        "--db",
        metavar="PATH|URL",
        help="The database: a file, or postgresql://USER@HOST/NAME.  [env: ORCHESTRATOR_DATABASE__PATH or __URL]",
    ),
    _global(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="ORCHESTRATOR_CONFIG",
        help="Read settings from FILE and from no other file.  [env: ORCHESTRATOR_CONFIG]",
    ),
    _global(
        "--sandbox",
        is_flag=True,
        default=None,
        envvar="ORCHESTRATOR_SANDBOX",
        help="Work with the local API: no network, no key, canned answers.  [env: ORCHESTRATOR_SANDBOX]",
    ),
    _global(
        "--server",
        metavar="URL",
        envvar="ORCHESTRATOR_SERVER_URL",
        help="Ask the daemon at URL, which has its own store.  [env: ORCHESTRATOR_SERVER_URL]",
    ),
    _global(
        "--token-file",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The token for --server, else ORCHESTRATOR_SERVER_TOKEN has it.  [env: ORCHESTRATOR_TOKEN_FILE]",
    ),
    _global("--json", "as_json", is_flag=True, default=None, help="Print facts as one JSON object on stdout."),
    _global("-q", "--quiet", is_flag=True, default=None, help="Say nothing but errors."),
    _global("-v", "--verbose", count=True, default=None, help="Show the log; twice: details, and tracebacks of bugs."),
    _global(
        "-V",
        "--version",
        is_flag=True,
        is_eager=True,
        callback=_show_version,
        help="Show the version and end.",
    ),
)


def add_global_options(command: click.Command) -> None:
    """Give *command* the options of every command, but for names that it has options of its own for."""
    own = {name for param in command.params for name in param.opts}
    command.params += [option for option in GLOBAL_OPTIONS if own.isdisjoint(option.opts)]


class JobRef(_TextParam):
    """An id, a unique prefix of one, a name, or `@last`; the shell completes it from the store."""

    name = "job"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's signature
        """The newest jobs' ids and names that begin with what was typed."""
        from click.shell_completion import CompletionItem

        from orchestrator.store.location import open_reader

        options = ctx.find_root().ensure_object(GlobalOptions)
        try:
            settings = options.settings()
            if options.server is not None or settings.database.url is not None:
                return []  # nobody waits for a network at the Tab key
            with open_reader(settings) as reads:
                jobs = reads.jobs(limit=200)
        except OrchestratorError:
            return []
        names = dict.fromkeys(ref for job in jobs for ref in (job.public_id, job.name))
        return [CompletionItem(ref) for ref in ("@last", *names) if ref.startswith(incomplete)]


class Word(_TextParam):
    """A text, for which the shell offers *known*; there may be others."""

    name = "word"

    def __init__(self, known: Iterable[str]) -> None:
        self._known = tuple(known)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's signature
        """Those that begin with what was typed."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in self._known if word.startswith(incomplete)]


class Duration(_DurationParam):
    """A duration such as 30s, 10m or 1h30m, or a bare number of seconds; gives a timedelta."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's signature
        """*value* as a timedelta."""
        from orchestrator.config import parse_duration

        if isinstance(value, str) and value.replace(".", "", 1).isdecimal():
            value = f"{value}s"  # on the command line a bare number is seconds, as with sleep(1)

        if not isinstance(value, str):
            return value
        try:
            return parse_duration(value)
        except ValueError:
            self.fail(f"{value!r} is not a duration; write it with its unit, such as 30s, 10m or 1h30m", param, ctx)


def job_argument(*, required: bool = True) -> Callable[[F], F]:
    """The argument JOB."""
    return click.argument("job", metavar="JOB" if required else "[JOB]", type=JobRef(), required=required)
