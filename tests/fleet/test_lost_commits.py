"""Promises 2 and 13 of a fleet whose database goes back in time: a standby is promoted, a backup is restored."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fleet.fleet_processes import PATIENCE_S, Cluster, cluster, until
from support.forked import run
from support.postgres import COPIED, PostgresServer, find_programs
from support.processes import Api, running_api

pytestmark = [pytest.mark.postgres, pytest.mark.process, pytest.mark.timeout(900)]

COUNT = 160
#: Eight batches; they stay at the API until its time is told to pass.
SLOW = {"batch_seconds": [3600, 7200], "speed": 1}
STORED = "SELECT count(*) FROM result"
SENT = "SELECT count(*) FROM batch WHERE state = 'in_progress'"
SEARCHES = "SELECT kind FROM event WHERE kind IN ('store.behind', 'store.copied')"
#: Of a server that is restored to the moment when its backup was made.
TO_A_POINT = {"recovery_target": "immediate", "recovery_target_action": "promote", "restore_command": "'false'"}


def standby(primary: PostgresServer, make: Callable[..., PostgresServer]) -> PostgresServer:
    """An asynchronous one, which is cut off as it is now."""
    copy = make(original=primary, signal="standby")
    copy.execute("ALTER SYSTEM SET primary_conninfo = ''")
    copy.execute("SELECT pg_reload_conf()")
    return copy


def restored(primary: PostgresServer, make: Callable[..., PostgresServer]) -> PostgresServer:
    """A backup, restored to this moment: it has a timeline of its own."""
    return make(original=primary, signal="recovery", settings=TO_A_POINT)


def put_back(primary: PostgresServer, make: Callable[..., PostgresServer]) -> PostgresServer:
    """The files as they are now, as from a snapshot of the disk: nothing in the server tells it from the original."""
    return make(original=primary)


def either(one: PostgresServer, other: PostgresServer, database: str) -> str:
    """The URL of *database* on the first of the two that takes writes."""
    places = ",".join(urlsplit(each.url).netloc.partition("@")[2] for each in (one, other))
    return f"postgresql://postgres@{places}{urlsplit(database).path}?target_session_attrs=read-write"


def passes(api: Api) -> bool:
    """A minute of the API's time."""
    api.order("advance", seconds=60)
    return True


def end_well(daemons: Cluster, api: Api) -> None:
    """The job ends after a search at the API, and nothing was bought twice."""
    until(lambda: passes(api) and daemons.is_over(), "the job is over")
    assert daemons.ask(SEARCHES)
    assert daemons.number(STORED) == COUNT
    assert daemons.books().total() == len(daemons.books()) == COUNT


@pytest.mark.long
@pytest.mark.parametrize("copied", [standby, restored, put_back])
def test_commits_that_are_lost_end_every_daemon(
    copied: Callable[..., PostgresServer], own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    """Exit 8; the next start asks the API for what was sent, and buys none of it again."""
    primary = own_server(settings=COPIED)
    database = primary.new_database()
    with running_api(**SLOW) as api:
        with cluster(database, api, tmp_path, "A", LIMITS__MAX_IN_FLIGHT_BATCHES="3") as first:
            first.submit(COUNT)
            until(lambda: first.number(SENT) == 3, "the first batches are sent")
            copy = copied(primary, own_server)
        with cluster(either(primary, copy, database), api, tmp_path, "AB", **first.more) as daemons:
            until(lambda: passes(api) and api.stats().batches_created == 6, "others are sent, which the copy lacks")
            primary.control("stop")
            copy.execute("SELECT pg_is_in_recovery() AND pg_promote()")
            for host in daemons.hosts.values():
                assert host.alive.wait(PATIENCE_S) == 8, host.name
            assert daemons.said("has lost commits") == len(daemons.hosts)
            for name in "AB":
                daemons.up(name)
            end_well(daemons, api)


@pytest.mark.long
def test_a_dump_that_is_restored_is_a_copy_until_somebody_adopts_it(
    own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    """Refused with words, then taken into use: the API is asked first, and nothing is bought twice."""
    server = own_server()
    database, other = server.new_database(), server.new_database()
    with running_api(**SLOW) as api:
        with cluster(database, api, tmp_path, "A", LIMITS__MAX_IN_FLIGHT_BATCHES="3") as first:
            first.submit(COUNT)
            until(lambda: first.number(SENT) == 3, "the first batches are sent")
            dump = subprocess.run([find_programs() / "pg_dump", database], capture_output=True, check=True).stdout
            until(lambda: passes(api) and api.stats().batches_created == 6, "others are sent, which the dump lacks")
        subprocess.run([find_programs() / "psql", "-q", "-d", other], input=dump, capture_output=True, check=True)
        copy = Cluster(other, api, tmp_path, first.more)
        copy.up("C")
        assert copy.hosts["C"].alive.wait(PATIENCE_S) == 5
        assert copy.said("is a copy of a store") == 1
        copy.down()
        adopted = run("orchestrator", "db", "adopt-store", env=copy.env(), timeout=PATIENCE_S)
        assert adopted.returncode == 0, adopted.stderr.decode()
        with cluster(other, api, tmp_path, "AB", **first.more) as daemons:
            end_well(daemons, api)
