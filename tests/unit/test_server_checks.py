"""What is said of a PostgreSQL server: acceptance check 19; each trouble is named, with a remedy."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from orchestrator.ports.server_facts import DeadRows, ServerFacts, Standby, StorePlace
from orchestrator.views.health_checks import FAIL, OK, WARN
from orchestrator.views.server_checks import server_findings

SOUND: Final = ServerFacts(
    answer=timedelta(milliseconds=1.4),
    version=150_018,
    encoding="UTF8",
    may_create=True,
    unsafe=(),
    standbys=(),
    sync_names="",
    offset=timedelta(seconds=-4),
    free_connections=8,
    is_notified=True,
    queue=(),
    dead=(DeadRows(table="job", live=10_000, dead=49_000), DeadRows(table="pgqueuer", live=0, dead=20_000)),
    place=StorePlace.OWN,
    schema=1,
    known=1,
)
ASYNC, SYNC, HIDDEN = (Standby(name="b", is_sync=state) for state in (False, True, None))


def verdicts(**changes: Any) -> dict[str, str]:
    """By check, of a server that is sound but for *changes*; whatever is not well has a remedy."""
    findings = list(server_findings(replace(SOUND, **changes)))
    assert all((found.remedy is None) == (found.verdict == OK) for found in findings)
    assert all((found.exit_code == 8) == (found.verdict == FAIL) for found in findings)
    return {found.check: found.verdict for found in findings}


def test_a_sound_server_has_nothing_to_mend() -> None:
    """Six looks, and not a word more."""
    checks = ["server", "durability", "clock", "connections", "notify", "queue"]
    assert verdicts() == dict.fromkeys(checks, OK)
    told = next(server_findings(SOUND))
    assert told.fact == "PostgreSQL 15.18, answers within 1 ms"


@pytest.mark.parametrize(
    ("changes", "check", "verdict"),
    [
        ({"version": 130_020}, "server", FAIL),
        ({"encoding": "SQL_ASCII"}, "encoding", FAIL),
        ({"may_create": False}, "rights", FAIL),
        ({"schema": 2}, "schema", FAIL),
        ({"schema": 1, "known": 2}, "schema", WARN),
        ({"place": StorePlace.FOREIGN}, "place", FAIL),
        ({"place": StorePlace.COPIED}, "place", FAIL),
        ({"place": StorePlace.OLDER}, "place", WARN),
        ({"unsafe": ("fsync = off",)}, "durability", FAIL),
        ({"offset": timedelta(seconds=6)}, "clock", WARN),
        ({"offset": timedelta(seconds=-6)}, "clock", WARN),
        ({"free_connections": 7}, "connections", FAIL),
        ({"free_connections": -1}, "connections", FAIL),
        ({"is_notified": False}, "notify", FAIL),
        ({"queue": ("ALTER TABLE",)}, "queue", WARN),
        ({"dead": (DeadRows(table="job", live=10_000, dead=50_001),)}, "vacuum", WARN),
    ],
)
def test_what_is_wrong_is_named_alone(changes: dict[str, Any], check: str, verdict: str) -> None:
    """One thing that is wrong, one finding that differs."""
    found = verdicts(**changes)
    assert found.pop(check) == verdict
    assert set(found.values()) <= {OK}


@pytest.mark.parametrize(
    ("standbys", "names", "verdict"),
    [
        ((ASYNC,), "", FAIL),
        ((ASYNC, ASYNC), "", FAIL),
        ((HIDDEN,), "", FAIL),
        ((SYNC,), "b", OK),
        ((ASYNC, SYNC), "ANY 1 (b, c)", OK),
        ((HIDDEN,), "b", OK),
        ((), "b", FAIL),
        ((ASYNC,), "c", FAIL),
    ],
)
def test_a_standby_that_may_lack_intents_is_refused(standbys: tuple[Standby, ...], names: str, verdict: str) -> None:
    """Promise 2: promoted, it would send again what it does not know of."""
    assert verdicts(standbys=standbys, sync_names=names)["standbys"] == verdict


def test_without_a_queue_yet_there_is_nothing_to_say_of_it() -> None:
    """The first engine makes it."""
    assert "queue" not in verdicts(queue=None, schema=None, place=StorePlace.EMPTY)
