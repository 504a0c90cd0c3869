"""Simulated worlds with fixed seeds (battery T1–T4, T6, I14). The long tier, `make proof`, runs many more.

A world takes 1 to 2 s of one core, one of a fleet 2 to 4 s, a crash point 0.13 s: all of this file some 70 s of one
core. The larger tests are in parts, so that two workers end together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from proof import simulated
from proof.pool import Task, workers
from support.length import some_of
from support.postgres import PostgresServer

#: How many worlds of a kind one part has, and the first seed of each part. `make proof` runs hundreds of each.
EVERYTHING, EVERYTHINGS = 2, (6, 1)
TWINS, ODD, RESTORED, CRASH_LOOPS, LATE_LISTS, TWICE = 1, 1, 2, 1, 1, 1
PRIMED = 1
CAPPED = {"capped": 2, "fleet budgeted": 1, "capped late": 1, "fleet capped": 1, "budgeted": 1}
PILOTED = 1
IDENTICAL = 1
STRUCTURED = 1
MENDED = 1
FLEETS = {"fleet": 1, "fleet twins": 1, "fleet alone": 1}
#: Of the 2,737 callbacks of a life one in so many, beside each commit and move of the network; the proof has them all.
#: `make test` has the first slice.
ONE_IN, SLICES = 80, 6
#: The same for a life with one that goes ahead, of which one slice is taken.
PRIMED_ONE_IN, PRIMED_SLICES = 120, 20
PAIRS = 8


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """A worker for each core, or the one that falls to this process of several."""
    with workers(1 if "PYTEST_XDIST_WORKER" in os.environ else None) as started:
        yield started


@pytest.mark.parametrize("first", some_of(EVERYTHINGS, 1))
def test_whatever_goes_wrong_nothing_is_lost_and_nothing_is_paid_for_twice(
    pool: ProcessPoolExecutor, first: int
) -> None:
    """T1, promises 1 to 3: every fault at once and some 25 kills a world, judged at every commit, POST and end."""
    tally = simulated.worlds(pool, "everything", first=first, worlds=EVERYTHING)
    assert tally.violations == ()
    assert int(tally.facts["crashes"]) > 15 * EVERYTHING


def test_batches_of_equal_size_in_doubt_at_once_are_told_apart(pool: ProcessPoolExecutor) -> None:
    """T4, promise 2: three jobs with equal counts, half of the answers lost, neighbours with batches of that size."""
    assert simulated.worlds(pool, "twins", worlds=TWINS).violations == ()


def test_answers_that_are_not_as_documented_cost_nobody_an_answer(pool: ProcessPoolExecutor) -> None:
    """F3, F8, F14, M7: odd entries, refused pages, other 2xx, lines that cannot be read or used, with all else."""
    assert simulated.worlds(pool, "odd answers", worlds=ODD).violations == ()


def test_a_store_that_is_put_back_from_a_copy_again_and_again_buys_nothing_twice(pool: ProcessPoolExecutor) -> None:
    """T61, promise 2: at a third of its starts the engine finds an earlier copy of its store, under every fault."""
    assert simulated.worlds(pool, "restored", worlds=RESTORED).violations == ()


def test_a_crash_every_five_minutes_for_ever_still_converges(pool: ProcessPoolExecutor) -> None:
    """T6: lives shorter than `doubt_wait`, lost answers, nothing else: everything settles within the bound."""
    assert simulated.worlds(pool, "crash loop", worlds=CRASH_LOOPS).violations == ()


def test_where_the_list_is_too_late_every_duplicate_is_found_and_reported(pool: ProcessPoolExecutor) -> None:
    """T3: the assumption of promise 2 broken: what was bought twice is what is reported, and nothing is lost."""
    tally = simulated.worlds(pool, "late list", first=31, worlds=LATE_LISTS)  # seed 31 has one
    assert tally.violations == ()
    assert int(tally.facts["duplicates, all reported"]) > 0


@pytest.mark.parametrize("profile", some_of(CAPPED, 2))
def test_no_job_is_billed_more_than_its_cap(pool: ProcessPoolExecutor, profile: str) -> None:
    """T80: by the API's own bill at every commit, under every fault; what is bought twice is paid within the cap."""
    assert simulated.worlds(pool, profile, first=10, worlds=CAPPED[profile]).violations == ()


def test_a_pilot_goes_alone_and_ends_with_its_last_request(pool: ProcessPoolExecutor) -> None:
    """T81: in every committed snapshot, under every fault; people let the others go on."""
    assert simulated.worlds(pool, "piloted", first=10, worlds=PILOTED).violations == ()


def test_of_identical_requests_one_is_sent_and_all_are_answered(pool: ProcessPoolExecutor) -> None:
    """T83, promises 1 to 3: what is not sent has what its original has, at every commit, under every fault."""
    assert simulated.worlds(pool, "identical", worlds=IDENTICAL).violations == ()


def test_answers_that_do_not_match_are_asked_for_again_as_often_as_was_said(pool: ProcessPoolExecutor) -> None:
    """T84, promises 1 to 3 and 15: none settles as a success, each is paid for and kept, under every fault."""
    assert simulated.worlds(pool, "structured", worlds=STRUCTURED).violations == ()


def test_what_is_asked_for_again_is_sent_as_it_was_changed_and_paid_for_as_often_as_was_said(
    pool: ProcessPoolExecutor,
) -> None:
    """T85, promises 1 to 3: each change is sent once, no answer's cost vanishes, at every commit, under every fault."""
    assert simulated.worlds(pool, "mended", worlds=MENDED).violations == ()


def test_what_goes_ahead_for_the_prompt_cache_loses_nothing_and_is_paid_for_once(pool: ProcessPoolExecutor) -> None:
    """T82, promises 1 to 3: markers of people's own and added ones, the same in each request, under every fault."""
    assert simulated.worlds(pool, "primed", worlds=PRIMED).violations == ()


def test_a_life_with_one_that_goes_ahead_may_end_at_any_kind_of_point(pool: ProcessPoolExecutor) -> None:
    """T82: whatever the point, one goes ahead, and the others once its batch has ended: three batches in all."""
    tally = simulated.points_of_each_kind(
        pool, every=PRIMED_ONE_IN, slices=PRIMED_SLICES, number=1, profile="primed batches"
    )
    assert tally.violations == ()


@pytest.mark.parametrize("profile", some_of(FLEETS, 1))
def test_several_engines_on_one_store_buy_nothing_twice_whatever_their_dispatcher_does(
    pool: ProcessPoolExecutor, profile: str
) -> None:
    """T70, promises 1 to 3 and 5: units come twice, late and to the frozen; each engine believes that it holds all."""
    assert simulated.worlds(pool, profile, worlds=FLEETS[profile]).violations == ()


@pytest.mark.long
@pytest.mark.postgres
def test_several_engines_on_one_database_buy_nothing_twice(
    pool: ProcessPoolExecutor, postgres_server: PostgresServer
) -> None:
    """T70: the same with the store that fleets have."""
    assert simulated.worlds(pool, "fleet alone", worlds=1, server=postgres_server).violations == ()


@pytest.mark.parametrize("number", some_of(range(SLICES), 1))
def test_a_life_may_end_at_any_kind_of_point(pool: ProcessPoolExecutor, number: int) -> None:
    """T2: one job of three batches, killed on both sides of every commit, around each POST and at many an await."""
    tally = simulated.points_of_each_kind(pool, every=ONE_IN, slices=SLICES, number=number)
    assert tally.violations == ()
    assert int(tally.facts["crashes"]) > 10


def test_two_lives_in_a_row_may_end_anywhere(pool: ProcessPoolExecutor) -> None:
    """T2: pairs of crash points, sampled: recovery itself is killed too."""
    assert simulated.pairs_of_points(pool, pairs=PAIRS).violations == ()


@pytest.mark.long
def test_the_same_seed_gives_the_same_trace() -> None:
    """I14: what a seed found, it finds again, in whatever process it runs."""
    with workers(2) as both:
        assert simulated.traces_twice(both, first=500, worlds=TWICE).violations == ()


@pytest.mark.long
@pytest.mark.parametrize(("profile", "seed", "why"), simulated.FOUND)
def test_a_seed_that_found_a_defect_stays_green(pool: ProcessPoolExecutor, profile: str, seed: int, why: str) -> None:
    """Seeds that once broke a promise, each with what it found."""
    outcome = pool.submit(Task(profile=profile, seed=seed).run).result()
    assert outcome.violations == (), why
