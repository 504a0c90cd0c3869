"""One time for the fleet, and what a fleet shows of itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from operator import itemgetter

import pytest
from fleet.fleet_world import Daemon, connected, running, until

from orchestrator.domain.errors import StoreError, StoreUnreachable
from orchestrator.domain.ids import BatchId
from orchestrator.fleet.fleet_clock import FleetClock
from orchestrator.fleet.queue_pool import FleetDatabase
from orchestrator.fleet.queue_schema import enqueue_due
from orchestrator.ports.dispatch import UnitKind
from orchestrator.version import VERSION

pytestmark = [pytest.mark.postgres, pytest.mark.anyio]

HOUR = timedelta(hours=1)


async def test_the_fleets_time_is_the_databases(url: str) -> None:
    """Two daemons whose machines disagree write and read the same times (promise 5)."""
    clock = FleetClock()
    async with FleetDatabase(url=url).pool("test") as pool:
        before = await pool.fetchval("SELECT clock_timestamp()")
        await clock.ask(pool)
        shown = clock.now()
        after = await pool.fetchval("SELECT clock_timestamp()")
    assert before - (after - before) <= shown <= after + (after - before)


def test_the_fleets_time_never_runs_backwards() -> None:
    """A server whose clock is set back does not make a pause begin anew: the time waits for it."""
    clock = FleetClock()
    begun = clock.now()
    clock.take(begun - HOUR, clock.elapsed())
    assert clock.now() == clock.now() == begun
    assert abs(clock.offset + HOUR) < timedelta(seconds=30)
    clock.take(begun + HOUR, clock.elapsed())
    assert clock.now() >= begun + HOUR


def test_a_machine_that_is_fast_takes_the_fleets_time_over_at_once() -> None:
    """Promise 5: its time does not stand still for as long as it is fast, with every wait and pause."""
    clock = FleetClock()
    ours = datetime.now(UTC)
    clock.take(ours - HOUR, clock.elapsed())
    assert ours - HOUR <= clock.now() < ours - HOUR / 2
    first = clock.now()
    assert clock.now() > first


async def test_a_fleet_shows_who_is_there_who_has_what_and_what_waits(url: str) -> None:
    """For a person who asks why a batch does not go on."""
    a, b = Daemon(url, "a"), Daemon(url, "b")
    b.units.stages = ()
    with connected(url) as c:
        async with running(a, b):
            await until(lambda: a.units.held == {"place", "plan", "poll"}, "every stage is held")
            await until(
                lambda: "place" in b.units.held and len(c.execute("SELECT FROM daemon").fetchall()) == 2, "both"
            )
            c.execute("INSERT INTO pgqueuer (priority, status, entrypoint) VALUES (1, 'queued', 'stage.probe')")
            seen = await a.view()
        enqueue_due(c, UnitKind.SUBMIT, BatchId(9), 50)
        later = await a.view()
    assert sorted(((daemon.name, daemon.version, daemon.settings) for daemon in seen.daemons), key=itemgetter(0)) == [
        ("a", VERSION, {"limits.max_uploads": "4"}),
        ("b", VERSION, {"limits.max_uploads": "4"}),
    ]
    assert all(daemon.started_at <= daemon.seen_at <= seen.at for daemon in seen.daemons)
    assert {(held.kind, held.what, held.daemon) for held in seen.held} == {
        (UnitKind.STAGE, "plan", "a"),
        (UnitKind.STAGE, "poll", "a"),
    }
    assert [(one.kind, one.count) for one in seen.waiting] == [(UnitKind.STAGE, 1)], "nobody there has that stage"
    assert abs(seen.at - datetime.now(UTC) - seen.offset) < timedelta(seconds=30)
    assert later.daemons == []
    assert (UnitKind.SUBMIT, 1) in [(one.kind, one.count) for one in later.waiting]


async def test_a_database_that_cannot_be_asked_is_told_in_words(url: str) -> None:
    """Without its password, whichever of the two it is that is wrong."""
    away = Daemon("postgresql://postgres:s3cret@127.0.0.1:1/test", "a")
    with pytest.raises(StoreUnreachable, match="does not answer") as failed:
        await away.view()
    assert "s3cret" not in str(failed.value)
    refused = Daemon(url.replace("postgres@", "nobody:s3cret@"), "b")
    with pytest.raises(StoreError, match="refuses") as failed_too:
        await refused.run()
    assert "s3cret" not in str(failed_too.value)
