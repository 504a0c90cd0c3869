"""The form of a retry: which requests, and with which other params; what was typed stays if it is refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.domain import errors, humanize, model
from orchestrator.domain.param_change import ParamChange, parse_setting
from orchestrator.domain.queries import ErrorGroup
from orchestrator.domain.result_outcome import RETRIED_STOPS, fails_again
from orchestrator.views.retry_views import can_be_named, change_words

if TYPE_CHECKING:
    from starlette.datastructures import ImmutableMultiDict

    from orchestrator.http_api.services import Services
    from orchestrator.ports.reads import Reads

    Fields = ImmutableMultiDict[str, str]

#: Causes that are read, and those that are offered one by one, the largest.
_MOST_READ: Final = 200
_MOST_CAUSES: Final = 20
#: Of requests that are what the API refuses: to send them again as they are is in vain.
_LASTING: Final = ", which fails again without other params"
_BETWEEN_KEYS: Final = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class Choice:
    """Requests of a job that may be tried again: what names them, what they are, how many.

    is_part: they are some of those of a choice above.
    """

    field: str
    value: str
    words: str
    count: int
    is_part: bool = False


def choices_of(job: model.JobSnapshot, reads: Reads, fields: Fields) -> list[Choice]:
    """What there is to choose from: types, causes, and how answers ended."""
    found = list(_failures(reads.errors(job.id, groups=_MOST_READ, examples=0), set(fields.getlist("cause"))))
    if job.requests.canceled:
        found.append(Choice("only", "canceled", "canceled", job.requests.canceled))
    stops = reads.status(job).stop_reasons
    answered = [stop for stop in sorted(RETRIED_STOPS) if stops.get(stop)]
    return found + [Choice("only", stop, f"answered, and ended by {stop}", stops[stop]) for stop in answered]


def _failures(groups: list[ErrorGroup], asked: set[str]) -> Iterator[Choice]:
    """Each type, and below it its causes if it has several."""
    counts, kinds = Counter[str](), Counter(group.error_type for group in groups)
    for group in groups:
        counts[group.error_type] += group.count
    told = [group for group in groups if can_be_named(group.cause)]
    offered = [group for n, group in enumerate(told) if n < _MOST_CAUSES or group.cause in asked]
    for kind, count in sorted(counts.items()):
        lasting = _LASTING if fails_again(kind) else ""
        yield Choice("only", kind, f"failed: {humanize.plain(kind)}{lasting}", count)
        for group in offered:
            if group.error_type == kind and (kinds[kind] > 1 or group.cause in asked):
                yield Choice("cause", group.cause, humanize.plain(group.cause), group.count, is_part=True)


def given_in(fields: Fields, *, is_sent: bool) -> dict[str, object]:
    """What the form shows as chosen and typed. is_sent: it comes back as it was; else a link opened it."""
    only = fields.getlist("only")
    return {
        "only": only,
        "cause": fields.getlist("cause"),
        "grow": "grow" in fields if is_sent else "max_tokens" in only,
        "set": fields.get("set", ""),
        "drop": fields.get("drop", ""),
    }


def change_in(fields: Fields) -> ParamChange:
    """The change that the form says. Raises UsageError."""
    settings = (line for line in fields.get("set", "").splitlines() if line.strip())
    keys = (key for key in _BETWEEN_KEYS.split(fields.get("drop", "")) if key)
    change = ParamChange(set=dict(map(_setting, settings)), drop=frozenset(keys), grow="grow" in fields)
    change.refuse_contradictions()
    return change


def _setting(line: str) -> tuple[str, bytes]:
    try:
        return parse_setting(line.strip())
    except ValueError as exc:
        words = f"“{humanize.plain(line)}” gives no member of params a value"
        raise errors.UsageError(words, cause=str(exc), hint="one a line") from exc


async def send_again(services: Services, jobs: list[model.JobSnapshot], fields: Fields) -> str:
    """Queue what the form chooses of *jobs* again; what was done, in words."""
    only, causes, change = fields.getlist("only"), fields.getlist("cause"), change_in(fields)
    queued, refused = 0, 0
    for job in jobs:
        try:
            queued += await services.commands.retry(job.id, only, change, causes)
        except (errors.GuardRefused, errors.NoSuchThing):
            if len(jobs) == 1:
                raise
            refused += 1
    rest = f"; {humanize.count(refused, 'job')} in no state for it" if refused else ""
    return f"{humanize.count(queued, 'request')} queued again{change_words(change) if queued else ''}{rest}"
