"""What a person changes of requests that are tried again, and the params that come of it.

What was handed in stays stored. A change of the store has only members that are set or dropped, so what is sent follows
from it and the stored params alone, whenever it is read: `grow` is worked out for each request when it is queued again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import plain
from orchestrator.domain.json_text import UNREADABLE
from orchestrator.domain.model_generation import most_output
from orchestrator.domain.param_problem import ParamProblem

__all__ = ["MAX_TOKENS", "NO_CHANGE", "ParamChange", "applied", "change_of", "composed", "grown", "parse_setting"]

MAX_TOKENS: Final = "max_tokens"
_PLACE: Final = f"params.{MAX_TOKENS}"
_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})
_Count = Annotated[int, msgspec.Meta(ge=1)]
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamChange:
    """Members of params that get another value (JSON, by key), or none. grow: twice the `max_tokens`."""

    set: Mapping[str, bytes] = field(default_factory=lambda: _NOTHING)
    drop: frozenset[str] = frozenset()
    grow: bool = False

    @property
    def is_empty(self) -> bool:
        """True if it leaves all params as they are."""
        return not (self.set or self.drop or self.grow)

    @property
    def keys(self) -> frozenset[str]:
        """The members that it names."""
        return self.drop | self.set.keys()

    @property
    def spec(self) -> bytes:
        """As it is stored; the same change is always the same bytes. Not of one that grows."""
        members = {key: msgspec.Raw(value) for key, value in sorted(self.set.items())}
        return _encode({"set": members, "drop": sorted(self.drop)})

    def refuse_contradictions(self) -> None:
        """Raise UsageError if a member is told two things."""
        for key in sorted(self.drop & self.set.keys()):
            raise UsageError(f"{plain(key)} is to be set, and dropped", hint="say one of them")
        if self.grow and MAX_TOKENS in self.keys:
            raise UsageError(f"{MAX_TOKENS} is to grow, and to be another", hint="say one of them")
        if "" in self.keys:
            raise UsageError("a member of params has no name", hint='name it, such as "model"')


NO_CHANGE: Final = ParamChange()


class _Spec(msgspec.Struct):
    set: dict[str, msgspec.Raw]
    drop: list[str]


_spec: Final = msgspec.json.Decoder(_Spec)


def change_of(spec: bytes) -> ParamChange:
    """The change that was stored as *spec*."""
    found = _spec.decode(spec)
    return ParamChange(set={key: bytes(value) for key, value in found.set.items()}, drop=frozenset(found.drop))


def parse_setting(text: str) -> tuple[str, bytes]:
    """`max_tokens=2048`, `system=Be brief.`: a key and its value, JSON or a text. Raises ValueError with the cause."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ValueError("write KEY=VALUE, such as max_tokens=4096")
    try:
        content = value.strip().encode()
        return key, content if _is_json(content) else _encode(value)
    except UnicodeEncodeError as exc:
        raise ValueError("it is not valid UTF-8") from exc


def _is_json(content: bytes) -> bool:
    try:
        msgspec.json.decode(content)
    except UNREADABLE:
        return False
    return True


def composed(before: ParamChange, then: ParamChange) -> ParamChange:
    """One change that does what *before* does, and after it *then*; neither grows."""
    kept = {key: value for key, value in before.set.items() if key not in then.drop}
    return ParamChange(set={**kept, **then.set}, drop=(before.drop - then.set.keys()) | then.drop)


def applied(params: bytes, change: ParamChange) -> bytes:
    """*params*, a JSON object, changed: what is not touched keeps its bytes. Raises as `UNREADABLE` says."""
    members = _members.decode(params)
    for key in change.drop:
        members.pop(key, None)
    members.update({key: msgspec.Raw(value) for key, value in change.set.items()})
    return _encode(members)


def grown(params: bytes, betas: Collection[str]) -> ParamChange | ParamProblem:
    """What doubles the `max_tokens` of *params*, up to what their model is known to give; or why nothing does."""
    try:
        members = _members.decode(params)
        now = msgspec.json.decode(members[MAX_TOKENS], type=_Count)
        model = msgspec.json.decode(members["model"], type=str)
    except (*UNREADABLE, KeyError):
        return ParamProblem(_PLACE, "is no number that could grow", f"set {MAX_TOKENS} to one, such as 4096")
    most = most_output(model, betas)
    wanted = 2 * now if most is None else min(2 * now, most)
    if most is not None and now > most:
        words = f"is {now:,}, above what {plain(model)} gives ({most:,})"
        return ParamProblem(_PLACE, words, f"set it to {most} or lower, or ask another model")
    if wanted <= now:
        words = f"is {now:,} already, as much as {plain(model)} gives"
        return ParamProblem(_PLACE, words, "ask another model, or for less")
    return ParamChange(set={MAX_TOKENS: b"%d" % wanted})
