"""Promise 11: a signal leaves a safe state, and a dead task of the engine ends its process."""

from __future__ import annotations

import pytest
from proof.endings import dead_tasks, signals


@pytest.mark.long
def test_a_signal_at_any_moment_leaves_work_that_the_next_run_finishes() -> None:
    """T14: SIGINT, SIGTERM, SIGINT twice, SIGHUP, SIGSTOP and SIGCONT at a working `run` and a working `serve`."""
    tally = signals(count=10, seed=14)
    assert tally.violations == ()
    assert len(tally.facts) == tally.trials == 10


def test_a_dead_task_of_the_engine_ends_the_process_and_the_next_one_goes_on() -> None:
    """T15: never running but dead: exit code 70 within seconds, words for a person, nothing lost."""
    tally = dead_tasks(rounds=1, seed=15)
    assert tally.violations == ()
    assert len(tally.facts) == tally.trials == 13
