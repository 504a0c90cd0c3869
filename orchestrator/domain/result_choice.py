"""Which results or requests are wanted, by a word: how the request ended, how its answer did, or its error's type."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product
from typing import TYPE_CHECKING, Final

from orchestrator.domain.answers import Answer, answer_of
from orchestrator.domain.invalid_answers import cut_problem
from orchestrator.domain.queries import ALL_REQUESTS, RequestFilter
from orchestrator.domain.result_outcome import CUT_STOPS, INVALID_ANSWER, KNOWN_STOPS, stop_name
from orchestrator.domain.states import RequestState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.domain.queries import ResultRow

#: The status of one that failed since its answer, which it has, is not as its schema says; of others it is their state.
INVALID: Final = "invalid"
#: Words that are offered while one is typed.
OFFERED: Final = ("succeeded", "failed", "canceled", "expired", INVALID, *KNOWN_STOPS[:-1])
#: What one option, or parameter, that says such a word is told.
HELP: Final = "succeeded, failed, canceled, expired, invalid, a stop reason such as refusal, or an error type."


def status_of(result: ResultRow, answer: Answer) -> str:
    """What became of the request of *result*, in a word."""
    is_invalid = result.state is RequestState.FAILED and answer.error_type == INVALID_ANSWER
    return INVALID if is_invalid else result.state.value


@dataclass(frozen=True, slots=True)
class ResultChoice:
    """Results of which one of *words* is true; all of them where there is none."""

    words: frozenset[str] = frozenset()

    def of(self, page: Iterable[ResultRow]) -> list[ResultRow]:
        """Those of *page* that are wanted."""
        if not self.words:
            return list(page)
        return [row for row in page if not self.words.isdisjoint(_words_of(row))]


ALL_RESULTS: Final = ResultChoice()


def _words_of(row: ResultRow) -> tuple[str | None, ...]:
    answer = answer_of(row)
    return row.state.value, status_of(row, answer), answer.kind, answer.error_type, stop_name(answer.stop_reason)


_FIELDS: Final = tuple(field.name for field in fields(RequestFilter))
_INVALID: Final = RequestFilter(state=RequestState.FAILED, error_type=INVALID_ANSWER)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestChoice:
    """Requests of a job: in one of *states*, with an answer that ended by one of *stops*, and so on; empty is any.

    only: one of these words is true of it, as of a `ResultChoice`. within: what it matches besides.
    """

    states: frozenset[RequestState] = frozenset()
    stops: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    within: RequestFilter = ALL_REQUESTS

    def filters(self) -> list[RequestFilter]:
        """Filters of which a request that is wanted matches one, or several."""
        ways = (
            [self.within],
            [RequestFilter(state=state) for state in self.states] or [ALL_REQUESTS],
            [found for stop in self.stops for found in _ended_by(stop)] or [ALL_REQUESTS],
            [found for word in self.only for found in _told_by(word)] or [ALL_REQUESTS],
        )
        joined = (_joined(*each) for each in product(*ways))
        return list(dict.fromkeys(found for found in joined if found is not None))


ALL_OF_A_JOB: Final = RequestChoice()


def _ended_by(stop: str) -> Iterator[RequestFilter]:
    """Successes; and answers that were cut, and are invalid for it."""
    yield RequestFilter(stop_reason=stop)
    if stop in CUT_STOPS:
        yield RequestFilter(state=RequestState.FAILED, error_type=INVALID_ANSWER, error_message=cut_problem(stop))


def _told_by(word: str) -> Iterator[RequestFilter]:
    if word in set(RequestState):
        yield RequestFilter(state=RequestState(word))
    elif word == INVALID:
        yield _INVALID
    else:
        yield RequestFilter(error_type=word)
        yield from _ended_by(word)


def _joined(*filters: RequestFilter) -> RequestFilter | None:
    """What all of *filters* match; None: nothing does."""
    values = {name: {getattr(each, name) for each in filters} - {None} for name in _FIELDS}
    if any(len(found) > 1 for found in values.values()):
        return None
    return RequestFilter(**{name: found.pop() if found else None for name, found in values.items()})
