"""PostgreSQL's disk fills up under two daemons, its tables' and then its log's, and gets room again. Needs root.

`PYTHONPATH=tests:. python -m fleet.acceptance.full_disk` prints a line for each disk. Nothing new is sent meanwhile,
`status` answers as far as the server does, and the daemons go on by themselves.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg
from fleet.fleet_processes import Cluster, cluster, until
from support.forked import run
from support.postgres import NoPostgres, PostgresServer, join_server
from support.processes import Api, running_api

COUNT: Final = 1200
_STORED: Final = "SELECT count(*) FROM result"
_DOUBTS: Final = "SELECT count(*) FROM event WHERE new = 'in_doubt'"
_FOUND: Final = ("store.full", "store.unreachable", "fleet.database_away")
_LOOKED_AT_S: Final = 15.0
_SMALL_LOG: Final = {"max_wal_size": "32MB", "min_wal_size": "32MB"}


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A disk of its own that the server may write to."""
    with tempfile.TemporaryDirectory(prefix="disk-") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", name], check=True)
        try:
            subprocess.run(["chown", "postgres:postgres", name], check=True)
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left; the file that does."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 14)):
            pass
    return ballast


def tables(server: PostgresServer, disk: Path) -> str:
    """A database whose tables lie on *disk*."""
    server.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
    server.execute("CREATE DATABASE small TABLESPACE small TEMPLATE template0")
    return server.url_of("small")


def journal(server: PostgresServer, disk: Path) -> str:
    """A database whose server has its log on *disk*."""
    database = server.new_database()
    server.control("stop")
    data = _data(server)
    subprocess.run(["cp", "-a", str(data / "pg_wal"), str(disk)], check=True)
    subprocess.run(["rm", "-r", str(data / "pg_wal")], check=True)
    (data / "pg_wal").symlink_to(disk / "pg_wal")
    server.control("start")
    return database


def _data(server: PostgresServer) -> Path:
    assert server.folder is not None
    return Path((server.folder / "server").read_text().splitlines()[0])


def check(what: Callable[[PostgresServer, Path], str], size: str, server: PostgresServer, folder: Path) -> str:
    """One disk: figures, or an AssertionError."""
    folder.mkdir()
    with (
        small_disk(size) as disk,
        running_api(speed=60, batch_seconds=[60, 300]) as api,
        cluster(what(server, disk), api, folder, "AB", LIMITS__MAX_IN_FLIGHT_BATCHES="8") as daemons,
    ):
        daemons.submit(COUNT)
        until(lambda: daemons.number(_STORED) > 0, "the first results are there")
        ballast = fill(disk)
        with suppress(psycopg.Error):  # what is left of the log's files is passed over
            for _ in range(10):
                server.execute("SELECT pg_switch_wal()")
                server.execute("CREATE TABLE more (); DROP TABLE more")
        until(lambda: any(map(daemons.said, _FOUND)), "a daemon finds it full")
        sent, told = _watched(daemons, api)
        ballast.unlink()
        with suppress(NoPostgres):  # it runs, if it was its tables that had no room
            server.control("start")
        began = time.monotonic()
        stored = daemons.number(_STORED)
        until(lambda: daemons.number(_STORED) > stored, "more is stored")
        again = time.monotonic() - began
        until(daemons.is_over, "the job is over", 400)
        books = daemons.books()
        assert books.total() == len(books) == daemons.number(_STORED) == COUNT, (books.total(), len(books))
        return (
            f"{what.__name__}: {sent} batches sent while full, `status` {told}, went on after {again:.1f} s, "
            f"billed {books.total()} of {COUNT}, doubts {daemons.number(_DOUBTS)}, "
            f"{', '.join(f'{words} {daemons.said(words)}' for words in (*_FOUND, 'unit.failed', 'Traceback'))}"
        )


def _watched(daemons: Cluster, api: Api) -> tuple[int, str]:
    """How many batches were sent while it was full, after what was under way; how `status` ended."""
    time.sleep(2)
    before = api.stats().batches_created
    time.sleep(_LOOKED_AT_S)
    done = run("orchestrator", "status", "--json", env=daemons.env(), timeout=60)
    for host in daemons.hosts.values():
        assert host.alive.poll() is None, host.name
    said = done.stderr.decode().strip().replace("\n", " | ")
    return api.stats().batches_created - before, f"exit {done.returncode} ({said})"


def main() -> int:
    """The command, of both disks or of those that are named."""
    with tempfile.TemporaryDirectory(prefix="full-") as name:
        Path(name).chmod(0o755)
        for what, size in ((tables, "24m"), (journal, "96m")):
            if sys.argv[1:] and what.__name__ not in sys.argv[1:]:
                continue
            server = join_server(Path(name) / f"postgres-{what.__name__}", _SMALL_LOG)
            try:
                sys.stdout.write(check(what, size, server, Path(name) / what.__name__) + "\n")
            finally:
                server.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
