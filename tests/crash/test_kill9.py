"""The real command, a real API over TCP, real SIGKILLs; the API's own books are the judge (promises 1, 2 and 3)."""

from __future__ import annotations

import pytest
from proof.processes import random_kills, six_windows
from support.postgres import PostgresServer


@pytest.mark.long
def test_random_kills_lose_nothing_and_buy_nothing_twice() -> None:
    """T10: killed at random moments while it works, half of the time with answers lost as well. The proof kills on."""
    tally = random_kills(kills=12, seed=7)
    assert tally.violations == ()
    assert tally.trials == 12
    assert int(tally.facts["batches in_doubt"]) > 0, "no answer was ever lost: nothing was tested"


def test_killed_exactly_inside_each_window_around_the_post_it_pays_once() -> None:
    """T11: the API itself strikes inside each of the six windows; the store stands where the window implies."""
    tally = six_windows(rounds=1, seed=11)
    assert tally.violations == ()
    assert tally.trials == 6


@pytest.mark.long
@pytest.mark.postgres
def test_killed_inside_each_window_with_its_store_on_a_server_it_pays_once(postgres_server: PostgresServer) -> None:
    """T11: the same, where the next life has to take over what the killed one held."""
    tally = six_windows(rounds=1, seed=11, server=postgres_server)
    assert tally.violations == ()
    assert tally.trials == 6
