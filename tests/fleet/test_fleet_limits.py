"""What a fleet keeps to at the API however many daemons it has, by the API's own count."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest
from fleet.fleet_processes import Cluster, cluster, until
from support.processes import Api, running_api
from support.slow_way import slow_way

pytestmark = [pytest.mark.postgres, pytest.mark.process, pytest.mark.timeout(900)]

BATCHES: Final = 14
IN_FLIGHT, UPLOADS = 6, 4
#: A body has 60 kB; the way to the API stands still at half of it, until as many are being sent as may be.
_RATE: Final = 1_000_000
_STANDS_AT: Final = 30_000
_MORE: Final = 3_000
_SENDING: Final = "SELECT count(*) FROM batch WHERE state = 'submitting'"
_AT_THE_API: Final = "SELECT count(*) FROM batch WHERE state = 'in_progress'"
#: Between two looks at the list; no look at one batch, and none that the daemons could make for another reason.
_POLL_S: Final = 1.0
_LOOKS: Final = 10


@pytest.mark.long
def test_five_daemons_keep_the_limits_of_one(url: str, tmp_path: Path) -> None:
    """`max_in_flight_batches` and `max_uploads` are the fleet's: the API never has more at once."""
    limits = {
        "LIMITS__MAX_IN_FLIGHT_BATCHES": str(IN_FLIGHT),
        "LIMITS__MAX_UPLOADS": str(UPLOADS),
        "FLEET__HEARTBEAT": "60s",  # a machine that is busy takes nobody for dead
    }
    with (
        running_api(speed=1, batch_seconds=[3600, 7200]) as api,
        slow_way(api.base_url, _RATE, _STANDS_AT) as way,
        cluster(url, api, tmp_path, "", **limits) as daemons,
    ):
        for name in "ABCDE":
            daemons.up(name, api_url=way.url)
        until(lambda: daemons.settled() and daemons.number("SELECT count(*) FROM daemon") == 5, "all are there")
        daemons.submit(BATCHES * 20, lambda _: _MORE)
        until(lambda: daemons.number(_SENDING) >= UPLOADS, "as many are being sent as may be")
        way.stands_at = None
        until(lambda: daemons.number(_AT_THE_API) >= IN_FLIGHT, "as many are at the API as may be")
        until(lambda: passes(api) and daemons.is_over(), "the job is over")
        stats = api.stats()
        assert stats.batches_created == BATCHES
        assert (stats.most_in_flight, stats.most_open_creates) == (IN_FLIGHT, UPLOADS)
        assert sum(daemons.said_by(name, "batch.sending") > 0 for name in daemons.hosts) > 1


def passes(api: Api) -> bool:
    """Ten minutes of the API's time."""
    api.order("advance", seconds=600)
    return True


def looks(api: Api, number: int) -> tuple[int, float]:
    """How often the list was asked for until it was at least so often, and how long that took."""
    before, began = api.stats().calls["list"], time.monotonic()
    until(lambda: api.stats().calls["list"] - before >= number, "the list is asked for")
    return api.stats().calls["list"] - before, time.monotonic() - began


@pytest.mark.long
def test_five_daemons_ask_no_more_often_than_one(url: str, tmp_path: Path) -> None:
    """One look at the list is for all batches of all daemons; so it is as often as one daemon would."""
    pace = {"LIMITS__POLL_INTERVAL": f"{_POLL_S}s", "LIMITS__POLL_INTERVAL_MAX": f"{_POLL_S}s"}
    with running_api(speed=1, batch_seconds=[9000, 9000]) as api, cluster(url, api, tmp_path, "A", **pace) as daemons:
        daemons.submit(100)
        until(lambda: all_sent(daemons), "the batches are at the API")
        looks(api, 2)
        for name in "BCDE":
            daemons.up(name)
        until(lambda: daemons.number("SELECT count(*) FROM daemon") == 5, "all are there")
        count, seconds = looks(api, _LOOKS)
        assert count <= seconds / _POLL_S + 2


def all_sent(daemons: Cluster) -> bool:
    return daemons.number("SELECT count(*) FROM batch WHERE state = 'in_progress'") == 5
