"""What a retry is told over HTTP, and which retries can mend a job, as every face says it."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final, Self

import msgspec

from orchestrator.domain.humanize import plain
from orchestrator.domain.invalid_answers import cut_problem
from orchestrator.domain.model import JobStatus
from orchestrator.domain.param_change import MAX_TOKENS, ParamChange
from orchestrator.domain.queries import ErrorGroup
from orchestrator.domain.result_outcome import fails_again

#: A member of params in front of what is wrong with it.
_KEY: Final = re.compile(r"(?!params:)([a-z][a-z_]{0,63}): ")
#: The API's words after a member that it does not know.
_UNKNOWN_MEMBER: Final = "Extra inputs are not permitted"
#: Causes that get a command each, the largest.
_MOST_MENDED: Final = 5


class RetryBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `POST /jobs/{ref}/retry`. only, error_cause: one, or several."""

    only: str | list[str] | None = None
    error_cause: str | list[str] | None = None
    set: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    drop: list[str] = msgspec.field(default_factory=list)
    grow: bool = False

    @classmethod
    def of(cls, only: Collection[str], change: ParamChange, causes: Collection[str] = ()) -> Self:
        """The body that says these."""
        return cls(
            only=_one_or_several(only),
            error_cause=_one_or_several(causes),
            set={key: msgspec.Raw(value) for key, value in sorted(change.set.items())},
            drop=sorted(change.drop),
            grow=change.grow,
        )

    @property
    def types(self) -> tuple[str, ...]:
        """What `only` names."""
        return as_several(self.only)

    @property
    def causes(self) -> tuple[str, ...]:
        """What `error_cause` names."""
        return as_several(self.error_cause)

    @property
    def change(self) -> ParamChange:
        """What is changed. Raises UsageError if it contradicts itself."""
        found = ParamChange(
            set={key: bytes(value) for key, value in self.set.items()}, drop=frozenset(self.drop), grow=self.grow
        )
        found.refuse_contradictions()
        return found

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Decode *content*. Raises as `UNREADABLE` says."""
        return msgspec.json.decode(content, type=cls)

    def encode(self) -> bytes:
        """As it is sent."""
        return msgspec.json.encode(self)


def as_several(told: str | Collection[str] | None) -> tuple[str, ...]:
    """What is told as one, as several, or not at all."""
    return () if told is None else (told,) if isinstance(told, str) else tuple(told)


def _one_or_several(told: Collection[str]) -> str | list[str] | None:
    some = sorted(told)
    return None if not some else some[0] if len(some) == 1 else some


def retry_hints(status: JobStatus, groups: Sequence[ErrorGroup] | None = None) -> list[tuple[str, str]]:
    """What can be mended, and the command for it, such as ("to try them again", "retry JOB --only api_error").

    groups: of what failed, the largest first; None: they are not known here, and `errors` says more. Nothing of a job
    whose prompts were deleted.
    """
    if status.job.purged_at is not None:
        return []
    job, found = status.job.public_id, status.job.requests
    hints: list[tuple[str, str]] = []
    cut = [group for group in groups or () if group.error_message == cut_problem(MAX_TOKENS)]
    if groups is None and found.failed:
        hints.append(("what failed, and how to mend it", f"errors {job}"))
    elif found.failed or found.canceled:
        others = [group for group in groups or () if group not in cut]
        hints += _of_groups(job, others, has_canceled=found.canceled > 0, has_cut=bool(cut))
    if cut or status.stop_reasons.get(MAX_TOKENS):
        hints.append(("answers that were cut, again with more tokens", f"retry {job} --only {MAX_TOKENS} --grow"))
    return hints


def _of_groups(job: str, groups: Sequence[ErrorGroup], *, has_canceled: bool, has_cut: bool) -> list[tuple[str, str]]:
    """has_cut: invalid answers that were cut have a hint of their own."""
    passing = [kind for kind in dict.fromkeys(group.error_type for group in groups) if not fails_again(kind)]
    lasting = [group for group in groups if fails_again(group.error_type)]
    hints: list[tuple[str, str]] = []
    if (lasting or has_cut) and (passing or has_canceled):
        some = "".join(f" --only {plain(kind)}" for kind in [*passing, *["canceled"] * has_canceled])
        hints.append(("to try again what may succeed", f"retry {job}{some}"))
    elif passing or has_canceled:
        hints.append(("to try them again", f"retry {job}"))
    types = Counter(group.error_type for group in lasting)
    for group in lasting[:_MOST_MENDED]:
        kind = plain(group.error_type)
        is_one_of_many = types[group.error_type] > 1 and can_be_named(group.cause)
        some = f"--cause {shlex.quote(group.cause)}" if is_one_of_many else f"--only {kind}"
        hints.append((f"{kind} fails again as it is", f"retry {job} {some} {_mending(group.error_message)}"))
    return hints


def can_be_named(cause: str) -> bool:
    """Whether a shell and a form hand *cause* on as it is stored."""
    return cause != "" and plain(cause) == cause


def _mending(message: str) -> str:
    """The change for what *message* says: `--set model=VALUE` of `model: claude-x`, `--drop foo` of what is unknown."""
    found = _KEY.match(message)
    if found is None:
        return "--set KEY=VALUE"
    return f"--drop {found[1]}" if message[found.end() :] == _UNKNOWN_MEMBER else f"--set {found[1]}=VALUE"


def change_words(change: ParamChange) -> str:
    """What is changed: `, with another model, without temperature, with more max_tokens`."""
    told = [f"with another {key}" for key in sorted(change.set)]
    told += [f"without {key}" for key in sorted(change.drop)]
    told += ["with more max_tokens"] if change.grow else []
    return plain("".join(f", {words}" for words in told))
