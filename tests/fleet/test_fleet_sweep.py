"""Once a minute one daemon looks after what the queue has lost and what others left; a command shows that it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fleet.fleet_world import LIMITS, CountedUnits, Daemon, connected

from orchestrator.config import load_settings
from orchestrator.domain.ids import BatchId
from orchestrator.fleet.fleet_session import FleetSession, Working
from orchestrator.fleet.joining import Fleet
from orchestrator.fleet.membership import alike, alike_from
from orchestrator.fleet.queue_pool import FleetDatabase
from orchestrator.fleet.queue_schema import enqueue_due
from orchestrator.ports.dispatch import HASHED, UnitKind

pytestmark = [pytest.mark.postgres, pytest.mark.anyio]

SEEN = """
INSERT INTO daemon (id, name, host, pid, version, settings_hash, started_at, seen_at)
SELECT %(id)s, %(name)s, 'h', 1, 'v', 's', at, at FROM (SELECT to_char(
  (clock_timestamp() - CAST(%(ago)s AS interval)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at) AS seen
"""
OLD = """
INSERT INTO pgqueuer_log (created, job_id, status, priority, entrypoint)
SELECT now() - days * interval '1 day', 1, 'queued', 1, days::text FROM generate_series(6, 8) AS days
"""


async def sweep(url: str, daemon: Daemon) -> None:
    """What PgQueuer's schedule has one daemon do."""
    async with FleetDatabase(url=url).pool("test") as pool:
        over = asyncio.Event()
        spell = FleetSession(pool, CountedUnits(), LIMITS, Working(), leaving=asyncio.Event(), over=over)
        await daemon.chores()._sweep(pool, spell)


async def test_a_sweep_enqueues_what_has_no_unit_and_nothing_twice(url: str) -> None:
    """Promise 1: the rows of the store say what is due, and the queue may lose all of its own."""
    due = [(UnitKind.SUBMIT, BatchId(1), 50), (UnitKind.SUBMIT, BatchId(2), 70), (UnitKind.COLLECT, BatchId(3), 1)]
    a = Daemon(url, "a", dues=due)
    with connected(url) as c:
        enqueue_due(c, UnitKind.SUBMIT, BatchId(1), 50)
        for _ in range(2):
            await sweep(url, a)
            found = c.execute("SELECT dedupe_key, entrypoint, priority FROM pgqueuer ORDER BY dedupe_key").fetchall()
            assert found == [
                ("collect:3", "collect", 1),
                ("stage:plan", "stage.plan", 1000),
                ("stage:poll", "stage.poll", 1000),
                ("submit:1", "submit", 50),
                ("submit:2", "submit", 70),
            ]


async def test_a_sweep_takes_away_who_is_gone_and_what_is_old(url: str) -> None:
    """A daemon that was not seen for a minute is gone, and its imports are others' to discard."""
    a = Daemon(url, "a")
    with connected(url) as c:
        for name, ago in (("gone", "70 s"), ("there", "20 s")):
            c.execute(SEEN, {"id": uuid4(), "name": name, "ago": ago})
        c.execute(OLD)
        await sweep(url, a)
        assert c.execute("SELECT name FROM daemon").fetchall() == [("there",)]
        kept = c.execute("SELECT entrypoint FROM pgqueuer_log WHERE entrypoint ~ '^[0-9]'").fetchall()
        assert kept == [("6",)]
    assert a.tidied == 1


async def test_a_command_that_imports_shows_that_it_lives(url: str, tmp_path: Path) -> None:
    """Nobody takes what it reads for left over; afterwards it is gone."""
    settings = load_settings(flags={"database.url": url}, env={"HOME": str(tmp_path)}, cwd=tmp_path)
    fleet = Fleet(settings, is_daemon=False)
    with connected(url) as c:
        async with fleet.present():
            assert c.execute("SELECT id, queue_id FROM daemon").fetchall() == [(fleet.member.id, None)]
        assert c.execute("SELECT id FROM daemon").fetchall() == []


def test_limits_that_differ_are_seen(tmp_path: Path) -> None:
    """PgQueuer takes the highest of them: a person should know. Names and passwords are no limits."""

    def told(**flags: object) -> Mapping[str, str]:
        given = {"database.url": "postgresql://a:b@c/d", **{key.replace("__", "."): flags[key] for key in flags}}
        return alike_from(alike(load_settings(flags=given, env={"HOME": str(tmp_path)}, cwd=tmp_path)))

    def changed(**flags: object) -> dict[str, str]:
        return dict(told(**flags).items() - told().items())

    assert told() == told(fleet__name="x") == told(database__url="postgresql://e:f@g/h")
    assert changed(limits__max_uploads=7) == {"limits.max_uploads": "7"}
    assert changed(fleet__heartbeat=timedelta(seconds=3)) == {"fleet.heartbeat": "3s"}
    assert changed(database__keep_bodies=timedelta(days=30)) == {"database.keep_bodies": "30d"}
    assert changed(budget__max_day="5") == {"budget.max_day": "$5"}
    assert changed(batching__max_requests=9) == {"batching.max_requests": "9"}
    [(name, hidden)] = changed(api__base_url="https://gateway.example/of-nobody-else").items()
    assert (name, hidden[0], "gateway" in hidden) == ("api.base_url", HASHED, False)


def test_a_row_in_another_form_tells_nothing() -> None:
    """As another version may have written it: who looks at the fleet is not stopped by it."""
    assert [alike_from(text) for text in ("5d41402abc4b", "[]", '{"limits.max_uploads": 4}')] == [{}, {}, {}]


async def test_settings_that_were_read_again_are_those_that_others_compare(url: str, tmp_path: Path) -> None:
    """SIGHUP: the row of a daemon says what it works by now."""
    own: dict[str, Any] = {"flags": {"database.url": url}, "env": {"HOME": str(tmp_path)}, "cwd": tmp_path}
    fleet = Fleet(load_settings(**own))
    async with fleet.present():
        fleet.retune(load_settings(**{**own, "flags": {**own["flags"], "limits.max_in_flight_batches": 9}}))
        async with FleetDatabase(url=url).pool("test") as pool:
            await fleet.member.beat(pool, None)
        [seen] = (await fleet.view()).daemons
        assert seen.settings["limits.max_in_flight_batches"] == "9"
