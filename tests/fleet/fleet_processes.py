"""Real daemons on one PostgreSQL and one API, and what they may be put through."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import httpx2
import psycopg
from fleet.fleet_world import connected
from support.forked import DEVNULL, Process, run, start
from support.processes import Api, program_env

from orchestrator.config import database_sockets

#: What waits for so long has failed, whatever else the machine has to do.
PATIENCE_S: Final = 400.0
#: Batches of twenty; looks are close together; the API loses what is said below.
SETTINGS: Final = {
    "FLEET__HEARTBEAT": "4s",
    "BATCHING__MAX_REQUESTS": "20",
    "BATCHING__LINGER": "0s",
    "LIMITS__POLL_INTERVAL": "0.2s",
    "LIMITS__POLL_INTERVAL_MAX": "0.5s",
    "API__DELETE_AFTER_COLLECT": "false",
}
_HOLDERS: Final = """
SELECT daemon.name, count(*) FROM pgqueuer JOIN daemon ON daemon.queue_id = pgqueuer.queue_manager_id
 WHERE pgqueuer.status = 'picked' AND entrypoint LIKE 'stage.%' GROUP BY 1
"""
_OPEN: Final = "SELECT count(*) FROM job WHERE state NOT IN ('finished', 'canceled')"
_STAGES: Final = 10


def moment() -> None:
    """Between two looks at what is waited for."""
    time.sleep(0.05)


def until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Until *condition* is true; fails after *patience_s*."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        moment()


@dataclass(slots=True)
class Host:
    """One daemon, over all its lives. url: its own way to the database; api_url: its own way to the API."""

    name: str
    url: str
    api_url: str
    log: IO[bytes]
    process: Process | None = None

    @property
    def alive(self) -> Process:
        """Its process."""
        assert self.process is not None
        return self.process


@dataclass(slots=True)
class Cluster:
    """Daemons on the database *url* and the API *api*; *folder* is theirs.

    more: settings of all of them. own: by a daemon's name, what stands in its environment alone.
    """

    url: str
    api: Api
    folder: Path
    more: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    own: dict[str, dict[str, str]] = field(default_factory=dict)
    _asked: psycopg.Connection | None = None

    def env(self, host: Host | None = None) -> dict[str, str]:
        """The environment of a command, or of the daemon *host*."""
        named = {} if host is None else {"FLEET__NAME": host.name}
        url, api_url = (self.url, self.api.base_url) if host is None else (host.url, host.api_url)
        found = program_env(api_url, self.folder, DATABASE__URL=url, **{**SETTINGS, **self.more, **named})
        return found if host is None else {**found, **self.own.get(host.name, {})}

    def up(self, name: str, url: str | None = None, api_url: str | None = None) -> Host:
        """Start the daemon *name*, anew if it was there before. url, api_url: its own ways, if it has any."""
        host = self.hosts.get(name)
        if host is None:
            log = (self.folder / f"{name}.log").open("ab")
            host = self.hosts[name] = Host(name, url or self.url, api_url or self.api.base_url, log)
        words, env = ("-v", "serve", "--listen", ""), self.env(host)
        fresh = name in self.own  # it may be another program, or under another clock
        host.process = start(
            "orchestrator", *words, env=env, cwd=self.folder, stdin=DEVNULL, stderr=host.log, is_fresh=fresh
        )
        return host

    def client(self, name: str) -> httpx2.Client:
        """A client that asks the daemon *name* alone, over its socket."""
        host = self.hosts[name]
        folder, prefix = database_sockets(host.url, self.env(host))
        transport = httpx2.HTTPTransport(uds=str(folder / f"{prefix}-{host.alive.pid}.sock"))
        return httpx2.Client(transport=transport, base_url="http://engine/api/v1", timeout=PATIENCE_S)

    def down(self) -> None:
        """End them all, whatever state they are in."""
        self._hang_up()
        for host in self.hosts.values():
            host.alive.send_signal(signal.SIGCONT)
            host.alive.kill()
            host.alive.wait()
            host.log.close()

    def submit(self, count: int, size: Callable[[int], int] = lambda _: 0, *, first: int = 0) -> None:
        """Hand in a job of *count* requests, each unlike the others; their numbers begin with *first*.

        size: how much to add to each, in bytes.
        """
        source = self.folder / f"requests-{first}.jsonl"
        write_requests(source, range(first, first + count), size)
        done = run("orchestrator", "submit", str(source), env=self.env(), timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr.decode()

    def ask(self, sql: str) -> Sequence[tuple[Any, ...]]:
        """The answer of the database, which may be down, or without its tables, for a while."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                # Kept open: a wait asks many times, and a new connection costs more than its answer.
                self._asked = self._asked or connected(self.url)
                return self._asked.execute(sql.encode()).fetchall()
            except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
                self._hang_up()
            moment()
        raise AssertionError("the database did not come back")

    def _hang_up(self) -> None:
        if self._asked is not None:
            self._asked.close()
            self._asked = None

    def number(self, sql: str) -> int:
        """The answer, a number."""
        return int(self.ask(sql)[0][0])

    def holders(self) -> Counter[str]:
        """How many stages each daemon holds."""
        return Counter(dict(self.ask(_HOLDERS)))

    def begun(self) -> bool:
        """Whether every stage is somebody's, of daemons that must all live."""
        for host in self.hosts.values():
            assert host.alive.poll() is None, (self.folder / f"{host.name}.log").read_text()
        return self.settled()

    def settled(self) -> bool:
        """Whether every stage is somebody's."""
        return self.holders().total() == _STAGES

    def is_over(self) -> bool:
        """Whether every job is."""
        return self.number(_OPEN) == 0

    def said(self, words: str) -> int:
        """How often any daemon has said *words* in its log."""
        return sum(self.said_by(name, words) for name in self.hosts)

    def said_by(self, name: str, words: str) -> int:
        """How often the daemon *name* has."""
        return (self.folder / f"{name}.log").read_text().count(words)

    def books(self) -> Counter[str]:
        """The API's own: how often each request was billed."""
        return Counter(str(row["params_sha256"]) for row in self.api.ledger() if row["billed"])


def write_requests(path: Path, numbers: Iterable[int], size: Callable[[int], int] = lambda _: 0) -> None:
    """Make the input *path*, with a request for each of *numbers*; *size* more bytes in each."""
    path.write_text("".join(line_of(n, size(n)) for n in numbers))


def line_of(number: int, more: int = 0) -> str:
    """The request *number* as a line of an input, with *more* bytes."""
    return f"{json.dumps(_request(number, more))}\n"


@contextmanager
def cluster(url: str, api: Api, folder: Path, names: Sequence[str], **more: str) -> Iterator[Cluster]:
    """Daemons that are up; they are killed at the end."""
    made = Cluster(url, api, folder, dict(more))
    try:
        for name in names:
            made.up(name)
        if names:
            until(made.begun, "every stage is held")
        yield made
    finally:
        made.down()


def _request(number: int, more: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"number {number}{'x' * more}"}]
    return {"custom_id": f"r{number}", "params": {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": messages}}
