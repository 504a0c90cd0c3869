"""The daemon that reads an upload is killed in the middle, while another reads one as well. Acceptance check 16.

`PYTHONPATH=tests:. python -m fleet.acceptance.killed_upload` prints a line of figures: when what the killed one had
read is gone, and what the API's books say. The other upload is let alone; a repetition with the same key is a job.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2
from fleet.acceptance import server_in_folder
from fleet.fleet_processes import Cluster, cluster, line_of, until
from support.postgres import PostgresServer
from support.processes import running_api

COUNT: Final = 20_000
_GONE_WITHIN_S: Final = 120.0
_BLOCK: Final = 200
_MORE: Final = {"FLEET__HEARTBEAT": "10s", "BATCHING__MAX_REQUESTS": "1000"}
_READ: Final = "SELECT count(*) FROM job WHERE state = 'importing' AND total > 4000"
_LEFT: Final = "SELECT count(*) FROM job WHERE state = 'importing' AND public_id = '{}'"
_REQUESTS: Final = "SELECT count(*) FROM request"
_JOBS: Final = "SELECT public_id, total, succeeded FROM job ORDER BY total, public_id"


@dataclass
class Upload(threading.Thread):
    """Hands in a job through *client*: half of it at once, the rest when it `may_end`.

    trickles: before that some lines come every three seconds. status: of the answer; None if there was none.
    """

    client: httpx2.Client
    key: str
    first: int
    trickles: bool = False
    may_end: threading.Event = field(default_factory=threading.Event)
    status: int | None = None

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Until it is answered, or broken off."""
        headers = {"content-type": "application/x-ndjson", "idempotency-key": self.key}
        try:
            answer = self.client.post("/jobs", params={"name": self.key}, content=self._body(), headers=headers)
        except httpx2.TransportError:
            return
        self.status = answer.status_code

    def _body(self) -> Iterator[bytes]:
        blocks = [range(at, at + _BLOCK) for at in range(self.first, self.first + COUNT, _BLOCK)]
        for number, block in enumerate(blocks):
            if number >= len(blocks) // 2:
                self.may_end.wait(3 if self.trickles else None)
            yield "".join(map(line_of, block)).encode()


def check(server: PostgresServer, folder: Path) -> str:
    """Figures, or an AssertionError."""
    with running_api(speed=300) as api, cluster(server.new_database(), api, folder, "AB", **_MORE) as daemons:
        killed = Upload(daemons.client("A"), "killed", 0)
        other = Upload(daemons.client("B"), "other", 1_000_000, trickles=True)
        for upload in (killed, other):
            upload.start()
        until(lambda: daemons.number(_READ) == 2, "both are read")
        left = _LEFT.format(daemons.ask("SELECT public_id FROM job WHERE name = 'killed'")[0][0])
        daemons.hosts["A"].alive.kill()
        daemons.hosts["A"].alive.wait()
        began = time.monotonic()
        again = Upload(daemons.client("B"), "killed", 0)
        again.may_end.set()
        again.start()
        again.join()
        repeated = time.monotonic() - began
        until(lambda: daemons.number(left) == 0, "what it had read is gone", _GONE_WITHIN_S)
        gone = time.monotonic() - began
        assert other.is_alive(), other.status
        other.may_end.set()
        other.join()
        return f"{_finished(daemons, killed, again, other)}, repeated after {repeated:.1f} s, gone after {gone:.1f} s"


def _finished(daemons: Cluster, killed: Upload, again: Upload, other: Upload) -> str:
    assert (killed.status, again.status, other.status) == (None, 201, 201), (killed.status, again.status, other.status)
    until(daemons.is_over, "the jobs are over", 400)
    jobs = [(total, succeeded) for _, total, succeeded in daemons.ask(_JOBS)]
    books = daemons.books()
    assert jobs == [(COUNT, COUNT)] * 2, jobs
    assert books.total() == len(books) == daemons.number(_REQUESTS) == 2 * COUNT, (books.total(), len(books))
    return f"billed {books.total()} of {len(books)}, tracebacks {daemons.said_by('B', 'Traceback')}"


def main() -> int:
    """The command."""
    with server_in_folder("upload-") as (server, folder):
        sys.stdout.write(check(server, folder) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
