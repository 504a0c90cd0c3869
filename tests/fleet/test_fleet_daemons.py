"""Real daemons on one PostgreSQL: whatever becomes of one, the job ends, and the API's books show each request once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fleet.fleet_processes import Cluster, cluster, until
from support.length import some_of
from support.postgres import PostgresServer
from support.processes import running_api

pytestmark = [pytest.mark.postgres, pytest.mark.process]

COUNT = 400
STORED = "SELECT count(*) FROM result"


def has_stored(daemons: Cluster, wanted: int) -> bool:
    """Whether so many results are there."""
    return daemons.number(STORED) >= wanted


def undisturbed(daemons: Cluster) -> None:
    """Nothing happens to anybody."""


def killed(daemons: Cluster) -> None:
    """The one that holds the most stages dies."""
    busiest = daemons.hosts[daemons.holders().most_common(1)[0][0]]
    busiest.alive.kill()
    busiest.alive.wait()
    until(lambda: daemons.settled() and busiest.name not in daemons.holders(), "the other one holds every stage")


def ended(daemons: Cluster) -> None:
    """The one that holds the most stages is told to end: it hands on what it has, and leaves no row behind."""
    busiest = daemons.hosts[daemons.holders().most_common(1)[0][0]]
    busiest.alive.terminate()
    assert busiest.alive.wait(60) == 0
    until(daemons.settled, "the other one holds every stage")
    assert [name for (name,) in daemons.ask("SELECT name FROM daemon")] == [*(daemons.hosts.keys() - {busiest.name})]


def stopped(daemons: Cluster) -> None:
    """The one that holds the most stages stands still, is taken over, and wakes: it finds out, and disturbs nobody."""
    busiest = daemons.hosts[daemons.holders().most_common(1)[0][0]]
    busiest.alive.send_signal(signal.SIGSTOP)
    until(lambda: daemons.settled() and busiest.name not in daemons.holders(), "the other one holds every stage")
    busiest.alive.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("blow", some_of([killed, undisturbed, ended, stopped], 1))
def test_a_job_ends_and_is_billed_once(blow: Callable[[Cluster], None], url: str, tmp_path: Path) -> None:
    """Promises 1 and 2, for a fleet of two."""
    with running_api() as api, cluster(url, api, tmp_path, "AB") as daemons:
        daemons.submit(COUNT)
        until(lambda: daemons.number(STORED) > 0, "the first results are there")
        blow(daemons)
        until(daemons.is_over, "the job is over")
        assert daemons.number(STORED) == COUNT
        assert daemons.books().total() == len(daemons.books()) == COUNT
        assert daemons.said("Traceback") == 0


@pytest.mark.long
def test_who_is_left_after_a_kill_holds_every_stage_and_works(url: str, tmp_path: Path) -> None:
    """Three daemons and sixty batches: the one with the most stages is killed, and both others do their share."""
    with running_api(latency_s=0.5) as api, cluster(url, api, tmp_path, "ABC") as daemons:
        daemons.submit(60 * 20)
        until(lambda: daemons.number(STORED) > 0, "the first results are there")
        before = daemons.holders()
        killed(daemons)
        until(daemons.is_over, "the job is over")
        left = daemons.hosts.keys() - {before.most_common(1)[0][0]}
        assert daemons.holders().keys() <= left
        assert all(daemons.said_by(name, "batch.sending") + daemons.said_by(name, "batch.collected") for name in left)
        assert daemons.books().total() == len(daemons.books()) == daemons.api.stats().batches_created * 20 == 60 * 20


@pytest.mark.long
def test_a_server_that_restarts_costs_neither_a_request_nor_a_doubt(
    own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    """Promises 2 and 11: daemons reconnect by themselves, and an answer that is in hand is kept until they have."""
    server = own_server()
    url = server.new_database()
    with running_api(latency_s=0.5) as api, cluster(url, api, tmp_path, "AB") as daemons:
        daemons.submit(COUNT)
        for wanted in (40, 80):
            until(partial(has_stored, daemons, wanted), "more results are there")
            server.restart()
        until(daemons.is_over, "the job is over")
        assert daemons.books().total() == len(daemons.books()) == COUNT
        assert daemons.said("fleet.database_away") > 0
        assert daemons.said("fleet.database_back") > 0
        assert daemons.said("Traceback") == 0
