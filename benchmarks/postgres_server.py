"""The PostgreSQL server that `fleet` measures on: one that keeps what it is told, of our own, or the one of `--db`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import ROOT, cpu_s_of, stat_of
from benchmarks.outcome import LeftOut, Options

#: As on a machine that has work to do, and whose power may fail.
SETTINGS: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "wal_level": "replica",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
}


@dataclass(frozen=True, slots=True)
class Server:
    """An empty database on a server."""

    url: str

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """What it answers; names are looked up in the store's schema."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True, options="-c search_path=orchestrator") as connection:
            answer = connection.execute(sql.encode())
            return answer.fetchall() if answer.description else []

    def clear(self) -> None:
        """Take the store away that lies there."""
        self.ask("DROP SCHEMA IF EXISTS orchestrator CASCADE")

    @property
    def name(self) -> str:
        """The program, with its version."""
        return "PostgreSQL " + str(self.ask("SHOW server_version")[0][0]).split()[0]

    def cpu_s(self) -> float | None:
        """What all of its processes have used so far, in seconds; None if they are not on this machine."""
        import psycopg

        with psycopg.connect(self.url) as connection:
            pid = connection.info.backend_pid
            if "postgres" not in _command(pid):
                return None
            head = int(stat_of(pid)[1])
            # The living first: what one that ends meanwhile has used is then in its parent's figure.
            return sum(map(_cpu_s_if_alive, _children(head))) + cpu_s_of(head, reaped=True)


def _cpu_s_if_alive(pid: int) -> float:
    try:
        return cpu_s_of(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def _command(pid: int) -> str:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_bytes().decode(errors="replace") if path.exists() else ""


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


@contextmanager
def server(options: Options) -> Iterator[Server]:
    """That of `--db`, which must be empty, or one of our own whose files lie on a disk. Raises LeftOut."""
    if options.db is not None:
        given = Server(options.db)
        if given.ask("SELECT 1 FROM pg_namespace WHERE nspname = 'orchestrator'"):
            raise LeftOut("a store lies in that database")
        yield given
        return
    sys.path.insert(0, str(ROOT / "tests"))
    from support.postgres import NoPostgres, await_end, join_server

    try:
        own = join_server(options.work / "postgres", SETTINGS, on_disk=True)
    except NoPostgres as why:
        raise LeftOut(f"no PostgreSQL ({why})") from None
    try:
        yield Server(own.url)
    finally:
        own.leave()
        await_end(options.work / "postgres")
