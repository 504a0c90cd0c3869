"""Simulated worlds with fixed seeds (battery T1–T4, T6, I14). The long tier, `make proof`, runs many more.

A world takes 0.9 to 2 s of one core, a crash point 0.16 s: all of this file some two minutes of one core. The tests of
a kind are in parts, so that two workers end together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from proof import simulated
from proof.pool import Task, workers

#: How many worlds of a kind one part has, and the first seed of each part. `make proof` runs hundreds of each.
EVERYTHING, EVERYTHINGS = 5, (1, 6, 11)
TWINS, ODD, RESTORED, CRASH_LOOPS, LATE_LISTS, TWICE = 6, 5, 8, 8, 4, 2
#: Of the 2,115 callbacks of a life one in so many, beside each commit and move of the network; the proof has them all.
ONE_IN, SLICES = 15, 4
PAIRS = 40


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """A worker for each core, or the one that falls to this process of several."""
    with workers(1 if "PYTEST_XDIST_WORKER" in os.environ else None) as started:
        yield started


@pytest.mark.parametrize("first", EVERYTHINGS)
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
    tally = simulated.worlds(pool, "late list", worlds=LATE_LISTS)
    assert tally.violations == ()
    assert int(tally.facts["duplicates, all reported"]) > 0


@pytest.mark.parametrize("number", range(SLICES))
def test_a_life_may_end_at_any_kind_of_point(pool: ProcessPoolExecutor, number: int) -> None:
    """T2: one job of three batches, killed on both sides of every commit, around each POST and at many an await."""
    tally = simulated.points_of_each_kind(pool, every=ONE_IN, slices=SLICES, number=number)
    assert tally.violations == ()
    assert int(tally.facts["crashes"]) > 50


def test_two_lives_in_a_row_may_end_anywhere(pool: ProcessPoolExecutor) -> None:
    """T2: pairs of crash points, sampled: recovery itself is killed too."""
    assert simulated.pairs_of_points(pool, pairs=PAIRS).violations == ()


def test_the_same_seed_gives_the_same_trace() -> None:
    """I14: what a seed found, it finds again, in whatever process it runs."""
    with workers(2) as both:
        assert simulated.traces_twice(both, first=500, worlds=TWICE).violations == ()


@pytest.mark.parametrize(("profile", "seed", "why"), simulated.FOUND)
def test_a_seed_that_found_a_defect_stays_green(pool: ProcessPoolExecutor, profile: str, seed: int, why: str) -> None:
    """Seeds that once broke a promise, each with what it found."""
    outcome = pool.submit(Task(profile=profile, seed=seed).run).result()
    assert outcome.violations == (), why
