"""What `run`, `submit`, `check` and `batches adopt` share: an INPUT with its options, and what was wrong with it."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestrator.cli.output import near_path
from orchestrator.domain import humanize
from orchestrator.domain.errors import InputError
from orchestrator.domain.humanize import readable
from orchestrator.domain.naming import is_key, name_of

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.config import Settings
    from orchestrator.domain.model import NewJob
    from orchestrator.inputs import JsonLinesSource
    from orchestrator.ports.engine import IngestOptions, IngestResult
    from orchestrator.ports.streams import InputProblem

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

STDIN: Final = "-"
STDIN_NAME: Final = "<stdin>"
#: Endings that say how a file is written, not what is in it.
_VERSION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BETA: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """INPUT as it was given, and the options that say what becomes of it. path: "-" is standard input."""

    path: str
    api_version: str | None = None
    beta: tuple[str, ...] = ()
    name: str | None = None
    priority: int = 10
    new: bool = False
    skip_bad: bool = False
    key: str | None = None

    @property
    def stem(self) -> str:
        """The file's name without its folder and endings: what the job is called unless a name was given."""
        return name_of("<stdin>" if self.path == STDIN else self.path)

    def version(self, settings: Settings) -> str:
        """The API version for this job: the flag, else the setting, else the SDK's own."""
        from orchestrator.config import DEFAULT_API_VERSION

        if self.api_version is not None:
            return self.api_version
        return DEFAULT_API_VERSION if settings.api.version is None else settings.api.version

    def source(self, settings: Settings) -> JsonLinesSource:
        """The requests, checked line by line while they are read."""
        from orchestrator.domain.limits import MAX_INPUT_LINE_BYTES, largest_params
        from orchestrator.domain.params import ParamRules
        from orchestrator.inputs import open_source

        rules = ParamRules(
            api_version=self.version(settings), max_request_bytes=largest_params(settings.batching.max_bytes)
        )
        return open_source(self.path, rules=rules, max_line_bytes=MAX_INPUT_LINE_BYTES)

    def new_job(self, settings: Settings) -> NewJob:
        """What the job is, before its first line is read."""
        from orchestrator.domain.model import NewJob

        return NewJob(
            name=self.stem if self.name is None else self.name,
            source=STDIN_NAME if self.path == STDIN else readable(os.path.realpath(self.path)),
            api_version=self.version(settings),
            betas=tuple(sorted(set(self.beta))),
            priority=self.priority,
            key=self.key,
            is_named=self.name is not None,
        )

    def terms(self) -> IngestOptions:
        """How it is taken in."""
        from orchestrator.ports.engine import IngestOptions

        return IngestOptions(force_new=self.new, skip_bad=self.skip_bad)


def input_argument(function: F) -> F:
    """The argument INPUT, as `path`."""
    return click.argument("path", metavar="INPUT", type=click.Path(allow_dash=True, dir_okay=True))(function)


def header_options(function: F) -> F:
    """What the requests are sent with, fixed per job."""
    function = click.option(
        "--beta", multiple=True, metavar="NAME", callback=_betas, help="A beta to send them with; may be repeated."
    )(function)
    return click.option(
        "--api-version",
        metavar="DATE",
        callback=_version,
        help="The API version to send them with.  [env: ORCHESTRATOR_API__VERSION]",
    )(function)


def _name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    value = None if value is None else readable(value)
    if value is not None and (not value.strip() or not value.isprintable() or value.startswith("@")):
        raise click.BadParameter("a name has at least one visible character, no line breaks, and no @ in front")
    return value


def _key(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_key(value):
        raise click.BadParameter("a key has 1 to 255 printable ASCII characters")
    return value


def job_input_options(function: Callable[..., R]) -> Callable[..., R]:
    """INPUT and what `run` and `submit` may say of a new job; *function* gets them as `chosen`, an `Input`."""

    @functools.wraps(function)
    def with_input(options: GlobalOptions, /, **given: Any) -> R:  # noqa: ANN401 - what click hands over, by option
        named = {field.name: given.pop(field.name) for field in fields(InputOptions)}
        return function(options, chosen=InputOptions(**named), **given)

    wrapped: Callable[..., R] = with_input
    for option in reversed(_JOB_OPTIONS):
        wrapped = option(wrapped)
    return input_argument(header_options(wrapped))


_JOB_OPTIONS: Final = (
    click.option("--name", callback=_name, help="What the job is called.  [default: the file's name]"),
    click.option("--new", is_flag=True, help="Start a new job even if this input is a job already."),
    click.option("--key", callback=_key, help="Your own key of this hand-over: with it again, the same job."),
    click.option("--skip-bad", is_flag=True, help="Leave bad lines out and write them beside the output."),
    click.option(
        "--priority",
        type=click.IntRange(1, 100),
        default=10,
        show_default=True,
        help="A larger number gets a larger share of the account's queue.",
    ),
)


def refused_input(source_name: str, taken: IngestResult, *, may_skip: bool) -> InputError:
    """An input that was refused as a whole: every problem up to the cap has been said, this is the last word.

    may_skip: the command takes --skip-bad, and it was not given.
    """
    shown = near_path(source_name)
    return InputError(
        f"{shown} has {humanize.count(taken.problem_count, 'problem')}; nothing was stored or sent",
        hint="fix them, or leave the bad lines out with --skip-bad"
        if may_skip and not concerns_whole_file(taken.problems)
        else None,
    )


def concerns_whole_file(problems: Iterable[InputProblem]) -> bool:
    """True if one of *problems* is with the file as a whole: leaving lines out does not help."""
    return any(problem.line == 0 for problem in problems)


def problems_as_text(source_name: str, problems: Sequence[InputProblem], total: int) -> Iterator[str]:
    """The problems as a person reads them: `file:line: field: what (remedy)`."""
    from orchestrator.inputs import problem_lines

    for line in problem_lines(near_path(source_name), problems, total=total):
        yield humanize.plain(line)


def _version(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and _VERSION.fullmatch(value) is None:
        raise click.BadParameter(f"{value!r} is not a version of the API; it is a date such as 2023-06-01")
    return value


def _betas(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    for beta in value:
        if _BETA.fullmatch(beta) is None:
            raise click.BadParameter(f"{beta!r} is not the name of a beta")
    return value
