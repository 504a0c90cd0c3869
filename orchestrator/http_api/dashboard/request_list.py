"""The requests of a job on its page: what the address asks for, a page of them with what they say, and the ways on.

The request's own page reads the same address, so that its neighbours are those of the list that one came from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlencode

from orchestrator.domain import ids, model, queries, states
from orchestrator.http_api.dashboard import components, money_parts, page
from orchestrator.views.request_preview import SaidTexts, texts_of

if TYPE_CHECKING:
    from orchestrator.ports.reads import Reads

_PAGE: Final = 50
#: A body of more bytes has no preview, and is not searched: a page reads fifty of them, at most.
_MOST_BYTES: Final = 1 << 20
_STATES: Final = frozenset(state.value for state in states.RequestState)
#: What the address says of the list.
_KEYS: Final = ("state", "stop", "error", "cause", "batch", "id", "order", "text", "from")
_LAST: Final = "last"
#: What does not go into the name of a file, and so much of a word does.
_NO_NAME: Final = re.compile(r"[^\w-]+")
_LONGEST_WORD: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRequests:
    """The requests that an address asks for. start: the number that the page begins with; text: is on it."""

    where: queries.RequestFilter
    start: int | None
    is_backwards: bool
    text: str
    query: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, request: page.PageRequest) -> Self:
        """What the address of *request* says. Raises UsageError."""
        state, batch = request.one_of("state", _STATES), request.number("batch")
        where = queries.RequestFilter(
            state=None if state is None else states.RequestState(state),
            batch=None if batch is None else ids.BatchId(batch),
            error_type=request.query.get("error") or None,
            cause=request.query.get("cause"),
            stop_reason=request.query.get("stop") or None,
            id_prefix=request.query.get("id") or None,
        )
        return cls(
            where=where,
            start=request.number("from") or None,
            is_backwards=request.one_of("order", frozenset({_LAST})) is not None,
            text=request.query.get("text", "").strip(),
            query=tuple((key, request.query[key]) for key in _KEYS if request.query.get(key)),
        )

    def from_number(self, job: ids.JobId, start: int | None, limit: int, reads: Reads) -> list[queries.RequestRow]:
        """So many of them from the number *start* on, in their order; None: from the first."""
        if self.is_backwards:
            below = None if start is None else start + 1
            return reads.requests_before(job, below=below, limit=limit, where=self.where)
        return reads.requests(job, above=max((start or 1) - 1, 0), limit=limit, where=self.where)

    def before(self, job: ids.JobId, number: int, limit: int, reads: Reads) -> list[queries.RequestRow]:
        """So many of them before *number* in their order, the nearest first."""
        if self.is_backwards:
            return reads.requests(job, above=number, limit=limit, where=self.where)
        return reads.requests_before(job, below=number, limit=limit, where=self.where)

    def address(self, **changes: object) -> str:
        """The query of the list with *changes*; None removes a key."""
        kept = [(key, value) for key, value in self.query if key not in changes]
        return urlencode([*kept, *((key, value) for key, value in changes.items() if value is not None)])

    def words(self) -> list[str]:
        """What the filter says, beyond the states and stop reasons that are chosen above the list."""
        where = self.where
        return [
            *([] if where.batch is None else [f"batch {where.batch}"]),
            *([] if where.error_type is None else [where.error_type]),
            *([] if where.cause is None else [where.cause]),
            *([] if where.id_prefix is None else [f"custom_id begins with {where.id_prefix}"]),
        ]

    def filter_words(self) -> list[str]:
        """What the whole filter says."""
        chosen = [self.where.state, self.where.stop_reason]
        return [*(str(each) for each in chosen if each is not None), *self.words()]

    def file_stem(self, job: str) -> str:
        """How the files of these requests of *job* begin: what a filter has does not replace a file of all."""
        words = (
            _NO_NAME.sub("-", word.removeprefix("custom_id begins with ")).strip("-") for word in self.filter_words()
        )
        return ".".join([job, *(word[:_LONGEST_WORD] for word in words if word)])


def neighbours(asked: AskedRequests, job: ids.JobId, number: int, reads: Reads) -> tuple[int | None, int | None]:
    """The requests before and after *number* in the list that is asked for."""
    before = asked.before(job, number, 1, reads)
    after = asked.from_number(job, number - 1 if asked.is_backwards else number + 1, 1, reads) if number else []
    return (before[0].number if before else None), (after[0].number if after else None)


def way_back(asked: AskedRequests, job: ids.JobId, number: int, reads: Reads) -> str:
    """The query of the page that has *number*: the one that is asked for, or one that begins with it."""
    shown = asked.from_number(job, asked.start, _PAGE, reads)
    return asked.address() if number in {row.number for row in shown} else asked.address(**{"from": number})


def load_tab(request: page.PageRequest, status: model.JobStatus, reads: Reads) -> dict[str, object]:
    """The variables of the tab: a page of requests, each with its previews, and the links around it."""
    job, asked = status.job, AskedRequests.of(request)
    found = asked.from_number(job.id, asked.start, _PAGE + 1, reads)
    earlier = asked.before(job.id, found[0].number, _PAGE, reads) if asked.start is not None and found else []
    counts = {each.value: getattr(job.requests, each) for each in states.RequestState}
    return {
        **_shown(job, found[:_PAGE], asked.text, reads),
        "asked": asked,
        "kept": asked.address(),
        "chips": components.state_chips(request, states.RequestState, counts, on=asked.where.state),
        "answer_chips": components.answer_chips(request, status, asked.where),
        "words": asked.words(),
        "unfiltered": f"{request.path}?tab=requests",
        "first": None if asked.start is None else request.link(**{"from": None}),
        "back": request.link(**{"from": earlier[-1].number}) if earlier else None,
        "more": request.link(**{"from": found[_PAGE].number}) if len(found) > _PAGE else None,
        "download": _download(asked.where),
        "saved_as": asked.file_stem(job.public_id),
    }


def _shown(job: model.JobSnapshot, rows: list[queries.RequestRow], text: str, reads: Reads) -> dict[str, object]:
    said = [texts_of(bodies) for bodies in reads.bodies_of(job.id, rows, most=_MOST_BYTES)]
    both = zip(reads.with_counts(job.id, rows), said, strict=True)
    return {
        "requests": [_row(job, row, texts, text) for row, texts in both if texts.holds(text, row.custom_id)],
        "looked_at": len(rows),
        "unread": sum(texts.turns is None for texts in said) if text and job.purged_at is None else 0,
    }


def _row(job: model.JobSnapshot, row: queries.RequestRow, texts: SaidTexts, text: str) -> dict[str, object]:
    is_priced = row.state in states.SETTLED_REQUESTS and job.purged_at is None
    return {
        "row": row,
        "prompt": texts.prompt_preview(text),
        "answer": texts.answer_preview(text),
        "cost": money_parts.request_money(row.cost_nanos) if is_priced else None,
        "is_long": texts.turns is None and job.purged_at is None,
    }


def _download(where: queries.RequestFilter) -> str:
    """The query by which the API gives exactly what the filter has, as requests and as results."""
    is_stopped = where.state is None and where.stop_reason is not None  # the API has invalid answers that were cut, too
    told = {
        "state": states.RequestState.SUCCEEDED if is_stopped else where.state,
        "stop_reason": where.stop_reason,
        "batch": where.batch,
        "error_type": where.error_type,
        "error_cause": where.cause,
        "custom_id_prefix": where.id_prefix,
    }
    return urlencode({key: value for key, value in told.items() if value is not None})
