"""The ten cases of the submission protocol that have names, and the tests at engine level that show each of them.

All run the real engine, store and provider against the sandbox. That they are strong enough is shown by `planted.py`:
of each case one test at least is what catches a planted bug.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

from proof.tally import Tally

ROOT: Final = Path(__file__).resolve().parents[2]
_ADOPTED: Final = "tests/engine/test_doubt_adopted.py"
_VOID: Final = "tests/engine/test_doubt_void.py"
_IN_TIME: Final = "tests/engine/test_doubt_in_time.py"
_CHAOS: Final = "tests/engine/test_chaos.py"

NAMED_CASES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "an accepted POST whose answer is lost, twice in a row": (
            f"{_ADOPTED}::test_two_answers_lost_in_a_row_leave_two_batches_not_four",
            f"{_IN_TIME}::test_the_answers_to_both_attempts_of_the_same_requests_may_be_lost",
        ),
        "two jobs with equal counts in doubt at once": (
            f"{_IN_TIME}::test_two_in_doubt_whose_batches_still_run_keep_the_candidates_of_both",
            f"{_ADOPTED}::test_two_jobs_in_doubt_with_equal_counts_each_get_their_own_batch",
            f"{_ADOPTED}::test_one_in_doubt_that_exists_and_one_that_does_not_are_told_apart",
        ),
        "a foreign batch of the same count": (
            f"{_ADOPTED}::test_a_neighbours_batch_of_the_same_size_is_proven_foreign_and_not_read_again",
            f"{_VOID}::test_a_neighbour_that_still_runs_keeps_the_batch_in_doubt",
            f"{_VOID}::test_neighbours_that_come_after_the_wait_are_no_candidates",
        ),
        "a deleted cursor batch": (f"{_ADOPTED}::test_a_deleted_cursor_batch_does_not_lose_the_search",),
        "the first batch ever in doubt": (f"{_ADOPTED}::test_the_first_batch_ever_can_be_in_doubt",),
        "a crash loop shorter than doubt_wait": (
            f"{_ADOPTED}::test_a_crash_loop_shorter_than_the_wait_still_converges",
        ),
        "a batch listed late": (
            f"{_ADOPTED}::test_a_batch_that_is_listed_late_but_within_the_wait_is_found",
            f"{_IN_TIME}::test_a_list_that_misses_a_batch_once_does_not_void_it",
            f"{_IN_TIME}::test_a_clock_set_between_lives_does_not_end_the_wait",
        ),
        "a candidate that cannot be read": (
            f"{_VOID}::test_a_candidate_that_cannot_be_read_for_a_day_needs_a_person",
            f"{_VOID}::test_a_candidate_that_vanishes_from_the_list_is_still_waited_for",
            f"{_ADOPTED}::test_results_without_a_readable_line_prove_nothing",
        ),
        "a late-sweep discovery": (
            f"{_VOID}::test_a_batch_listed_later_than_the_wait_is_found_by_the_late_sweep",
            f"{_VOID}::test_a_late_batch_that_still_runs_is_not_swept_away",
            f"{_CHAOS}::test_where_the_assumption_breaks_every_duplicate_is_found",
        ),
        "list pages that change while they are read": (
            f"{_IN_TIME}::test_a_list_that_changes_between_its_pages_hides_no_batch",
            f"{_VOID}::test_half_a_walk_never_passes_for_a_whole_one",
        ),
    }
)


#: Tests that `make test` runs small (`support.length`).
IN_FULL: Final = (
    "tests/browser/test_browser_axe.py",
    "tests/engine/test_chaos.py",
    "tests/engine/test_crash_points.py",
    "tests/store/conformance/test_conformance.py",
    "tests/store/test_store_counts.py",
    "tests/unit/test_create_body.py",
    "tests/unit/test_recorded_prices.py",
)


def run_named_cases() -> Tally:
    """Run every test of every case."""
    nodes = sorted({node for nodes in NAMED_CASES.values() for node in nodes})
    return _run("the ten named cases of the protocol", "tests", nodes, {"cases": len(NAMED_CASES)})


def run_in_full() -> Tally:
    """Run all that the files of `IN_FULL` can do: every call of every port, 12,000 usages."""
    return _run("tests that make test runs small", "files", IN_FULL, {})


def run_long() -> Tally:
    """Run the tests that `make test` leaves out (marked `long`)."""
    tally = _run("tests that make test leaves out", "tests", ("-m", "long", "tests"), {})
    return replace(tally, trials=cast("int", tally.facts["passed"]) + len(tally.violations))


def _run(test: str, unit: str, nodes: Sequence[str], facts: dict[str, int | float | str]) -> Tally:
    """Run *nodes* in a pytest of its own."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *nodes]
    env = {**os.environ, "ORCHESTRATOR_TEST_LONG": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    failed = tuple(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR")))
    if done.returncode != 0 and not failed:
        failed = (f"pytest ended with {done.returncode}: {done.stdout[-500:]}",)
    passed = re.search(r"(\d+) passed", done.stdout)
    facts = {**facts, "passed": int(passed[1]) if passed else 0}
    return Tally(
        test=test,
        unit=unit,
        trials=len(nodes),
        violations=tuple(f"{line} — {' '.join(command[1:])}" for line in failed),
        seconds=time.monotonic() - began,
        facts=facts,
    )
