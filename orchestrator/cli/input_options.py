"""What `run`, `submit`, `check` and `batches adopt` share: an INPUT with its options, and what was wrong with it."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestrator.cli.console import near_path
from orchestrator.cli.group import HintedUsageError
from orchestrator.cli.table_options import TableOptions, with_table_options
from orchestrator.domain import errors, humanize, job_spec, model, money
from orchestrator.domain.pilot import AfterPilot
from orchestrator.domain.priming import CacheUse
from orchestrator.ports import engine, streams
from orchestrator.ports.alike_problems import next_step

if TYPE_CHECKING:
    from orchestrator.cli.job_files import JobFile
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.config import Settings

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

STDIN: Final = "-"
_ADDRESS: Final = re.compile(r"(https?|ftp|s3|gs)://", re.IGNORECASE)
STDIN_NAME: Final = "<stdin>"
LEAVE_OUT: Final = "leave the bad lines out with --skip-bad"
#: What says that only some requests are sent.
TRIAL_FLAGS: Final = ("--limit", "--sample", "--seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """INPUT as it was given, and the options that say what becomes of it. paths: "-" is standard input.

    Several are files of requests, or with a template of one prompt each. table: how requests are made of rows.
    job_file: that said it, if one did.
    """

    paths: tuple[str, ...]
    job_options: job_spec.JobOptions
    table: TableOptions = field(default_factory=TableOptions)
    new: bool = False
    skip_bad: bool = False
    yes: bool = False
    job_file: JobFile | None = None

    @property
    def path(self) -> str:
        """The first path, nearly always the only one."""
        return self.paths[0]

    @property
    def stem(self) -> str:
        """The file's name without its folder and endings: what the job is called unless a name was given.

        A job file's comes first: two of them may ask about one table, and are two jobs.
        """
        if self.job_file is not None:
            return job_spec.name_of(self.job_file.path)
        if self.path == STDIN:
            return job_spec.name_of(STDIN_NAME)
        if len(self.paths) == 1:
            return job_spec.name_of(os.path.realpath(self.path) if Path(self.path).is_dir() else self.path)
        return job_spec.name_of(os.path.dirname(os.path.realpath(self.path)))  # noqa: PTH120 - as realpath

    def fit(self) -> InputOptions:
        """The same. Raises a usage error for an address, a file given twice, and rows or a template alone."""
        for path in self.paths:
            if _ADDRESS.match(path):
                is_web = path.lower().startswith("http")
                hint = f"fetch it first{f': curl -fLO {shlex.quote(path)}' if is_web else ''}"
                raise HintedUsageError(f"{humanize.plain(path)} is an address; INPUT is a file", hint=hint)
        self._refuse_twice()
        self.table.refuse_unfit(self.paths)
        return self

    def _refuse_twice(self) -> None:
        """Raise a usage error for paths that lead to one file: each of its ids would be taken already."""
        given: dict[str, str] = {}
        for path in self.paths:
            real = path if path == STDIN else os.path.realpath(path)
            if real in given:
                also = "" if given[real] == path else f" (as {humanize.plain(given[real])}, too)"
                raise HintedUsageError(f"{humanize.plain(path)} is given twice{also}", hint="give each input once")
            given[real] = path

    def source(self, settings: Settings) -> streams.Source:
        """The requests, checked line by line while they are read. Raises UsageError for a template that is none."""
        from orchestrator.domain import limits, params

        rules = params.ParamRules(
            api_version=self.new_job(settings).fixed_version,
            max_request_bytes=limits.largest_params(settings.batching.max_bytes),
        )
        if self.table.has_template:
            return self.table.source(self.paths, settings, rules)
        from orchestrator.inputs import JoinedSource, open_source

        most = limits.MAX_INPUT_LINE_BYTES
        sources = [open_source(each, rules=rules, max_line_bytes=most) for each in self.paths]
        return sources[0] if len(sources) == 1 else JoinedSource(sources, name=humanize.count(len(sources), "file"))

    def new_job(self, settings: Settings) -> job_spec.NewJob:
        """What the job is, before its first line is read."""
        source = humanize.readable(os.path.realpath(self.path))
        if self.path == STDIN:
            source = STDIN_NAME
        elif len(self.paths) > 1:
            last = os.path.realpath(self.paths[-1])
            folder = os.path.dirname(os.path.realpath(self.path))  # noqa: PTH120 - as realpath
            last = humanize.readable(last.removeprefix(f"{folder}/"))
            names = sha256("\0".join(map(os.path.realpath, self.paths)).encode("utf-8", "surrogateescape")).hexdigest()
            source = f"{source} … {last} ({humanize.count(len(self.paths), 'file')}, {names[:8]})"
        schema = None if self.table.schema is None else self.table.schema.schema.text
        options = replace(self.job_options, schema=schema)
        new = options.new_job(source, default_name=self.stem, default_version=settings.api.version)
        most, told = settings.budget.max_job, new.cap_nanos
        if self.has_cap_of_file and most is not None and told is not None and told > most:
            raise errors.UsageError(
                f"the job file says max_cost {money.shown_cap(told)}, and [budget] max_job is {money.shown_cap(most)}",
                cause="a job file may lower what a job may cost, not raise it",
                hint=f"lower it, or say it on the command line: --max-cost '{new.max_cost}'",
            )
        return new

    @property
    def has_cap_of_file(self) -> bool:
        """Its cap is the word of a job file, which raises none and confirms nothing."""
        return self.job_file is not None and self.job_file.caps

    @property
    def is_trial(self) -> bool:
        """Only some requests are to be sent."""
        return any((self.job_options.limit, self.job_options.sample))

    @property
    def is_trial_of_file(self) -> bool:
        """That only some requests are sent is the word of a job file: the same command without it does not go on."""
        return self.job_file is not None and self.job_file.tries

    def terms(self) -> engine.IngestOptions:
        """How it is taken in."""
        return engine.IngestOptions(force_new=self.new, skip_bad=self.skip_bad)


def _option(field: str, note: str = "", **more: Any) -> Callable[[F], F]:  # noqa: ANN401 - click's own
    """The flag of one option of a new job, checked when it is parsed."""
    option = job_spec.OPTIONS[field]
    flag = f"--{option.param.replace('_', '-')}"
    if option.schema["type"] == "integer":
        span = click.IntRange(option.schema["minimum"], option.schema["maximum"])
        more = {"type": span, "show_default": str(job_spec.DEFAULTS.get(field, "")) or False, **more}
    if option.schema["type"] == "boolean":
        more = {"is_flag": True, **more}
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
_OF_SENDING: Final = ("dedupe", "limit", "sample", "seed", "max_cost", "allow_per_request", "retry_invalid")
_CACHE: Final = (_option("cache"), click.option("--no-prime", is_flag=True, help="The same as --cache off."))
_OTHERS: Final = (
    *(
        _option(field)
        for field in job_spec.OPTIONS
        if field not in {"api_version", "betas", "name", "cache", "after_pilot", "schema"}
    ),
    *_CACHE,
)
_INGEST_OPTIONS: Final = (
    click.option("--new", is_flag=True, help="Start a new job even if this input is a job already."),
    click.option("--skip-bad", is_flag=True, help="Leave bad lines out and write them beside the output."),
    click.option("-y", "--yes", is_flag=True, help="Do not ask, whatever it may cost; a pilot goes on by itself."),
)


def header_options(function: Callable[..., R]) -> Callable[..., R]:
    """What the requests are sent with, fixed per job; *function* gets them as `job_options`."""
    return _with_job_options(function, _HEADERS)


def sending_options(function: Callable[..., R]) -> Callable[..., R]:
    """The same, what is done about the prompt cache, what is sent, and what it may cost."""
    return _with_job_options(
        function,
        (*_HEADERS, *_CACHE, *map(_option, _OF_SENDING)),
    )


def job_input_options(function: Callable[..., R]) -> Callable[..., R]:
    """The options of a new job for `run` and `submit`; *function* gets INPUT and them as `chosen`, `InputOptions`."""

    @functools.wraps(function)
    def with_input(options: GlobalOptions, /, **given: Any) -> R:  # noqa: ANN401 - what click hands over, by option
        chosen = InputOptions(**{field.name: given.pop(field.name) for field in fields(InputOptions)})
        chosen.fit()
        if chosen.yes:
            chosen = replace(chosen, job_options=replace(chosen.job_options, after_pilot=AfterPilot.GO_ON.value))
        return function(options, chosen=chosen, **given)

    with_job = _with_job_options(with_input, (*_HEADERS, _NAME, *_OTHERS, *_INGEST_OPTIONS))
    return with_table_options(with_job)


def _with_job_options(function: Callable[..., R], options: Sequence[Callable[[Any], Any]]) -> Callable[..., R]:
    """*function* with the flags *options*, of which it gets those of the job as one value, `job_options`."""

    @functools.wraps(function)
    def with_options(*args: Any, **given: Any) -> R:  # noqa: ANN401 - what click hands over, by option
        chosen = {field: given.pop(field) for field in job_spec.OPTIONS if field in given}
        if given.pop("no_prime", False):
            if chosen["cache"] not in {None, CacheUse.OFF}:
                raise HintedUsageError("--no-prime and --cache exclude each other", hint="--no-prime is --cache off")
            chosen["cache"] = CacheUse.OFF.value
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
    has = "have" if source_name.endswith(" files") else "has"
    hint = next_step(taken.problems, taken.fit, LEAVE_OUT if may_skip else None)
    return errors.InputError(
        f"{shown} {has} {humanize.count(taken.problem_count, 'problem')}; nothing was stored or sent", hint=hint
    )


def concerns_whole_file(problems: Iterable[streams.InputProblem]) -> bool:
    """True if one of *problems* is with the file as a whole: leaving lines out does not help."""
    return any(problem.line == 0 for problem in problems)


def problems_as_text(
    source_name: str, problems: Sequence[streams.InputProblem], total: int, *, shown: int = 20
) -> Iterator[str]:
    """The first *shown* problems as a person reads them: `file:line: field: what (remedy)`."""
    from orchestrator.inputs import problem_lines

    for line in problem_lines(near_path(source_name), problems, total=total, shown=shown):
        yield humanize.plain(line)


def job_of_ingest(taken: engine.IngestResult, source_name: str, chosen: InputOptions) -> model.JobSnapshot:
    """The job of an ingested input. Says every problem of one that was refused, and raises InputError."""
    if taken.job is not None:
        return taken.job
    for line in problems_as_text(source_name, taken.problems, taken.problem_count):
        click.echo(line, err=True)
    raise refused_input(source_name, taken, may_skip=not chosen.skip_bad)
