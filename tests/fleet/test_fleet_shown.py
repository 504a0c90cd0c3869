"""A fleet as people see it: on the screen of `status`, on a page, as JSON, and in Prometheus's form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from faces.client_world import until
from fleet.fleet_world import Daemon
from fleet.fleet_world import until as world_until
from fleet.served_fleet import fleet_settings, served
from prometheus_client.parser import text_string_to_metric_families
from support.processes import running_api
from support.stores import make_schema

from orchestrator.fleet.fleet_clock import FleetClock
from orchestrator.fleet.fleet_view import view_fleet
from orchestrator.fleet.queue_pool import FleetDatabase
from orchestrator.http_api.dashboard import engine_pages
from orchestrator.http_api.dashboard.page import render
from orchestrator.ports.dispatch import FleetDaemon, FleetView, Held, UnitKind, UnitsWaiting
from orchestrator.views.fleet_views import FleetAnswerView, alive_count, fleet_attentions, fleet_lines

AT = datetime(2026, 11, 29, tzinfo=UTC)
ALIKE = {"limits.max_uploads": "4", "retry.max_attempts": "5", "webhooks": "#0a"}


def daemon(name: str, **more: Any) -> FleetDaemon:
    known = {"host": "h", "pid": 1, "version": "1.0", "settings": ALIKE, "works": True}
    return FleetDaemon(**{"name": name, **known, "started_at": AT, "seen_at": AT, **more})


def view(*daemons: FleetDaemon, **more: Any) -> FleetView:
    known: dict[str, Any] = {"at": AT, "offset": timedelta(0), "held": (), "waiting": ()}
    return FleetView(**{**known, "daemons": daemons, **more})


def test_daemons_that_are_alike_need_nobody() -> None:
    """Commands that only write may be set as they like; an upload that waits its turn is no trouble."""
    waiting = [UnitsWaiting(kind=UnitKind.SUBMIT, count=9, since=AT - timedelta(hours=1))]
    other = daemon("c", works=False, settings={"retry.max_attempts": "9"}, version="2")
    fleet = view(daemon("a"), daemon("b"), other, waiting=waiting)
    assert list(fleet_attentions(fleet)) == []
    assert alive_count(fleet) == 2


@pytest.mark.parametrize(
    ("fleet", "words"),
    [
        (view(daemon("a", seen_at=AT - timedelta(seconds=40))), "a was last heard of 40s ago"),
        (
            view(daemon("a"), daemon("b", settings={**ALIKE, "limits.max_uploads": "8"}), daemon("c")),
            "settings differ: limits.max_uploads (a, c 4; b 8)",
        ),
        (
            view(daemon("a"), daemon("b", settings={**ALIKE, "retry.max_attempts": "9", "webhooks": "#0b"})),
            "settings differ: retry.max_attempts (a 5; b 9), webhooks (a; b)",
        ),
        (view(daemon("a"), daemon("b", version="1.1")), "versions differ: a 1.0; b 1.1"),
        (view(daemon("a"), daemon("a", pid=2)), "a is the name of several daemons"),
        (view(daemon("a"), offset=timedelta(seconds=7)), "the clock of this machine is 7s behind the database's"),
        (view(daemon("a"), offset=timedelta(seconds=-7)), "the clock of this machine is 7s ahead of the database's"),
        (
            view(daemon("a"), waiting=[UnitsWaiting(kind=UnitKind.STAGE, count=2, since=AT - timedelta(minutes=5))]),
            "2 stages are nobody's, one of them for 5m",
        ),
    ],
)
def test_what_is_not_as_it_should_is_told(fleet: FleetView, words: str) -> None:
    """Each in one sentence; a sign of life comes every five seconds."""
    assert list(fleet_attentions(fleet)) == [words]
    assert fleet_lines_of(fleet)[-1] == f"attention  {words}"


def test_a_daemon_that_does_not_know_a_setting_differs_in_nothing_by_it() -> None:
    """Another version has other settings: that the versions differ is told already."""
    assert list(fleet_attentions(view(daemon("a"), daemon("b", settings={"limits.max_uploads": "4"})))) == []
    assert list(fleet_attentions(view(daemon("a"), daemon("b", settings={})))) == []


def test_who_is_silent_is_called_so_where_it_is_listed() -> None:
    """The title counts who is alive, so the list says which of its lines are not counted."""
    silent = daemon("a", seen_at=AT - timedelta(seconds=40))
    assert fleet_lines_of(view(silent, daemon("b")))[:3] == [
        "fleet      1 daemon",
        "           a  silent; version 1.0",
        "           b  version 1.0",
    ]


def fleet_lines_of(fleet: FleetView) -> list[str]:
    return list(fleet_lines(FleetAnswerView.of(fleet)))


def test_the_screen_of_status() -> None:
    """Who works, what each holds, and what waits; who holds nothing is there as well."""
    held = [
        Held(kind=UnitKind.STAGE, what="poll", daemon="a", since=AT),
        Held(kind=UnitKind.STAGE, what="plan", daemon="a", since=AT),
        Held(kind=UnitKind.SUBMIT, what="7", daemon="a", since=AT),
        Held(kind=UnitKind.COLLECT, what="3", daemon="b", since=AT),
        Held(kind=UnitKind.COLLECT, what="4", daemon="b", since=AT),
    ]
    waiting = [UnitsWaiting(kind=UnitKind.SUBMIT, count=9, since=AT - timedelta(seconds=4))]
    fleet = view(daemon("a"), daemon("b"), daemon("c"), daemon("d", works=False), held=held, waiting=waiting)
    assert fleet_lines_of(fleet) == [
        "fleet      3 daemons; waiting: 9 to send for 4s",
        "           a  version 1.0; holds plan, poll; sends 1 batch",
        "           b  version 1.0; downloads 2 batches",
        "           c  version 1.0",
    ]
    shown = render("parts/fleet-daemons.html", engine_pages.fleet_facts(fleet))
    assert [words in shown for words in ("batch 7", "batch 3", "batch 4", "batches to send", "3 daemons")] == [True] * 5
    assert shown.count(">command</span>") == 1
    answer = FleetAnswerView.of(fleet)
    assert [(each.name, each.stages, [unit.batch for unit in each.uploads]) for each in answer.daemons[:2]] == [
        ("a", ["plan", "poll"], [7]),
        ("b", [], []),
    ]


def values(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {each.name: each.value for family in families for each in family.samples if not each.labels}


@pytest.mark.postgres
def test_every_daemon_shows_all_of_them(url: str, tmp_path: Path) -> None:
    """As JSON, as a page that is in the navigation, in Prometheus's form, and in `doctor`."""

    async def check() -> None:
        with running_api() as api:
            async with (
                served(fleet_settings(url, api, tmp_path, "A")) as a,
                served(fleet_settings(url, api, tmp_path, "B", LIMITS__MAX_UPLOADS="3")) as b,
            ):
                await every_stage_is_held(a.client)
                for client in (a.client, b.client):
                    answer = (await client.get("/api/v1/fleet")).json()
                    assert answer["fleet"] is True
                    assert [each["name"] for each in answer["daemons"]] == ["A", "B"]
                    assert answer["attention"] == ["settings differ: limits.max_uploads (A 4; B 3)"]
                    page = (await client.get("/fleet")).text
                    assert "settings differ: limits.max_uploads (A 4; B 3)" in page
                    assert all(f"<b>{name}</b>" in page for name in "AB")
                    assert "<span>Fleet</span>" in (await client.get("/")).text
                    told = values((await client.get("/metrics")).text)
                    assert told["orchestrator_daemons"] == 2
                    assert told["orchestrator_turn_wait_seconds_count"] > 0
                    checks = (await client.get("/api/v1/doctor")).json()["checks"]
                    assert {"2 daemons on this store"} <= {each["fact"] for each in checks}
                    assert (await client.get("/readyz")).status_code == 200

    asyncio.run(check())


async def every_stage_is_held(client: httpx2.AsyncClient) -> None:
    """Every stage is somebody's."""

    async def are_held() -> bool:
        return len(stages_of((await client.get("/api/v1/fleet")).json())) == 10

    await until(are_held, within_s=30)


def stages_of(answer: dict[str, Any]) -> list[str]:
    return [stage for daemon in answer["daemons"] for stage in daemon["stages"]]


class JumpingClock(FleetClock):
    """A clock that a test sets forward."""

    ahead = timedelta(0)

    def elapsed(self) -> timedelta:
        return super().elapsed() + self.ahead


@pytest.mark.postgres
def test_a_daemon_that_no_unit_would_reach_is_not_ready(url: str) -> None:
    """The store may answer and its own stages go round: what is handed in would not be worked on by it."""

    async def check() -> None:
        clock = JumpingClock()
        a = Daemon(url, "a", clock=clock)
        dispatcher = a.dispatcher()
        working = asyncio.create_task(dispatcher.run(a.units, a.stop))
        await world_until(lambda: a.units.held == {"plan", "poll", "place"}, "every stage is held")
        assert dispatcher.trouble is None
        clock.ahead = timedelta(seconds=40)  # as if no beat had come through for so long
        assert "the queue has not been worked on for 4" in str(dispatcher.trouble)
        a.stop.set()
        await working

    asyncio.run(check())


@pytest.mark.postgres
def test_a_store_that_nobody_has_worked_on_has_a_fleet_of_none(new_database: Callable[[], str]) -> None:
    """As `db move` and `db migrate` leave it: without the queue's tables, which the first daemon makes."""
    url = new_database()
    make_schema(url)

    async def look() -> FleetView:
        async with FleetDatabase(url=url).pool("test", most=1) as pool:
            return await view_fleet(pool)

    assert fleet_lines_of(asyncio.run(look())) == ["fleet      0 daemons"]
