"""What `run`, `submit`, `check` and `batches adopt` share: an INPUT with its options, and what was wrong with it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestrator.cli.console import near_path
from orchestrator.domain import errors, humanize, job_spec
from orchestrator.ports import engine, streams

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.config import Settings
    from orchestrator.inputs import JsonLinesSource

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

STDIN: Final = "-"
STDIN_NAME: Final = "<stdin>"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """INPUT as it was given, and the options that say what becomes of it. path: "-" is standard input."""

    path: str
    job_options: job_spec.JobOptions
    new: bool = False
    skip_bad: bool = False

    @property
    def stem(self) -> str:
        """The file's name without its folder and endings: what the job is called unless a name was given."""
        return job_spec.name_of("<stdin>" if self.path == STDIN else self.path)

    def version(self, settings: Settings) -> str:
        """The API version for this job: the flag, else the setting, else the SDK's own."""
        chosen = self.job_options.api_version
        return settings.api.version_or_default if chosen is None else chosen

    def source(self, settings: Settings) -> JsonLinesSource:
        """The requests, checked line by line while they are read."""
        from orchestrator.domain import limits, params
        from orchestrator.inputs import open_source

        rules = params.ParamRules(
            api_version=self.version(settings), max_request_bytes=limits.largest_params(settings.batching.max_bytes)
        )
        return open_source(self.path, rules=rules, max_line_bytes=limits.MAX_INPUT_LINE_BYTES)

    def new_job(self, settings: Settings) -> job_spec.NewJob:
        """What the job is, before its first line is read."""
        source = STDIN_NAME if self.path == STDIN else humanize.readable(os.path.realpath(self.path))
        return self.job_options.new_job(source, default_name=self.stem, default_version=self.version(settings))

    def terms(self) -> engine.IngestOptions:
        """How it is taken in."""
        return engine.IngestOptions(force_new=self.new, skip_bad=self.skip_bad)


def input_argument(function: F) -> F:
    """The argument INPUT, as `path`."""
    return click.argument("path", metavar="INPUT", type=click.Path(allow_dash=True, dir_okay=True))(function)


def _option(field: str, note: str = "", **more: Any) -> Callable[[F], F]:  # noqa: ANN401 - click's own
    """The flag of one option of a new job, checked when it is parsed."""
    option = job_spec.OPTIONS[field]
    flag = f"--{option.param.replace('_', '-')}"
    if option.schema["type"] == "integer":
        span = click.IntRange(option.schema["minimum"], option.schema["maximum"])
        more = {"type": span, "default": getattr(job_spec.JobOptions(), field), "show_default": True, **more}
    return click.option(flag, field, multiple=option.is_list, callback=_checked, help=f"{option.help}{note}", **more)


def _checked(_ctx: click.Context, param: click.Parameter, value: object) -> object:
    try:
        return job_spec.checked(str(param.name), value)
    except errors.UsageError as exc:
        raise click.BadParameter(str(exc.hint)) from exc


_HEADERS: Final = (
    _option("api_version", "  [env: ORCHESTRATOR_API__VERSION]", metavar="DATE"),
    _option("betas", metavar="NAME"),
)
_NAME: Final = _option("name", "  [default: the file's name]")
_OTHERS: Final = tuple(_option(field) for field in job_spec.OPTIONS if field not in {"api_version", "betas", "name"})
_INGEST_OPTIONS: Final = (
    click.option("--new", is_flag=True, help="Start a new job even if this input is a job already."),
    click.option("--skip-bad", is_flag=True, help="Leave bad lines out and write them beside the output."),
)


def header_options(function: Callable[..., R]) -> Callable[..., R]:
    """What the requests are sent with, fixed per job; *function* gets them as `job_options`."""
    return _with_job_options(function, _HEADERS)


def job_input_options(function: Callable[..., R]) -> Callable[..., R]:
    """INPUT and the options of a new job for `run` and `submit`; *function* gets them as `chosen`, `InputOptions`."""

    @functools.wraps(function)
    def with_input(options: GlobalOptions, /, **given: Any) -> R:  # noqa: ANN401 - what click hands over, by option
        named = {field.name: given.pop(field.name) for field in fields(InputOptions)}
        return function(options, chosen=InputOptions(**named), **given)

    return input_argument(_with_job_options(with_input, (*_HEADERS, _NAME, *_OTHERS, *_INGEST_OPTIONS)))


def _with_job_options(function: Callable[..., R], options: Sequence[Callable[[Any], Any]]) -> Callable[..., R]:
    """*function* with the flags *options*, of which it gets those of the job as one value, `job_options`."""

    @functools.wraps(function)
    def with_options(*args: Any, **given: Any) -> R:  # noqa: ANN401 - what click hands over, by option
        chosen = {field: given.pop(field) for field in job_spec.OPTIONS if field in given}
        return function(*args, job_options=job_spec.JobOptions(**chosen), **given)

    wrapped: Callable[..., R] = with_options
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def refused_input(source_name: str, taken: engine.IngestResult, *, may_skip: bool) -> errors.InputError:
    """An input that was refused as a whole: every problem up to the cap has been said, this is the last word.

    may_skip: the command takes --skip-bad, and it was not given.
    """
    shown = near_path(source_name)
    return errors.InputError(
        f"{shown} has {humanize.count(taken.problem_count, 'problem')}; nothing was stored or sent",
        hint="fix them, or leave the bad lines out with --skip-bad"
        if may_skip and not concerns_whole_file(taken.problems)
        else None,
    )


def concerns_whole_file(problems: Iterable[streams.InputProblem]) -> bool:
    """True if one of *problems* is with the file as a whole: leaving lines out does not help."""
    return any(problem.line == 0 for problem in problems)


def problems_as_text(source_name: str, problems: Sequence[streams.InputProblem], total: int) -> Iterator[str]:
    """The problems as a person reads them: `file:line: field: what (remedy)`."""
    from orchestrator.inputs import problem_lines

    for line in problem_lines(near_path(source_name), problems, total=total):
        yield humanize.plain(line)
