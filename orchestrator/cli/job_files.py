"""Job files: a whole job in one TOML file, whose keys are options of `run`; which of them only a person says.

Such a file may be somebody else's: what it decides is what the job is, and no more.
"""

from __future__ import annotations

import functools
import glob
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, TypeGuard, TypeVar

import click
import msgspec
from click.core import ParameterSource

from orchestrator.cli import console, group, shape_options, table_options
from orchestrator.cli.options import GLOBAL_OPTIONS, GlobalOption, GlobalOptions
from orchestrator.config import safe_files, sections, token_section, toml_text, webhook_section
from orchestrator.domain import humanize, job_spec, table_spec
from orchestrator.domain.errors import UsageError

R = TypeVar("R")

SUFFIX: Final = ".toml"
_SHAPE: Final = "keys stand at the top level; see docs/how-to/write-a-job-file.md"
_WRITTEN: Final = 'texts stand in quotes: model = "claude-haiku-4-5"; those of several lines in three'
_RELATIVE: Final = "a path is relative to the folder of the job file"
_QUOTE: Final = '"'

#: Numbers keep their digits: a parameter is sent as it was written.
_json: Final = msgspec.json.Encoder(decimal_format="number").encode
_INPUT: Final = "input"
_OF_RESULTS: Final = frozenset({"output", *(field.name for field in fields(shape_options.ShapeChoice))})
#: Options, by their parameter, that say what a job is. What joins one of these lists joins job files as well: a test
#: has the keys written out, so that it is seen.
_OF_A_JOB: Final = _OF_RESULTS | {
    *job_spec.OPTIONS,
    *(field.name for field in fields(table_options.TableOptions)),
    "skip_bad",
}
#: Why a file may not say them. Other options say how a command works.
_ONLY_SAID: Final[Mapping[str, str]] = {
    **{field: option.not_in_file for field, option in job_spec.OPTIONS.items() if option.not_in_file is not None},
    "yes": "a job file approves no spending",
    "new": "it has the same work paid for again",
    "overwrite": "it has files replaced that are not the job's own",
    "no_prime": 'a job file has cache = "off"',
}
_HOW: Final = "it says how the command works, not what the job is"
_NOT_THE_FILES: Final = (
    "it decides where keys and prompts go, or what may be spent; a job file may be somebody else's word"
)
#: One that is given on the command line stands for the others of its row, too.
_INSTEAD: Final = (
    frozenset({"prompt", "prompt_file"}),
    frozenset({"cache", "no_prime"}),
    frozenset({"output_format", "only_text"}),
    frozenset({"pilot", "limit", "sample", "seed"}),
)
_GIVEN: Final = frozenset({ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """Where a job was read from. caps: its cap is the word of the file, which raises none and confirms nothing.

    tries: so is that only some requests are sent.
    """

    path: str
    caps: bool
    tries: bool


class _Unfit(NamedTuple):
    """What a key should have instead of what it has. sample: in TOML."""

    expected: str
    sample: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenJob:
    """The content of a job file."""

    path: str
    content: bytes
    table: Mapping[str, Any]

    @property
    def shown(self) -> str:
        """Its path, for people."""
        return humanize.plain(console.near_path(self.path))

    @classmethod
    def read(cls, path: str) -> WrittenJob:
        """The file at *path*. Raises UsageError for what cannot be read, or is no TOML."""
        shown = humanize.plain(console.near_path(path))
        try:
            content, _ = safe_files.read_regular_file(Path(path))
        except FileNotFoundError as exc:
            from orchestrator.inputs import path_hint

            hint = f"{path_hint(path)}; `orchestrator init INPUT` writes one"
            raise UsageError(f"no such job file: {shown}", hint=hint) from exc
        except (OSError, safe_files.UnusableFileError) as exc:
            cause = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise UsageError(f"the job file cannot be read: {shown}", cause=cause, hint="check the path") from exc
        table = toml_text.parse_toml(content, shown, hint=_WRITTEN, shape=_SHAPE, parse_float=Decimal)
        return cls(path=path, content=content, table=table)

    def place(self, key: str) -> str:
        """Where *key* stands, for people: `job.toml:4: max_tokens`."""
        line = toml_text.line_of_key(self.content, key)
        return f"{self.shown}{'' if line is None else f':{line}'}: {humanize.plain(key)}"

    def words(self, key: str, option: click.Option) -> Any:  # noqa: ANN401 - each option has its own type
        """What stands under *key*, as *option* takes it. Raises UsageError for another type."""
        value = self.table[key]
        try:
            found = _words(option, value)
        except RecursionError:
            raise toml_text.too_deep(self.shown, _SHAPE) from None
        if isinstance(found, _Unfit):
            raise UsageError(
                f"{self.place(key)}: expected {found.expected}, not {_called(value)}",
                hint=f"write for instance: {key} = {found.sample}",
            )
        return found

    def inputs(self) -> tuple[str, ...]:
        """The paths under `input`, a pattern as all files that fit; none if it is not there. Raises UsageError."""
        given = self.table.get("input", [])
        paths = [given] if isinstance(given, str) else given
        if not _are_texts(paths):
            hint = 'write for instance: input = "reviews.csv"'
            raise UsageError(f"{self.place('input')}: expected a path in quotes, or a list of such", hint=hint)
        return tuple(path for each in paths for path in ((each,) if each == "-" else self._matching("input", each)))

    def _matching(self, key: str, named: str) -> Iterator[str]:
        """The files of the pattern *named*, as a shell lists them; else, or if one is called so, that file alone."""
        folder = Path(self.path).parent
        if not glob.has_magic(named) or os.path.lexists(folder / named):
            yield self.existing(key, named)
            return
        self.inside(key, named)  # no other folder is looked through
        found = sorted(glob.glob(named, root_dir=folder))  # noqa: PTH207 - as a shell: hidden files are left out
        paths = [self.inside(key, each) for each in found if not (folder / each).is_dir()]
        if not paths:
            raise UsageError(f"{self.place(key)}: no file fits {humanize.plain(named)}", hint=_RELATIVE)
        yield from paths

    def existing(self, key: str, named: str) -> str:
        """The same as `inside`. Raises UsageError where nothing is."""
        path = self.inside(key, named)
        if not Path(path).exists():
            raise UsageError(f"{self.place(key)}: no such file: {humanize.plain(path)}", hint=_RELATIVE)
        return path

    def inside(self, key: str, named: str) -> str:
        """The path that *key* names, which is relative to the file's folder. Raises UsageError for one outside of it.

        Links are followed: what comes with a folder must not have other files read, sent or written.
        """
        folder = Path(self.path).parent
        path = folder / named
        root = os.path.realpath(folder)
        if "\0" in named or not named:
            raise UsageError(f"{self.place(key)}: expected a path", hint="give the name of a file")
        if os.path.commonpath([root, os.path.realpath(path)]) != root:
            raise UsageError(
                f"{self.place(key)}: {humanize.plain(named)} is outside of the folder of the job file",
                cause="a job file may be somebody else's: it names files in its own folder, or below",
                hint="give it on the command line, or put it there",
            )
        return str(path)


def _words(option: click.Option, value: object) -> object:
    """*value* for *option*, or why it is none."""
    if option.name == "params":
        return _params(value) if isinstance(value, dict) else _Unfit("a table of parameters", "{ temperature = 0 }")
    if option.name == "schema" and isinstance(value, dict):
        return _json(value).decode()
    if option.multiple:
        given = [value] if isinstance(value, str) else value
        return tuple(given) if _are_texts(given) else _Unfit("a text in quotes, or a list of such", '["one", "two"]')
    if option.is_flag:
        return value if isinstance(value, bool) else _Unfit("true or false", "true")
    return _plain(option, value)


def _plain(option: click.Option, value: object) -> object:
    """*value* for an option that takes a number or a text."""
    is_number = isinstance(value, int | Decimal | date) and not isinstance(value, bool)
    if isinstance(option.type, click.IntRange):
        return value if is_number and isinstance(value, int) else _Unfit("a whole number", "100")
    if option.name == "columns" and _are_texts(value):
        return ",".join(f'"{name.replace(_QUOTE, _QUOTE * 2)}"' for name in value)
    if option.name in job_spec.OPTIONS and is_number:
        return str(value)  # an amount, or the date of a version: what it may be is checked with it
    # The last line feed of a text of several lines is as little meant as that of a file.
    return value.removesuffix("\n") if isinstance(value, str) else _Unfit("a text in quotes", '"..."')


def _params(table: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(f"{key}={_json(value).decode()}" for key, value in table.items())


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _called(value: object) -> str:
    """What *value* is, without showing it: it may be a secret that was put in the wrong place."""
    match value:
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | Decimal():
            return "a number"
        case dict():
            return "a table"
        case list():
            return "a list of something else"
    return "a date or a time"


def input_argument(function: Callable[..., R]) -> Callable[..., R]:
    """The argument INPUT, as `paths`. Where it is a job file, that fills in what the command line does not say.

    It stands above the other options of *function*, which gets the file as `job_file`, or None.
    """

    @functools.wraps(function)
    def filled(options: GlobalOptions, /, **given: Any) -> R:  # noqa: ANN401 - what click hands over, by option
        ctx = click.get_current_context()
        path, *others = given["paths"]
        if not is_job_file(path):
            return function(options, **given, job_file=None)
        if any(map(is_job_file, others)):
            raise group.HintedUsageError("one job file goes at a time", hint="run them one by one")
        written = WrittenJob.read(path)
        taken = {name: value for name, value in _values(ctx, written, given) if name in given}
        paths = tuple(others) or written.inputs()
        if not paths:
            hint = f'write input = "FILE" into it, or give the input behind it: {ctx.command_path} {path} INPUT'
            raise group.HintedUsageError(f"{written.shown} names no input", hint=hint)
        file = JobFile(path=path, caps="max_cost" in taken, tries=not {"limit", "sample"}.isdisjoint(taken))
        return function(options, **{**given, **taken, "paths": paths, "job_file": file})

    path = click.Path(allow_dash=True, dir_okay=True)
    return click.argument("paths", metavar="INPUT...", type=path, nargs=-1, required=True)(filled)


def job_keys(ctx: click.Context) -> dict[str, click.Option]:
    """What a job file may have beside `input`: the option of each key."""
    return {key: option for key, option in _options(ctx) if _refusal(option) is None}


def is_job_file(path: str) -> bool:
    """Whether *path* names one."""
    return path.lower().endswith(SUFFIX) and not Path(path).is_dir()


def _options(ctx: click.Context) -> Iterator[tuple[str, click.Option]]:
    """The options of `run`, which has all of them, by their long names: a file for it is one for `check`, too."""
    root = ctx.find_root().command
    run = root.get_command(ctx, "run") if isinstance(root, click.Group) else None
    for option in () if run is None else run.params:
        if isinstance(option, click.Option) and not isinstance(option, GlobalOption):
            yield _key(option), option


def _key(option: click.Option) -> str:
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


def _refusal(option: click.Option) -> str | None:
    """Why a file may not say *option*; None: it may."""
    name = str(option.name)
    return _ONLY_SAID.get(name, None if name in _OF_A_JOB else _HOW)


def _values(ctx: click.Context, written: WrittenJob, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parameters that the file has, read as those of the command line are, which stand for some of them."""
    options = dict(_options(ctx))
    for key in written.table:
        if key != _INPUT:
            _check_key(written, key, options)
    replaced = {name for name in given if ctx.get_parameter_source(name) in _GIVEN}
    replaced |= {name for row in _INSTEAD if row & replaced for name in row}
    if given.get("detach") or given.get("crash_test"):
        replaced |= _OF_RESULTS  # they write none, or their own
    for key in written.table:
        if key != _INPUT and options[key].name not in replaced:
            yield str(options[key].name), _read(ctx, written, key, options[key])


def _read(ctx: click.Context, written: WrittenJob, key: str, option: click.Option) -> Any:  # noqa: ANN401 - each has its own type
    """The value of one option. Raises UsageError, which says where it stands."""
    value = _with_place(written, key, str(option.name), written.words(key, option))
    try:
        if option.name == "params":
            table_spec.params_of(value, key)  # what is wrong with them is told with its line
        return option.process_value(ctx, value)
    except click.UsageError as exc:
        text = exc.message[:1].lower() + exc.message[1:].rstrip(".")
        raise UsageError(f"{written.place(key)}: {text}", hint=getattr(exc, "hint", None)) from exc
    except UsageError as exc:
        raise UsageError(
            f"{written.place(key)}: {exc.message.removeprefix(f'--{key}: ')}", cause=exc.cause, hint=exc.hint
        ) from exc


def _with_place(written: WrittenJob, key: str, name: str, value: Any) -> Any:  # noqa: ANN401 - each has its own type
    """*value*; a path in it is that of a file in the folder of the job file."""
    if name == "output" and value != "-":
        return written.inside(key, value)
    if name == "prompt_file":
        return written.existing(key, value)
    if (name == "system" and value.startswith("@")) or (name == "schema" and table_options.is_path(value)):
        return f"@{written.existing(key, value.removeprefix('@'))}"
    return value


def _check_key(written: WrittenJob, key: str, options: Mapping[str, click.Option]) -> None:
    """Raise UsageError for a key that is none, or that a person alone may say."""
    option = options.get(key)
    if option is not None:
        why = _refusal(option)
        if why is not None:
            _refuse(written, key, why, "give it on the command line")
        return
    of_all = {_key(each): f"give it on the command line: {max(each.opts, key=len)}" for each in GLOBAL_OPTIONS}
    if key in {
        *of_all,
        *sections.SECTIONS,
        webhook_section.WEBHOOKS,
        token_section.TOKENS,
        *(each.key for each in sections.KEYS.values()),
    }:
        hint = of_all.get(key, "settings belong in your own file: ~/.config/orchestrator/config.toml")
        _refuse(written, key, _NOT_THE_FILES, hint)
    keys = [_INPUT, *(each for each, found in options.items() if _refusal(found) is None)]
    near = humanize.nearest(key, keys)
    hint = f"{near} " if near else ""
    raise UsageError(f"{written.place(key)}: a job file has no such key", hint=f"{hint}Its keys: {', '.join(keys)}")


def _refuse(written: WrittenJob, key: str, cause: str, hint: str) -> NoReturn:
    raise UsageError(f"{written.place(key)} cannot be said in a job file", cause=cause, hint=hint)
