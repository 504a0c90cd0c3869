"""Daemons on one database share the units: each is somebody's, and soon another's when its holder is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import cast

import pytest
from fleet.fleet_world import LIMITS, SOON_S, CountedUnits, Daemon, Proxy, connected, fill, running, until
from pgqueuer.domain.models import HealthCheckEvent
from pgqueuer.domain.types import HealthCheckId
from support.postgres import PostgresServer

from orchestrator.domain.errors import StoreError, StoreLost, StoreUnreachable
from orchestrator.domain.ids import BatchId
from orchestrator.fleet.fleet_session import FleetSession, Working
from orchestrator.fleet.membership import SeenEvents
from orchestrator.fleet.queue_pool import FleetDatabase, Pool
from orchestrator.fleet.queue_schema import enqueue_due
from orchestrator.ports.dispatch import UnitKind
from orchestrator.store.postgres.migrate_postgres import SERVER_SCHEMA_VERSION

pytestmark = [pytest.mark.postgres, pytest.mark.anyio]


def enqueue(url: str, kind: UnitKind, *batches: int) -> None:
    """Make *batches* due."""
    with connected(url) as c:
        for batch in batches:
            enqueue_due(c, kind, BatchId(batch), 50)


def units_left(url: str) -> set[str]:
    """Batches that have a unit."""
    with connected(url) as c:
        rows = c.execute("SELECT dedupe_key FROM pgqueuer WHERE dedupe_key NOT LIKE 'stage:%'").fetchall()
    return {key for (key,) in rows}


class Probes(dict[HealthCheckId, "asyncio.Future[HealthCheckEvent]"]):
    """PgQueuer's probes that were not heard yet. made: how many there were."""

    made = 0

    def __setitem__(self, key: HealthCheckId, value: asyncio.Future[HealthCheckEvent]) -> None:
        self.made += 1
        super().__setitem__(key, value)


def held(*daemons: Daemon) -> list[str]:
    """Every stage that somebody holds, as often as it is held."""
    return sorted(stage for daemon in daemons for stage in daemon.units.held if stage != "place")


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    """The lines of *event* so far."""
    return [line for record in caplog.records if event in (line := record.getMessage())]


async def test_each_stage_is_held_by_one_daemon(url: str) -> None:
    """Promise 5: what polls for the workspace is one loop, however many daemons there are; `own` is everybody's."""
    a, b = Daemon(url, "a"), Daemon(url, "b")
    async with running(a, b):
        await until(lambda: held(a, b) == ["plan", "poll"], "every stage is held once")
        assert all("place" in daemon.units.held for daemon in (a, b))
        names = {held.what: held.daemon for held in await a.dispatcher().holders()}
        assert {name for name in ("plan", "poll") if names[name] == "a"} == a.units.held - {"place"}
        for claim in (*a.units.claims.values(), *b.units.claims.values()):
            assert claim is None or claim.every == LIMITS.heartbeat / 4


async def test_a_daemon_that_ends_hands_its_stages_on(url: str) -> None:
    """Promise 11: who stops does not make others wait for its heart."""
    a, b = Daemon(url, "a"), Daemon(url, "b")
    async with running(b):
        async with running(a):
            await until(lambda: held(a, b) == ["plan", "poll"], "every stage is held once")
        await until(lambda: held(b) == ["plan", "poll"], "the other holds every stage")
        with connected(url) as c:
            assert c.execute("SELECT name FROM daemon").fetchall() == [("b",)]


async def test_a_daemon_that_is_cut_off_loses_its_stages(url: str) -> None:
    """It is not told, and finds out; the other one goes on meanwhile, and nobody is disturbed afterwards."""
    async with AsyncExitStack() as stack:
        proxy = Proxy(url)
        a, b = Daemon(await proxy.start(stack), "a"), Daemon(url, "b")
        await stack.enter_async_context(running(a))
        await until(lambda: held(a) == ["plan", "poll"], "the first holds every stage")
        await stack.enter_async_context(running(b))
        proxy.open.clear()
        await until(lambda: held(b) == ["plan", "poll"], "the other holds every stage")
        proxy.open.set()
        await until(lambda: held(a) == [], "the first gives them up")
        assert held(b) == ["plan", "poll"]


async def test_a_batch_is_looked_at_until_nothing_is_due(url: str) -> None:
    """Its unit goes with the last look, and not before."""
    a = Daemon(url, "a")

    async def twice(_kind: UnitKind, _batch: BatchId) -> timedelta | None:
        return timedelta(0) if len(a.units.looks) < 3 else None

    a.units.answer = twice
    async with running(a):
        enqueue(url, UnitKind.SUBMIT, 7)
        await until(lambda: units_left(url) == set(), "the unit is over")
    assert a.units.looks == [(UnitKind.SUBMIT, BatchId(7))] * 3


async def test_what_is_sent_at_once_has_a_limit_over_the_fleet(url: str) -> None:
    """Promise 5: two daemons do not send twice as much."""
    a, b = Daemon(url, "a"), Daemon(url, "b")
    going: set[BatchId] = set()
    most: list[int] = []

    async def upload(_kind: UnitKind, batch: BatchId) -> None:
        going.add(batch)
        most.append(len(going))
        await asyncio.sleep(0.05)
        going.discard(batch)

    a.units.answer = b.units.answer = upload
    async with running(a, b):
        enqueue(url, UnitKind.SUBMIT, *range(1, 13))
        await until(lambda: len(most) >= 12 and not units_left(url), "all were looked at")
    assert sorted(batch for _, batch in (*a.units.looks, *b.units.looks)) == list(range(1, 13))
    assert max(most) == 2


async def test_nothing_that_a_unit_raises_gets_lost_or_out(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A database that is away, or a mistake of ours: the unit is handed out again, and the daemon goes on."""
    a = Daemon(url, "a")
    a.units.raising = [StoreUnreachable("the database does not answer"), KeyError("ours")]
    with caplog.at_level(logging.ERROR):
        async with running(a):
            enqueue(url, UnitKind.COLLECT, 1)
            await until(lambda: not a.units.raising and not units_left(url), "it was looked at again")
            await until(lambda: held(a) == ["plan", "poll"], "every stage is held again")
    assert [record.exc_info for record in caplog.records if record.name.startswith("pgqueuer")] == []


async def test_what_has_no_unit_is_found_by_a_daemon_that_starts(url: str) -> None:
    """A row of the queue may be lost with a backup, or a move from another store; the store's rows are what counts."""
    a = Daemon(url, "a", dues=[(UnitKind.SUBMIT, BatchId(3), 50), (UnitKind.COLLECT, BatchId(4), 1)])
    async with running(a):
        await until(lambda: len(a.units.looks) == 2, "both were looked at")
    assert set(a.units.looks) == {(UnitKind.SUBMIT, BatchId(3)), (UnitKind.COLLECT, BatchId(4))}


async def test_a_move_of_anybody_rings_everywhere(url: str) -> None:
    """A command in another process is felt at once, however much is written."""
    a, b = Daemon(url, "a"), Daemon(url, "b")
    async with running(a, b):
        await until(lambda: a.rings and b.rings, "both rang for what happened before")
        before = a.rings
        with connected(url) as c:
            for _ in range(200):
                c.execute("INSERT INTO event (at, kind) VALUES ('2026-01-01T00:00:00.000000Z', 'test')")
        await until(lambda: a.rings > before and b.rings > 1, "both ring")
        assert a.rings - before < 200


async def test_a_spell_hears_its_first_probe(url: str) -> None:
    """A probe that is lost ends the spell after ten seconds: every stage would change hands all the time."""
    leaving, over = asyncio.Event(), asyncio.Event()
    async with FleetDatabase(url=url).pool("test") as pool:
        spell = FleetSession(pool, CountedUnits(), LIMITS, Working(), leaving=leaving, over=over)
        await spell.listen(lambda _told: None)
        probes = spell._queue.pending_health_check = Probes()
        running_spell = asyncio.create_task(spell.run())
        async with asyncio.timeout(8):  # after ten seconds it is given up
            await until(lambda: probes.made and not probes, "it has heard")
        leaving.set()
        await running_spell


async def test_a_stopping_daemon_lets_an_upload_end_and_breaks_a_download_off(url: str) -> None:
    """Promise 2: a POST that is cut off is a doubt of minutes; a download is only begun again, by whoever gets it."""
    a = Daemon(url, "a")
    sent = asyncio.Event()

    async def work(kind: UnitKind, _batch: BatchId) -> None:
        if kind is UnitKind.COLLECT:
            await asyncio.Event().wait()
        await sent.wait()

    a.units.answer = work
    async with running(a):
        enqueue(url, UnitKind.SUBMIT, 1)
        enqueue(url, UnitKind.COLLECT, 2)
        await until(lambda: len(a.units.looking) == 2, "both are under way")
        a.stop.set()
        await until(lambda: a.units.looking == {1}, "the download is broken off")
        sent.set()
    assert units_left(url) == {"collect:2"}


async def test_a_database_that_restarts_costs_no_upload(
    own_server: Callable[..., PostgresServer], caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 2: the daemon goes on by itself, and what is being sent meanwhile stays its own. It logs no error."""
    caplog.set_level(logging.INFO)
    server = own_server()
    url = server.new_database(server.template("fleet", fill))
    a, b = Daemon(url, "a"), Daemon(url, "b")
    sent = asyncio.Event()

    async def upload(_kind: UnitKind, _batch: BatchId) -> None:
        await sent.wait()

    a.units.answer = b.units.answer = upload
    async with running(a, b):
        await until(lambda: held(a, b) == ["plan", "poll"], "every stage is held once")
        enqueue(url, UnitKind.SUBMIT, 1, 2)
        await until(lambda: len(a.units.looking | b.units.looking) == 2, "both are being sent")
        holds = (a.units.holds + b.units.holds)["plan"]
        await asyncio.to_thread(server.control, "stop")
        await until(lambda: "Flush failed" in caplog.text, "a heartbeat could not be written")
        await asyncio.to_thread(server.restart)
        await until(lambda: (a.units.holds + b.units.holds)["plan"] > holds, "the stages are held anew")
        await until(lambda: held(a, b) == ["plan", "poll"], "every stage is held once")
        sent.set()
        await until(lambda: units_left(url) == set(), "both were sent")
    assert sorted(batch for _, batch in (*a.units.looks, *b.units.looks)) == [1, 2]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.long
async def test_a_database_that_is_back_is_told_with_how_long_it_was_away(
    own_server: Callable[..., PostgresServer], caplog: pytest.LogCaptureFixture
) -> None:
    """Of the tries between, the log of a daemon has one a minute (tests/unit/test_logs.py)."""
    server = own_server()
    url = server.new_database(server.template("fleet", fill))
    a = Daemon(url, "a")
    async with running(a):
        await until(lambda: held(a) == ["plan", "poll"], "every stage is held")
        assert told(caplog, "fleet.database_back") == []
        await asyncio.to_thread(server.control, "stop")
        await until(lambda: len(told(caplog, "fleet.database_away")) > 2, "it was tried again and again")
        await asyncio.to_thread(server.control, "start")
        await until(lambda: told(caplog, "fleet.database_back"), "it is back")
        await until(lambda: held(a) == ["plan", "poll"], "every stage is held anew")
    (back,) = told(caplog, "fleet.database_back")
    assert " after=" in back or "'after': " in back


async def test_what_this_process_still_sends_is_not_looked_at_again(url: str) -> None:
    """Promise 2: a look at a batch that is being sent calls it in doubt, and its own answer would come too late."""
    a = Daemon(url, "a")
    sent = asyncio.Event()

    async def upload(_kind: UnitKind, _batch: BatchId) -> None:
        await sent.wait()

    a.units.answer = upload
    with connected(url) as c:
        async with running(a):
            enqueue(url, UnitKind.SUBMIT, 1)
            await until(lambda: a.units.looking, "it is being sent")
            c.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'orchestrator a'"
            )

            def was_handed_out_again() -> bool:
                c.execute("UPDATE pgqueuer SET heartbeat = now() - interval '1 hour' WHERE entrypoint = 'submit'")
                again = c.execute("SELECT FROM pgqueuer WHERE entrypoint = 'submit' AND attempts > 0").fetchone() == ()
                return again or len(a.units.looks) > 1

            await until(was_handed_out_again, "the next spell was given it")
            looked = list(a.units.looks)
            sent.set()
            await until(lambda: units_left(url) == set(), "it was sent")
    assert looked == [(UnitKind.SUBMIT, 1)]


@pytest.mark.long
async def test_a_database_that_lost_commits_ends_the_daemon(url: str) -> None:
    """Promise 2: an intent may be among what is lost, so nothing is sent on the word of what is left."""
    a = Daemon(url, "a")
    with connected(url) as c:
        c.execute("ALTER TABLE event DISABLE TRIGGER event_append_only_d")
        c.execute("INSERT INTO event (at, kind) VALUES ('2026-01-01T00:00:00.000000Z', 'test')")
        task = asyncio.create_task(a.run())
        await until(lambda: held(a) == ["plan", "poll"], "every stage is held")
        rings = a.rings
        c.execute("INSERT INTO event (at, kind) VALUES ('2026-01-01T00:00:01.000000Z', 'test')")
        await until(lambda: a.rings > rings, "it has heard of it")
        c.execute("DELETE FROM event WHERE id = (SELECT max(id) FROM event)")
        with pytest.raises(StoreLost, match="the database has lost commits") as failed:
            await asyncio.wait_for(task, SOON_S)
    assert failed.value.exit_code == 8
    assert a.units.held == set()
    assert a.distrusted == 1


class Interrupted:
    """A pool that hears of the next event while it answers."""

    def __init__(self, pool: Pool, seen: SeenEvents, told: str) -> None:
        self._pool, self._seen, self._told = pool, seen, told

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def ask(*args: object) -> object:
            answer = await getattr(self._pool, name)(*args)
            self._seen.heard(self._told)
            return answer

        return ask


async def test_an_event_that_is_heard_of_meanwhile_is_not_lost(url: str) -> None:
    """Who asks for one event is told of the next before the answer is there; no daemon ends for that."""
    seen = SeenEvents(SERVER_SCHEMA_VERSION)
    with connected(url) as c:
        for at in range(2):
            c.execute("INSERT INTO event (at, kind) VALUES (%s, 'test')", (f"2026-01-01T00:00:0{at}.000000Z",))
        first, second = c.execute("SELECT id || ' ' || at FROM event ORDER BY id").fetchall()
    seen.heard(first[0])
    async with FleetDatabase(url=url).pool("test") as pool:
        await seen.check(cast("Pool", Interrupted(pool, seen, second[0])))


@pytest.mark.long
async def test_a_newer_version_is_made_way_for(url: str) -> None:
    """An upgrade without a stop: whoever does not know the schema hands everything on, and ends."""
    a, b = Daemon(url, "a"), Daemon(url, "b", schema=99)
    async with running(b):
        task = asyncio.create_task(a.run())
        await until(lambda: held(a, b) == ["plan", "poll"], "every stage is held once")
        with connected(url) as c:
            c.execute("INSERT INTO schema_migration (version, name, checksum, applied_at) VALUES (99, 'x', 'x', 'x')")
        with pytest.raises(StoreError, match="a newer version of this program"):
            await asyncio.wait_for(task, SOON_S)
        await until(lambda: held(b) == ["plan", "poll"], "the newer one holds every stage")
