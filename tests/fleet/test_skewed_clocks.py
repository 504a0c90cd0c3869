"""Acceptance check 9: daemons whose wall clocks differ by half an hour, and one PostgreSQL whose time they share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from fleet.fleet_processes import PATIENCE_S, Cluster, cluster, until
from support.forked import start_script
from support.processes import Api, running_api

pytestmark = [pytest.mark.postgres, pytest.mark.process, pytest.mark.timeout(900)]

MINUTE: Final = timedelta(minutes=1)
#: The API's time is 120 times as fast: of a doubt's 22 minutes eleven seconds are left.
SPEED: Final = 120
DOUBT: Final = timedelta(minutes=22) / SPEED
#: A machine that is busy takes nobody for dead.
MORE: Final = {"BATCHING__LINGER": "3s", "LIMITS__MAX_IN_FLIGHT_BATCHES": "8", "FLEET__HEARTBEAT": "20s"}
#: Hands in an open job of three requests, and goes away without closing it.
OPEN: Final = """
import asyncio, sys
from orchestrator import Orchestrator
async def main():
    async with Orchestrator(sys.argv[1]) as engine:
        job = await engine.open_job("open")
        params = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "open"}]}
        await job.add([{"custom_id": f"o{number}", "params": params} for number in range(3)])
asyncio.run(main())
"""
SENDER: Final = """
SELECT daemon.name FROM pgqueuer JOIN daemon ON daemon.queue_id = pgqueuer.queue_manager_id
 WHERE pgqueuer.status = 'picked' AND entrypoint = 'submit'
"""
#: The pause that is stored, and the events that were by then.
GATE: Final = "SELECT set_at, until, (SELECT max(id) FROM event) FROM gate WHERE name = 'create.asked'"
SENT: Final = "SELECT id, at FROM event WHERE new = 'submitting' ORDER BY id"
PLANNED: Final = """
SELECT min(added_at), min(event.at) FROM event JOIN job ON job.id = event.job_id
 WHERE still_open = 1 AND new = 'planned' GROUP BY job.id
"""


def shifted(by: str) -> dict[str, str]:
    """The environment of a process whose wall clock alone is off."""
    found = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    if not found:
        pytest.skip("there is no libfaketime (Debian package faketime)")
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": by, "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}


def moved(daemons: Cluster, new: str) -> list[datetime]:
    """When batches came to the state *new*, by the store."""
    return [
        datetime.fromisoformat(at) for at, state in daemons.ask("SELECT at, new FROM event ORDER BY id") if state == new
    ]


@contextmanager
def skewed(url: str, api: Api, folder: Path) -> Iterator[Cluster]:
    """A, whose clock is a quarter of an hour fast, and B, whose is as slow."""
    with cluster(url, api, folder, "", **MORE) as daemons:
        daemons.own |= {"A": shifted("+15m"), "B": shifted("-15m")}
        for name in "AB":
            daemons.up(name)
        until(daemons.settled, "every stage is held")
        yield daemons


def shut(daemons: Cluster, seen: list[tuple[str, str, int]]) -> bool:
    """Whether the gate of creates was ever *seen* to be shut: from when, until when, after which event."""
    seen += [(set_at, over, event) for set_at, over, event in daemons.ask(GATE)]
    return bool(seen)


def sent_after(daemons: Cluster, event: int) -> list[datetime]:
    """When a POST was begun whose intent was stored after *event*."""
    return [datetime.fromisoformat(at) for number, at in daemons.ask(SENT) if number > event]


@pytest.mark.long
def test_a_pause_and_a_wait_for_more_are_as_long_as_they_should_be(url: str, tmp_path: Path) -> None:
    """Promise 5: what one daemon writes, another with another clock reads."""
    with running_api(speed=SPEED) as api, skewed(url, api, tmp_path) as daemons:
        api.order("faults", faults="create.429=1,retry_after=4")
        daemons.submit(60)
        gates: list[tuple[str, str, int]] = []
        until(lambda: shut(daemons, gates), "the API asks for a pause")
        api.order("faults", faults="retry_after=4")
        # A POST that was on its way already may end in the pause, and lengthen it; none begins once it is stored.
        until(lambda: shut(daemons, gates) and sent_after(daemons, gates[0][2]), "it goes on")
        set_at, over = (datetime.fromisoformat(each) for each in min(gates)[:2])
        assert timedelta(seconds=4) <= over - set_at < MINUTE
        assert min(sent_after(daemons, gates[0][2])) >= min(datetime.fromisoformat(until) for _, until, _ in gates)
        assert abs(set_at - datetime.now(UTC)) < 5 * MINUTE
        opened = start_script(OPEN, url, env={**daemons.env(), **shifted("-15m")})
        assert opened.wait(PATIENCE_S) == 0
        until(lambda: daemons.ask(PLANNED), "what was added is planned")
        added, planned = (datetime.fromisoformat(each) for each in daemons.ask(PLANNED)[0])
        assert planned - added >= timedelta(seconds=3)
        assert abs(added - datetime.now(UTC)) < 5 * MINUTE


def taken_over(daemons: Cluster, api: Api, turn: int) -> None:
    """The daemon that sends dies in its POST, which the API has taken in; the other one waits the doubt out."""
    api.order("faults", faults="create.hang_after_accept=1")
    daemons.submit(20, first=20 * turn)
    until(lambda: api.stats().batches_created == turn + 1, "the API has it, and does not answer")
    api.order("faults", faults="")
    sender = daemons.hosts[daemons.ask(SENDER)[0][0]]
    for name, host in daemons.hosts.items():
        if host.alive.poll() is not None:
            daemons.up(name)
    sender.alive.kill()
    sender.alive.wait()
    until(daemons.is_over, "the job is over")
    assert moved(daemons, "in_progress")[-1] - moved(daemons, "in_doubt")[-1] >= DOUBT


@pytest.mark.long
def test_no_doubt_ends_early(url: str, tmp_path: Path) -> None:
    """Promise 2: neither where the fast clock judges the slow one's doubt, nor the other way round."""
    with running_api(speed=SPEED) as api, skewed(url, api, tmp_path) as daemons:
        for turn in range(2):  # the second is sent by the one that is left
            taken_over(daemons, api, turn)
            assert len(moved(daemons, "in_doubt")) == turn + 1
            assert daemons.books().total() == len(daemons.books()) == 20 * (turn + 1)
