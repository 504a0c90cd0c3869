"""What a result line means for its request."""

from __future__ import annotations

import pytest

from orchestrator.domain.result_lines import decode_split
from orchestrator.domain.result_outcome import Outcome, Settlement, Tries, TryLimits, judge, settlement_of

SLOW = "The request timed out while trying to download the file. Please try again later."
CREDIT = "Your credit balance is too low to access the Anthropic API."


@pytest.mark.parametrize(
    ("kind", "error_type", "message", "outcome"),
    [
        ("succeeded", None, None, Outcome.SUCCEEDED),
        ("canceled", None, None, Outcome.CANCELED),
        ("expired", None, None, Outcome.AGAIN),
        ("errored", "api_error", "Internal server error", Outcome.AGAIN),
        ("errored", "overloaded_error", "Overloaded", Outcome.AGAIN),
        ("errored", "timeout_error", "Request timed out", Outcome.AGAIN),
        ("errored", "rate_limit_error", "slow down", Outcome.AGAIN),
        ("errored", "invalid_request_error", SLOW, Outcome.AGAIN),
        ("errored", "invalid_request_error", "messages: Field required", Outcome.FAILED),
        ("errored", "invalid_request_error", None, Outcome.FAILED),
        ("errored", "not_found_error", "model: claude-nobody", Outcome.FAILED),
        ("errored", "permission_error", "no", Outcome.FAILED),
        ("errored", "request_too_large", "too large", Outcome.FAILED),
        ("errored", "invalid_request_error", CREDIT, Outcome.CREDIT),
        ("errored", "billing_error", "There is a problem with your billing information.", Outcome.CREDIT),
        ("errored", "novel_error", "An error of a type not known yet", Outcome.AGAIN),
        ("errored", None, None, Outcome.AGAIN),
        ("postponed", None, None, Outcome.FAILED),
        ("Succeeded", None, None, Outcome.FAILED),
        ("", None, None, Outcome.FAILED),
        ("sideways", "api_error", "Overloaded", Outcome.FAILED),
    ],
)
def test_what_a_line_means(kind: str, error_type: str | None, message: str | None, outcome: Outcome) -> None:
    """M7: the server's faults and unknown errors are tried again, the request's own are final, credit is free.

    A kind of result that nobody knows may have been billed: it is never sent again.
    """
    assert judge(kind, error_type, message) is outcome


def test_the_type_is_read_from_inside_the_error_object() -> None:
    """The path is `result.error.error.type`; the outer `type` says only "error"."""
    line = (
        b'{"custom_id":"a","result":{"type":"errored","error":{"type":"error","error":{"type":"overloaded_error",'
        b'"message":"Overloaded"},"request_id":"workerreq_1"}}}'
    )
    (read,) = decode_split((line).split(b"\n"))
    assert (read.kind, read.error_type, read.api_request_id) == ("errored", "overloaded_error", "workerreq_1")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("outcome", "attempts", "is_canceling", "is_asked", "expected"),
    [
        (Outcome.AGAIN, 0, False, False, Settlement.AGAIN),
        (Outcome.AGAIN, 1, False, False, Settlement.AGAIN),
        (Outcome.AGAIN, 2, False, False, Settlement.FAILED),
        (Outcome.AGAIN, 0, True, True, Settlement.CANCELED_WITH_JOB),
        (Outcome.CREDIT, 9, False, False, Settlement.CREDIT),
        (Outcome.CANCELED, 9, False, False, Settlement.REQUEUE_CANCELED_ELSEWHERE),
        (Outcome.CANCELED, 9, False, True, Settlement.REQUEUE_CANCELED_BY_US),
        (Outcome.CANCELED, 0, True, True, Settlement.CANCELED_WITH_JOB),
    ],
)
def test_a_request_is_queued_again_only_where_it_was_not_its_fault(
    outcome: Outcome, attempts: int, is_canceling: bool, is_asked: bool, expected: Settlement
) -> None:
    """Promise 5: attempts are burnt by the server's errors alone, and end at the limit."""
    limits = TryLimits(attempts=3)
    assert settlement_of(outcome, Tries(attempts), limits, is_canceling=is_canceling, is_asked=is_asked) is expected


@pytest.mark.parametrize(
    ("outcome", "tries", "is_canceling", "expected"),
    [
        (Outcome.INVALID, Tries(0, 0), False, Settlement.INVALID_AGAIN),
        (Outcome.INVALID, Tries(1, 1), False, Settlement.INVALID),
        (Outcome.INVALID, Tries(2, 0), False, Settlement.INVALID_AGAIN),  # what the server spoilt is not its answer
        (Outcome.INVALID, Tries(0, 0), True, Settlement.INVALID),  # paid for: its text is kept
        (Outcome.AGAIN, Tries(2, 1), False, Settlement.AGAIN),
        (Outcome.AGAIN, Tries(3, 1), False, Settlement.FAILED),
    ],
)
def test_invalid_answers_have_a_limit_of_their_own(
    outcome: Outcome, tries: Tries, is_canceling: bool, expected: Settlement
) -> None:
    """Each of them is paid for, so a person says how often they are asked for again; a canceled job asks for none."""
    limits = TryLimits(attempts=3, invalid=1)
    assert settlement_of(outcome, tries, limits, is_canceling=is_canceling, is_asked=False) is expected
    none = settlement_of(Outcome.INVALID, Tries(0), TryLimits(attempts=3), is_canceling=False, is_asked=False)
    assert none is Settlement.INVALID


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.REPLACED])
def test_what_is_settled_is_not_settled_again(outcome: Outcome) -> None:
    """It would be a bug of whoever asks."""
    with pytest.raises(ValueError, match="settled already"):
        settlement_of(outcome, Tries(0), TryLimits(attempts=3), is_canceling=False, is_asked=False)
