"""The three state machines: closed sets, one table each."""

from __future__ import annotations

import pytest

from orchestrator.domain.states import (
    BATCH_STEPS,
    IN_FLIGHT,
    JOB_STEPS,
    OVER,
    REQUEST_STEPS,
    BatchState,
    JobState,
    RequestState,
)


def reachable(table: dict[str, frozenset[str]], start: str) -> set[str]:
    """Every state that a row can come to."""
    seen, todo = {start}, [start]
    while todo:
        for state in table[todo.pop()] - seen:
            seen.add(state)
            todo.append(state)
    return seen


@pytest.mark.parametrize(
    ("table", "states", "start"),
    [
        (JOB_STEPS, JobState, JobState.IMPORTING),
        (BATCH_STEPS, BatchState, BatchState.PLANNED),
        (REQUEST_STEPS, RequestState, RequestState.QUEUED),
    ],
)
def test_every_state_is_in_its_table_and_can_be_reached(table: object, states: object, start: str) -> None:
    """A member without an edge, or an edge to nowhere, is a mistake."""
    assert set(table) == set(states)  # type: ignore[call-overload]
    assert reachable(dict(table), start) == set(states)  # type: ignore[call-overload]


def test_what_is_settled_void_or_abandoned_stays_so() -> None:
    """Promise 1: terminal is terminal."""
    for state in (BatchState.SETTLED, BatchState.VOID, BatchState.ABANDONED):
        assert BATCH_STEPS[state] == frozenset()
    for request in (RequestState.SUCCEEDED, RequestState.FAILED, RequestState.CANCELED):
        assert REQUEST_STEPS[request] == {RequestState.QUEUED}, "only by a person's retry"


def test_nothing_comes_to_the_api_but_through_an_intent() -> None:
    """Promise 2: no edge leads past `submitting`."""
    before = {state for state, steps in BATCH_STEPS.items() if BatchState.IN_PROGRESS in steps}
    assert before == {BatchState.SUBMITTING, BatchState.IN_DOUBT}
    assert {state for state, steps in BATCH_STEPS.items() if BatchState.IN_DOUBT in steps} == {BatchState.SUBMITTING}
    assert BatchState.PLANNED not in BATCH_STEPS[BatchState.IN_DOUBT]


def test_a_batch_in_doubt_counts_against_the_queue() -> None:
    """Promise 5: it may exist."""
    assert {BatchState.SUBMITTING, BatchState.IN_DOUBT} < IN_FLIGHT
    assert BatchState.PLANNED not in IN_FLIGHT


def test_a_job_that_is_over_only_goes_on_by_a_retry() -> None:
    """`finished` and `canceled` lead back to `running`, nowhere else."""
    for state in OVER:
        assert JOB_STEPS[state] == {JobState.RUNNING}
