"""Promises 1, 2 and 3 of a fleet that is ill-treated: killed, stopped, cut off, its database restarted under it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fleet.chaos import chaos
from support.postgres import PostgresServer

pytestmark = [pytest.mark.postgres, pytest.mark.process, pytest.mark.timeout(900)]

#: Seed, seconds of blows, requests.
RUNS = [(seed, 60, 5000) for seed in range(1, 6)]


@pytest.mark.long
@pytest.mark.parametrize(("seed", "seconds", "requests"), RUNS)
def test_an_ill_treated_fleet_bills_each_request_once(
    seed: int, seconds: float, requests: int, own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    """The API's own books, the store's results, and the store's audit agree. By hand: `python -m fleet.chaos`."""
    outcome = chaos(own_server(), tmp_path, seconds=seconds, seed=seed, requests=requests)
    assert outcome.is_right, outcome
