"""What a retry is told over HTTP, and which retries can mend a job, as every face says it."""

from __future__ import annotations

import re
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
_KEY: Final = re.compile(r"([a-z][a-z_]{0,63}): ")


class RetryBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `POST /jobs/{ref}/retry`. only: one, or several."""

    only: str | list[str] | None = None
    set: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    drop: list[str] = msgspec.field(default_factory=list)
    grow: bool = False

    @classmethod
    def of(cls, only: Collection[str], change: ParamChange) -> Self:
        """The body that says *only* and *change*."""
        some = sorted(only)
        return cls(
            only=None if not some else some[0] if len(some) == 1 else some,
            set={key: msgspec.Raw(value) for key, value in sorted(change.set.items())},
            drop=sorted(change.drop),
            grow=change.grow,
        )

    @property
    def types(self) -> tuple[str, ...]:
        """What `only` names."""
        return () if self.only is None else (self.only,) if isinstance(self.only, str) else tuple(self.only)

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
    types = dict.fromkeys(group.error_type for group in groups)
    lasting = [kind for kind in types if fails_again(kind)]
    passing = [kind for kind in types if not fails_again(kind)]
    hints: list[tuple[str, str]] = []
    if (lasting or has_cut) and (passing or has_canceled):
        some = "".join(f" --only {plain(kind)}" for kind in [*passing, *["canceled"] * has_canceled])
        hints.append(("to try again what may succeed", f"retry {job}{some}"))
    elif passing or has_canceled:
        hints.append(("to try them again", f"retry {job}"))
    for kind in lasting:
        told = _key_in([group.error_message for group in groups if group.error_type == kind])
        hints.append((f"{plain(kind)} fails again as it is", f"retry {job} --only {plain(kind)} --set {told}=VALUE"))
    return hints


def _key_in(messages: Sequence[str]) -> str:
    """The member of params that all of *messages* begin with, as in `model: claude-x`; else KEY."""
    keys = {found[1] if (found := _KEY.match(message)) else "KEY" for message in messages}
    return keys.pop() if len(keys) == 1 else "KEY"
