"""Runs tests on SQLite and on PostgreSQL; one that is about files, PRAGMA or plans is marked `sqlite`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

#: Fixtures of tests that go through the kinds by themselves.
_CHOOSE: Final = frozenset({"kind", "open_raw"})
#: Of the tests of a file PostgreSQL takes one in so many in `make test`; all of them in the long tier.
_ONE_IN: Final = 8
#: A hundred stores or batches each, or many sets of parameters: on PostgreSQL in the long tier alone.
_LONG: Final = frozenset(
    {
        "test_a_job_and_its_batches_are_one_trace_across_processes",
        "test_a_life_may_end_at_any_step",
        "test_a_life_that_resolves_a_doubt_may_end_at_any_step",
        "test_a_person_is_not_asked_about_what_is_proven_meanwhile",
        "test_a_trouble_that_comes_back_at_once_is_not_tried_every_few_seconds",
        "test_the_limits_in_flight_hold_at_every_moment_and_are_used_up",
        "test_a_line_that_cannot_be_read_is_told_at_once_and_kept_as_it_came",
        "test_a_sender_that_wakes_too_late_ends_its_post_before_the_last_bytes",
        "test_forty_batches_in_flight_cost_one_list_per_interval",
        "test_the_batches_that_are_told_are_those_that_are_made",
        "test_what_was_settled_is_said_for_five_minutes_and_not_longer",
        "test_whatever_happens_everything_is_answered_and_paid_once",
    }
)


def on_either(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of database that the stores of this test lie in."""
    kind: str = getattr(request, "param", "sqlite")
    if kind == "postgres":
        request.getfixturevalue("on_postgres")
    yield kind


#: To be a fixture of a folder's tests.
ON_EITHER = pytest.fixture(autouse=True)(on_either)


def parametrize_kinds(metafunc: pytest.Metafunc) -> None:
    """Run the test on each kind, unless it is marked as one of SQLite or PostgreSQL alone.

    Most tests on PostgreSQL are of the long tier: there each step is a round trip, and a test takes twice as long.
    """
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    if marks & {"sqlite", "postgres", "process"} or _CHOOSE & set(metafunc.fixturenames):
        return
    on_server = [pytest.mark.postgres, *([] if _is_in_part(metafunc) else [pytest.mark.long])]
    metafunc.parametrize("dialect", ["sqlite", pytest.param("postgres", marks=on_server)], indirect=True)


def _is_in_part(metafunc: pytest.Metafunc) -> bool:
    name = metafunc.function.__name__
    tests = [each for each in vars(metafunc.module) if each.startswith("test_")]
    return name not in _LONG and tests.index(name) % _ONE_IN == 0
