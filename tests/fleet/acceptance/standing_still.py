"""A daemon stands still for a minute (SIGSTOP) at one exact point; then it wakes. Acceptance check 6.

`PYTHONPATH=tests:. python -m fleet.acceptance.standing_still [POINT …]` prints a line of figures for each point. How
long until the other daemon holds every stage, and has ended a job that was handed in after the stop; then who disturbed
whom when the sleeper woke, and what the API's books say.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
from fleet.fleet_processes import Cluster, Host, cluster, until, write_requests
from support.forked import DEVNULL, Process, start
from support.postgres import PostgresServer, join_server
from support.processes import Api, running_api
from support.windows import Window

COUNT: Final = 600
STILL_S: Final = 60.0
_STORED: Final = "SELECT count(*) FROM result"
_DOUBTS: Final = "SELECT count(*) FROM event WHERE new = 'in_doubt'"
_TURN: Final = """
SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
 WHERE locktype = 'advisory' AND objid = 1330791240 AND granted AND usename = 'sleeper'
"""
_COPY: Final = "SELECT FROM pg_stat_progress_copy JOIN pg_stat_activity USING (pid) WHERE usename = 'sleeper'"
_LATEST: Final = "SELECT count(*) FROM job WHERE state = 'finished' AND id = (SELECT max(id) FROM job)"
_MORE: Final = {"FLEET__HEARTBEAT": "10s", "LIMITS__MAX_IN_FLIGHT_BATCHES": "12"}


def stop_when(server: PostgresServer, process: Process, sql: str) -> None:
    """Stop *process* while the server sees it as *sql* says."""
    with psycopg.connect(server.url, autocommit=True) as look:
        while True:
            assert process.poll() is None
            if look.execute(sql.encode()).fetchone() is None:
                continue
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.05)
            if look.execute(sql.encode()).fetchone() is not None:
                return
            process.send_signal(signal.SIGCONT)


def turn(daemons: Cluster, server: PostgresServer, api: Api) -> Process:
    """In the turn of the whole fleet."""
    daemons.submit(COUNT)
    stop_when(server, daemons.hosts["A"].alive, _TURN)
    return daemons.hosts["A"].alive


def copying(daemons: Cluster, server: PostgresServer, api: Api) -> Process:
    """While results are copied in."""
    daemons.submit(COUNT)
    stop_when(server, daemons.hosts["A"].alive, _COPY)
    return daemons.hosts["A"].alive


def importing(daemons: Cluster, server: PostgresServer, api: Api) -> Process:
    """Not a daemon: a `submit` that copies its requests in."""
    source = daemons.folder / "large.jsonl"
    write_requests(source, range(20_000))
    command = start("orchestrator", "submit", str(source), env=daemons.env(daemons.hosts["A"]), stdin=DEVNULL)
    stop_when(server, command, _COPY)
    return command


def stage(daemons: Cluster, server: PostgresServer, api: Api) -> Process:
    """While it holds stages, and does nothing."""
    until(lambda: daemons.holders()["A"] > 0, "it holds a stage")
    daemons.hosts["A"].alive.send_signal(signal.SIGSTOP)
    return daemons.hosts["A"].alive


def intent(daemons: Cluster, server: PostgresServer, api: Api) -> Process:
    """After its intent, at the first bytes of the body."""
    return _posting(daemons, api, Window.INTENT)


def answered(daemons: Cluster, server: PostgresServer, api: Api) -> Process:
    """After the answer to its POST, before that is stored."""
    return _posting(daemons, api, Window.ANSWERED)


def _posting(daemons: Cluster, api: Api, window: Window) -> Process:
    sleeper, other = daemons.hosts["A"].alive, daemons.hosts["B"].alive
    other.terminate()  # the POST is the sleeper's
    other.wait()
    api.arm(window, sleeper.pid, number=signal.SIGSTOP)
    daemons.submit(20)
    until(lambda: api.strike()["struck"], "it stands still")
    daemons.up("B")
    return sleeper


POINTS: Final = (turn, copying, importing, stage, intent, answered)


def check(point: Callable[[Cluster, PostgresServer, Api], Process], server: PostgresServer, folder: Path) -> str:
    """One point: figures."""
    database = server.new_database()
    folder.mkdir()
    with running_api(speed=300) as api, cluster(database, api, folder, "", **_MORE) as daemons:
        daemons.up("A", database.replace("postgres@", "sleeper@"))
        until(daemons.settled, "every stage is held")
        daemons.up("B")
        until(lambda: daemons.number("SELECT count(*) FROM daemon") == 2, "both are there")
        sleeper = point(daemons, server, api)
        stopped = time.monotonic()
        daemons.submit(20, first=1_000_000)
        handed_in = time.monotonic() - stopped
        held = over = 0.0
        is_daemon = sleeper is daemons.hosts["A"].alive
        while (left := stopped + STILL_S - time.monotonic()) > 0:
            if not held and (not is_daemon or daemons.holders()["B"] == 10):
                held = time.monotonic() - stopped
            if not over and daemons.number(_LATEST):
                over = time.monotonic() - stopped
            time.sleep(min(0.2, left))
        disturbed = _lines(daemons.hosts["B"], "stage.left")
        sleeper.send_signal(signal.SIGCONT)
        if not is_daemon:
            sleeper.wait()
        until(daemons.is_over, "the jobs are over", 400)
        time.sleep(3)
        books = daemons.books()
        return (
            f"{point.__name__}: handed in after {handed_in:.1f} s, every stage held by the other after {held:.1f} s, "
            f"that job over after {over:.1f} s; woken: exit {sleeper.poll()}, the other left "
            f"{_lines(daemons.hosts['B'], 'stage.left') - disturbed} stages; billed {books.total()} of "
            f"{len(books)}, stored {daemons.number(_STORED)}, doubts {daemons.number(_DOUBTS)}, "
            f"unit.failed {daemons.said('unit.failed')}, unreachable {daemons.said('store.unreachable')}, "
            f"taken over {daemons.said('unit.taken_over')}, tracebacks {daemons.said('Traceback')}"
        )


def _lines(host: Host, words: str) -> int:
    return Path(host.log.name).read_text().count(words)


def main() -> int:
    """The command."""
    named = sys.argv[1:] or [point.__name__ for point in POINTS]
    folder = Path(tempfile.mkdtemp(prefix="still-"))
    server = join_server(folder / "postgres")
    try:
        server.execute("CREATE ROLE sleeper SUPERUSER LOGIN")
        for point in POINTS:
            if point.__name__ in named:
                sys.stdout.write(check(point, server, folder / point.__name__) + "\n")
                sys.stdout.flush()
    finally:
        server.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
