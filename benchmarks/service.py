"""Part `service`: a daemon that 200 clients poll while it takes an upload, sends, collects and gives a download."""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import inputs, program
from benchmarks.measure import PROGRAM, ROOT, api, clean_env, ended, kill, start
from benchmarks.outcome import Options, Outcome, Part

_CLIENTS: Final = 200
_TIMEOUT_S: Final = 1200.0
_BLOCK: Final = 1 << 20
_NDJSON: Final = {"content-type": "application/x-ndjson"}
_LATEST: Final = "/api/v1/jobs"
_VERSION: Final = "api_version=2023-06-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One job, from the first byte of its upload to its end, with a download of another job's results beside it."""

    work_s: float
    download_bytes: int
    polled: dict[str, float] | None


def measure(options: Options) -> Outcome:
    """Each size with and without the clients that poll, taking turns; every run is a daemon and a store of its own."""
    columns = (
        "requests",
        "clients",
        "upload",
        "download beside it",
        "the job takes",
        "looks",
        "median",
        "p99",
        "longest",
    )
    outcome = Outcome(columns=columns)
    for size in options.sizes:
        source = inputs.usual(options.work / f"usual-{size}.jsonl", size)
        alone: list[_Run] = []
        polled: list[_Run] = []
        for _ in range(options.rounds_at(size)):
            alone.append(_run(options, source, clients=0))
            polled.append(_run(options, source, clients=_CLIENTS))
        _note(outcome, size, source, alone, polled)
        source.unlink()
    return outcome


def _note(outcome: Outcome, size: int, source: Path, alone: list[_Run], polled: list[_Run]) -> None:
    alone_s = statistics.median(run.work_s for run in alone)
    polled_s = statistics.median(run.work_s for run in polled)
    looks = [run.polled for run in polled if run.polled is not None]
    assert not sum(look["failures"] for look in looks), "some looks failed"
    p99 = outcome.put("status_p99_ms", statistics.median(look["p99_ms"] for look in looks), size=size)
    outcome.put("throughput_share", alone_s / polled_s, size=size)
    moved = [f"{source.stat().st_size / 1e6:.0f} MB", f"{alone[0].download_bytes / 1e6:.0f} MB"]
    outcome.rows.append([f"{size:,}", "0", *moved, f"{alone_s:.1f} s", "", "", "", ""])
    middle = statistics.median(look["median_ms"] for look in looks)
    longest = max(look["max_ms"] for look in looks)
    count = sum(look["looks"] for look in looks) / len(looks)
    figures = [f"{count:,.0f}", f"{middle:.1f} ms", f"{p99:.1f} ms", f"{longest:.0f} ms"]
    outcome.rows.append([f"{size:,}", f"{_CLIENTS}", *moved, f"{polled_s:.1f} s", *figures])


def _run(options: Options, source: Path, *, clients: int) -> _Run:
    """Settle one job first, so that there is something to download; then measure a second of the same size."""
    store = program.fresh(options.work / "store")
    with api() as base_url, _daemon(base_url, store) as port:
        first = _hand_in(port, source, "first")
        _wait(port, first)
        watched: dict[str, float] | None = None
        with _pollers(port, first, clients) as stop_polling:
            began = time.monotonic()
            download = _Download(port, first)
            job = _hand_in(port, source, "second")
            _wait(port, job)
            work_s = time.monotonic() - began
            watched = stop_polling()
        return _Run(work_s=work_s, download_bytes=download.finished(), polled=watched)


@contextmanager
def _daemon(base_url: str, store: Path) -> Iterator[int]:
    """`serve` on a free port; ends by SIGKILL, as everything is stored."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    env = program.env(base_url, store, server__listen=f"127.0.0.1:{port}")
    started = time.monotonic()
    process = start([PROGRAM, "serve", "-q", "--no-token"], env=env)
    try:
        program.wait_until(lambda: _answers(port), timeout_s=60)
        yield port
    finally:
        kill(process)
        ended(process, started)


def _answers(port: int) -> bool:
    try:
        return bool(_get(port, "/api/v1/version"))
    except OSError:
        return False


def _get(port: int, path: str) -> Any:  # noqa: ANN401 - JSON
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return json.load(connection.getresponse())
    finally:
        connection.close()


def _hand_in(port: int, source: Path, name: str) -> str:
    """Upload *source* as a job of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        with source.open("rb") as body:
            connection.request("POST", f"{_LATEST}?name={name}&new=1&{_VERSION}", body=body, headers=_NDJSON)
        answer = connection.getresponse()
        said = json.load(answer)
        assert answer.status == 201, said
        public_id: str = said["job"]["id"]
        return public_id
    finally:
        connection.close()


def _wait(port: int, job: str) -> None:
    """Look ten times a second until *job* is finished."""
    program.wait_until(lambda: _get(port, f"{_LATEST}/{job}")["state"] == "finished", timeout_s=_TIMEOUT_S, pause_s=0.1)


class _Download:
    """Reads the results of a job in a thread of its own."""

    def __init__(self, port: int, job: str) -> None:
        self._port, self._job = port, job
        self._bytes = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)
        connection.request("GET", f"{_LATEST}/{self._job}/results")
        answer = connection.getresponse()
        while block := answer.read(_BLOCK):
            self._bytes += len(block)
        connection.close()

    def finished(self) -> int:
        """How many bytes came."""
        self._thread.join()
        return self._bytes


@contextmanager
def _pollers(port: int, job: str, clients: int) -> Iterator[Any]:
    """*clients* looking at *job* from a process of their own; gives the function that ends them and has the figures."""
    if clients == 0:
        yield lambda: None
        return
    command = [sys.executable, "-m", "benchmarks.pollers", "--port", str(port), "--path", f"{_LATEST}/{job}"]
    command += ["--clients", str(clients)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT, env=clean_env(), text=True) as process:
        time.sleep(2.0)  # every client has connected and looked once
        yield lambda: json.loads(process.communicate("")[0])


PART: Final = Part(name="service", measure=measure, sizes=(100_000,), quick=(20_000,))
