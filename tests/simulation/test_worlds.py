"""Simulated worlds with fixed seeds (battery T1–T4, T6, I14). The long tier, `make proof`, runs many more."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from proof import simulated
from proof.pool import Task, workers

#: How many worlds: about one a second and core, so that all of this file takes some four minutes on two cores.
EVERYTHING, TWINS, ODD, RESTORED, CRASH_LOOPS, LATE_LISTS, TWICE, PAIRS = 60, 18, 14, 20, 20, 14, 3, 100


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """A worker for each core."""
    with workers() as started:
        yield started


def test_whatever_goes_wrong_nothing_is_lost_and_nothing_is_paid_for_twice(pool: ProcessPoolExecutor) -> None:
    """T1, promises 1 to 3: every fault at once and some 25 kills a world, judged at every commit, POST and end."""
    tally = simulated.worlds(pool, "everything", worlds=EVERYTHING)
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


def test_a_life_may_end_at_every_single_point(pool: ProcessPoolExecutor) -> None:
    """T2, exhaustive: one job of three batches, killed at every await and on both sides of every commit, one by one."""
    tally = simulated.every_point(pool)
    assert tally.violations == ()
    assert tally.trials > 500


def test_two_lives_in_a_row_may_end_anywhere(pool: ProcessPoolExecutor) -> None:
    """T2: pairs of crash points, sampled: recovery itself is killed too."""
    assert simulated.pairs_of_points(pool, pairs=PAIRS).violations == ()


def test_the_same_seed_gives_the_same_trace(pool: ProcessPoolExecutor) -> None:
    """I14: what a seed found, it finds again, in whatever process it runs."""
    assert simulated.traces_twice(pool, first=500, worlds=TWICE).violations == ()


@pytest.mark.parametrize(("profile", "seed", "why"), simulated.FOUND)
def test_a_seed_that_found_a_defect_stays_green(pool: ProcessPoolExecutor, profile: str, seed: int, why: str) -> None:
    """Seeds that once broke a promise, each with what it found."""
    outcome = pool.submit(Task(profile=profile, seed=seed).run).result()
    assert outcome.violations == (), why
