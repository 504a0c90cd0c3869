"""Acceptance check 7: the database restarts, as after a power cut, while POSTs are in flight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fleet.fleet_processes import cluster, until
from support.postgres import PostgresServer
from support.processes import running_api
from support.slow_way import slow_way

pytestmark = [pytest.mark.postgres, pytest.mark.process, pytest.mark.timeout(900)]

COUNT = 80
#: What no question has, and every body of twenty requests.
BODY = 2_000
SUBMITTING = "SELECT count(*) FROM batch WHERE state = 'submitting'"
ACCEPTED = "SELECT count(*) FROM batch WHERE state = 'in_progress'"
DOUBTS = "SELECT count(*) FROM event WHERE new = 'in_doubt'"


@pytest.mark.long
def test_four_posts_in_flight_are_accepted_after_a_restart_of_the_database(
    own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    """Promise 2, and no doubt: the API has taken all four in, and answers while the database is away."""
    server = own_server()
    limits = {"FLEET__HEARTBEAT": "60s", "LIMITS__MAX_UPLOADS": "4"}  # a machine that is busy takes nobody for dead
    with (
        running_api(speed=1, batch_seconds=[3600, 7200]) as api,
        slow_way(api.base_url, 10_000_000) as way,
        cluster(server.new_database(), api, tmp_path, "", **limits) as daemons,
    ):
        for name in "AB":
            daemons.up(name, api_url=way.url)
        until(daemons.begun, "every stage is held")
        way.answers_stand_at = BODY
        daemons.submit(COUNT)
        until(lambda: api.stats().batches_created == 4, "the API has all four")
        server.restart()
        assert daemons.number(SUBMITTING) == 4
        way.answers_stand_at = None
        until(lambda: daemons.number(ACCEPTED) == 4, "all four are accepted")
        assert daemons.number(DOUBTS) == 0
        assert api.stats().batches_created == 4
