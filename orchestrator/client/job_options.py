"""How a program wants its requests taken in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, NoReturn, TypedDict

from orchestrator.client.errors import InputRefused
from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import nearest, readable
from orchestrator.domain.model import NewJob
from orchestrator.domain.naming import is_key
from orchestrator.ports.engine import IngestOptions

if TYPE_CHECKING:
    from orchestrator.ports.engine import IngestResult

_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_HIGHEST_PRIORITY: Final = 100
_SHOWN: Final = 20
ALL_OR_NOTHING: Final = "nothing was stored; fix them, or pass skip_bad=True"


class Submission(TypedDict, total=False):
    """Options of `submit` and `submit_file`.

    api_version, betas: fixed for the job (default: `[api] version`, none). priority: 1–100, a larger share of the
    account's queue for a larger number. new: start a new job although the same content is there. skip_bad: leave bad
    requests out instead of refusing all. key: your own name of this hand-over: the same key again is the same job, even
    with `new`; with other requests it raises KeyReused.
    """

    api_version: str | None
    betas: Sequence[str]
    priority: int
    new: bool
    skip_bad: bool
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """A `Submission`, complete."""

    api_version: str | None = None
    betas: Sequence[str] = ()
    priority: int = 10
    new: bool = False
    skip_bad: bool = False
    key: str | None = None

    @classmethod
    def of(cls, how: Submission) -> JobOptions:
        """The wish that a program's options are. Raises UsageError for one that does not exist."""
        refuse_unknown(how, (field.name for field in fields(cls)))
        return cls(**how)

    def new_job(
        self, name: str | None, source: str, *, default_name: str, api_version: str, still_open: bool = False
    ) -> NewJob:
        """The job to make. *default_name* and *api_version* hold where none was wished for. Raises UsageError."""
        version = api_version if self.api_version is None else self.api_version
        if _VERSION.fullmatch(version) is None:
            raise UsageError(f"api_version is {version!r}", hint='give a date such as "2026-10-21"')
        if name == "":
            raise UsageError("name is empty", hint="give it at least one character, or leave it out")
        if not 1 <= self.priority <= _HIGHEST_PRIORITY:
            raise UsageError(f"priority is {self.priority}", hint=f"give a number from 1 to {_HIGHEST_PRIORITY}")
        if isinstance(self.betas, str):
            raise UsageError(f"betas is {self.betas!r}", hint="give a list of names")
        if self.key is not None and not is_key(self.key):
            raise UsageError(f"key is {self.key!r}", hint="give 1 to 255 printable ASCII characters")
        return NewJob(
            name=readable(default_name if name is None else name),
            source=source,
            api_version=version,
            betas=tuple(sorted(set(self.betas))),
            priority=self.priority,
            still_open=still_open,
            key=self.key,
            is_named=name is not None,
        )

    def ingest_options(self) -> IngestOptions:
        """How the input is to be taken in."""
        return IngestOptions(force_new=self.new, skip_bad=self.skip_bad, max_problems=_SHOWN)


def refusal(name: str, taken: IngestResult, *, hint: str = ALL_OR_NOTHING) -> InputRefused:
    """The error that tells why *taken* has no job; *name* stands before ":line"."""
    from orchestrator.inputs import problem_lines

    told = "\n".join(problem_lines(name, taken.problems, total=taken.problem_count))
    count = taken.problem_count
    what = "1 problem" if count == 1 else f"{count:,} problems"
    return InputRefused(f"{name} has {what}", taken.problems, count=count, cause=told, hint=hint)


_OWN: Final = ("db", "sandbox", "config", "server", "token")
_KEY: Final = re.compile(r"(anthropic_?)?(api_?key|auth_?token|key)", re.IGNORECASE)


def as_flags(overrides: Mapping[str, object]) -> dict[str, object]:
    """The settings in `limits__poll_interval="10s"` by their names ("limits.poll_interval"). Raises UsageError.

    The message never has a value: somebody may have put a key there.
    """
    flags = {}
    for argument, value in overrides.items():
        section, separator, key = argument.partition("__")
        name = f"{section}.{key}"
        if not separator or name not in _settings():
            _refuse(argument)
        flags[name] = value
    return flags


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise UsageError for the first option of a submission in *given* that is not one of *known*."""
    names = list(known)
    for option in given:
        if option not in names:
            raise UsageError(
                f"there is no option {option!r}", hint=nearest(option, names) or f"the options are: {', '.join(names)}"
            )


def _refuse(argument: str) -> NoReturn:
    if _KEY.fullmatch(argument.rpartition("__")[2]):
        hint = 'set ANTHROPIC_API_KEY, or name a file that holds the key alone: api__key_file="PATH"'
        raise UsageError(f"an API key is not taken as an argument ({argument})", hint=hint)
    settings = [name.replace(".", "__", 1) for name in _settings()]
    section = argument.partition("__")[0]
    if argument == section and any(name.startswith(f"{section}__") for name in settings):
        one = next(name for name in settings if name.startswith(f"{section}__"))
        raise UsageError(f"{argument} is a section, not a setting", hint=f"name a setting of it, such as {one}=…")
    raise UsageError(
        f"there is no argument {argument!r}",
        hint=nearest(argument, [*_OWN, *settings])
        or 'config.example.toml has the settings; [limits] poll_interval is limits__poll_interval="10s"',
    )


def _settings() -> Iterable[str]:
    from orchestrator.config.sections import KEYS  # late: most programs name no setting

    return KEYS
