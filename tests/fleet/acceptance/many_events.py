"""Ten thousand events of two daemons, heard by who follows one of them, and by who hops. Acceptance check 15.

`PYTHONPATH=tests:. python -m fleet.acceptance.many_events` prints a line of figures: every event once, in order.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Final

import httpx2
from fleet.acceptance import server_in_folder
from fleet.fleet_processes import Cluster, cluster, line_of, until
from support.postgres import PostgresServer
from support.processes import running_api

EVENTS: Final = 10_000
#: Who hops goes to the other daemon after so many.
_HOPS_AFTER: Final = 500
_MORE: Final = {"BATCHING__MAX_REQUESTS": "1", "LIMITS__MAX_IN_FLIGHT_BATCHES": "200", "LIMITS__MAX_UPLOADS": "8"}
_NUMBERS: Final = "SELECT id FROM event ORDER BY id"
_NEWEST: Final = "SELECT count(*) FROM event"
_SSE: Final = "id: "


class Watcher(threading.Thread):
    """Follows the events from the first on, at one of *clients* after the other; *heard* grows."""

    def __init__(self, *clients: httpx2.Client, hops_after: int | None) -> None:
        super().__init__(daemon=True)
        self.heard: list[int] = []
        self._clients = clients
        self._hops_after = hops_after

    def run(self) -> None:
        """Until the daemons are gone."""
        try:
            for client in cycle(self._clients):
                self._follow(client)
        except httpx2.TransportError:
            return

    def _follow(self, client: httpx2.Client) -> None:
        headers = {"last-event-id": str(self.heard[-1] if self.heard else 0)}
        with client.stream("GET", "/events/stream", headers=headers) as answer:
            numbers = _numbers(answer)
            next(numbers)  # where it begins
            for count, number in enumerate(numbers, 1):
                self.heard.append(number)
                if count == self._hops_after:
                    return


def _numbers(answer: httpx2.Response) -> Iterator[int]:
    return (int(line[len(_SSE) :]) for line in answer.iter_lines() if line.startswith(_SSE))


def work(daemons: Cluster) -> float:
    """Have B make events, by batches of one request and by a job that pauses and goes on; for how many seconds."""
    began = time.monotonic()
    with daemons.client("B") as b:
        body = "".join(map(line_of, range(1000)))
        b.post("/jobs?name=work", content=body, headers={"content-type": "application/x-ndjson"}).raise_for_status()
        b.post("/jobs?name=open&open=1", content=line_of(10**6), headers={"content-type": "application/x-ndjson"})
        while daemons.number(_NEWEST) < EVENTS:
            for what in ("pause", "resume") * 20:
                b.post(f"/jobs/open/{what}").raise_for_status()
    return time.monotonic() - began


def check(server: PostgresServer, folder: Path) -> str:
    """Figures, or an AssertionError."""
    with running_api(speed=300) as api, cluster(server.new_database(), api, folder, "AB", **_MORE) as daemons:
        stays = Watcher(daemons.client("A"), hops_after=None)
        hops = Watcher(daemons.client("A"), daemons.client("B"), hops_after=_HOPS_AFTER)
        for watcher in (stays, hops):
            watcher.start()
        took = work(daemons)
        numbers = [number for (number,) in daemons.ask(_NUMBERS)]
        until(lambda: all(w.heard and w.heard[-1] >= numbers[-1] for w in (stays, hops)), "all is heard")
        for watcher in (stays, hops):
            assert watcher.heard[: len(numbers)] == numbers, _difference(watcher.heard, numbers)
        return (
            f"{len(numbers)} events in {took:.0f} s; heard once and in order by who stayed at A, and by who hopped "
            f"{len(numbers) // _HOPS_AFTER} times; tracebacks {daemons.said('Traceback')}"
        )


def _difference(heard: list[int], there: list[int]) -> str:
    missing = sorted(set(there) - set(heard))[:10]
    return f"missing {missing}, twice {len(heard) - len(set(heard))}, in order {heard == sorted(heard)}"


def main() -> int:
    """The command."""
    with server_in_folder("events-") as (server, folder):
        sys.stdout.write(check(server, folder) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
