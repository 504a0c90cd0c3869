"""The options of `submit`, and the settings that a program gives by name. Unknown names are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypedDict

from orchestrator.client.errors import InputRefused
from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import nearest
from orchestrator.domain.job_spec import OPTIONS, JobOptions
from orchestrator.ports.engine import IngestOptions, IngestResult

_SHOWN: Final = 20
ALL_OR_NOTHING: Final = "nothing was stored; fix them, or pass skip_bad=True"


class Submission(TypedDict, total=False):
    """Options of `submit`, `submit_file` and `open_job`.

    api_version, betas: fixed for the job (default: `[api] version`, none). priority: 1–100, a larger share of the
    account's queue for a larger number. tags: what it is filed under. new: start a new job although one with the same
    content exists. skip_bad: leave bad requests out instead of refusing all. key: an idempotency key of your own: the
    same key again is the same job, even with `new`; with other requests it raises KeyReused.
    """

    api_version: str | None
    betas: Sequence[str]
    priority: int
    tags: Sequence[str]
    new: bool
    skip_bad: bool
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """A `Submission` and a name: the options of the job, and how its input is ingested."""

    job: JobOptions
    ingest: IngestOptions

    @classmethod
    def of(cls, name: str | None, how: Submission) -> SubmitOptions:
        """The options in *how*. Raises UsageError for an unknown one; values are checked when the job is made."""
        refuse_unknown(how, [*(field for field in OPTIONS if field != "name"), "new", "skip_bad"])
        given: dict[str, Any] = {**how}
        force_new, skip_bad = given.pop("new", False), given.pop("skip_bad", False)
        return cls(
            job=JobOptions(name=name, **given),
            ingest=IngestOptions(force_new=force_new, skip_bad=skip_bad, max_problems=_SHOWN),
        )


def refusal(name: str, taken: IngestResult, *, hint: str = ALL_OR_NOTHING) -> InputRefused:
    """The error for an input that was refused; *name* stands before ":line"."""
    from orchestrator.inputs import problem_lines

    told = "\n".join(problem_lines(name, taken.problems, total=taken.problem_count))
    count = taken.problem_count
    what = "1 problem" if count == 1 else f"{count:,} problems"
    return InputRefused(f"{name} has {what}", taken.problems, count=count, cause=told, hint=hint)


_OWN: Final = ("db", "sandbox", "config", "server", "token")
_KEY: Final = re.compile(r"(anthropic_?)?(api_?key|auth_?token|key)", re.IGNORECASE)


def as_flags(overrides: Mapping[str, object]) -> dict[str, object]:
    """The settings in `limits__poll_interval="10s"` by their names ("limits.poll_interval"). Raises UsageError.

    The message never quotes a value, which may be a key.
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
    """Raise UsageError for the first of *given* that is not in *known*."""
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
