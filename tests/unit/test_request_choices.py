"""Which requests a choice means: each of its parts narrows it, each word of one part widens it."""

from __future__ import annotations

import pytest

from orchestrator.domain.ids import BatchId
from orchestrator.domain.invalid_answers import cut_problem
from orchestrator.domain.queries import ALL_REQUESTS, RequestFilter
from orchestrator.domain.result_choice import ALL_OF_A_JOB, RequestChoice
from orchestrator.domain.states import RequestState

FAILED = RequestState.FAILED
INVALID = RequestFilter(state=FAILED, error_type="invalid_answer")
CUT = RequestFilter(state=FAILED, error_type="invalid_answer", error_message=cut_problem("max_tokens"))


def filters(within: RequestFilter = ALL_REQUESTS, **words: set[str]) -> set[RequestFilter]:
    """The filters of a choice."""
    states = frozenset(map(RequestState, words.get("states", ())))
    stops, only = frozenset(words.get("stops", ())), frozenset(words.get("only", ()))
    return set(RequestChoice(states=states, stops=stops, only=only, within=within).filters())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"states": {"failed", "canceled"}}, {RequestFilter(state=FAILED), RequestFilter(state=RequestState.CANCELED)}),
        ({"stops": {"refusal"}}, {RequestFilter(stop_reason="refusal")}),
        ({"stops": {"max_tokens"}}, {RequestFilter(stop_reason="max_tokens"), CUT}),
        ({"only": {"max_tokens"}}, {
            RequestFilter(stop_reason="max_tokens"), RequestFilter(error_type="max_tokens"), CUT,
        }),
        ({"only": {"invalid"}}, {INVALID}),
        ({"only": {"failed", "invalid"}}, {RequestFilter(state=FAILED), INVALID}),
        ({"only": {"api_error"}, "states": {"queued"}}, {
            RequestFilter(state=RequestState.QUEUED, error_type="api_error"),
            RequestFilter(state=RequestState.QUEUED, stop_reason="api_error"),
        }),
        ({"only": {"failed"}, "states": {"succeeded"}}, set()),
        ({"stops": {"max_tokens"}, "states": {"failed"}}, {RequestFilter(state=FAILED, stop_reason="max_tokens"), CUT}),
    ],
)  # fmt: skip
def test_words_of_a_part_are_joined_by_or_and_parts_by_and(
    words: dict[str, set[str]], expected: set[RequestFilter]
) -> None:
    """Answers that were cut are found by their stop reason, also where they are invalid for it."""
    assert filters(ALL_REQUESTS, **words) == expected


def test_what_else_was_asked_for_holds_of_each() -> None:
    """The batch and the error that a page names."""
    within = RequestFilter(batch=BatchId(7), error_type="expired")
    assert ALL_OF_A_JOB.filters() == [ALL_REQUESTS]
    assert filters(within, states={"failed", "queued"}) == {
        RequestFilter(batch=BatchId(7), error_type="expired", state=state) for state in (FAILED, RequestState.QUEUED)
    }
    assert filters(within, only={"invalid"}) == set()
