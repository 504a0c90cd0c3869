"""A real browser on a real daemon: the process can be killed and started again while a page is open."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from playwright.sync_api import Browser, sync_playwright
from support.forked import Process, start
from support.processes import program_env

_FLAGS: Final = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
#: The sandbox's hours pass in moments; the engine looks often.
QUICK: Final = {"SANDBOX__SPEED": "3600", "LIMITS__POLL_INTERVAL": "0.1s"}
#: What is sent stays at the API while a test looks.
SLOW: Final = {"SANDBOX__SPEED": "0.01", "LIMITS__POLL_INTERVAL": "0.1s"}


@contextmanager
def a_browser() -> Iterator[Browser]:
    """Chromium. Where it is missing a developer's test is skipped, and CI's fails."""
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "no chromium here: apt-get install chromium"
        if os.environ.get("ORCHESTRATOR_TEST_TOOLS"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield browser
        browser.close()


class Daemon:
    """`orchestrator serve --sandbox`, and its address, which stays when it is started again."""

    def __init__(self, folder: Path, port: int, flags: Sequence[str]) -> None:
        self._flags = flags
        self.url = f"http://127.0.0.1:{port}"
        self._listen = f"127.0.0.1:{port}"
        self._folder = folder
        self._process: Process | None = None

    def start(self, **settings: str) -> None:
        """Start it, and wait until it answers."""
        env = program_env("http://127.0.0.1:9", self._folder, SERVER__LISTEN=self._listen, **settings)
        with (self._folder / "serve.log").open("ab") as log:
            self._process = start(
                "orchestrator", "serve", *self._flags, env=env, cwd=self._folder, stdout=log, stderr=log
            )
        until(self._answers)

    def kill(self) -> None:
        """Kill -9."""
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send the signal *number*, and wait for the end."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def submit(self, requests: Sequence[dict[str, Any]], **query: str) -> str:
        """A new job; its id."""
        lines = b"".join(json.dumps(request).encode() + b"\n" for request in requests)
        headers = {"content-type": "application/x-ndjson"}
        answer = httpx2.post(f"{self.url}/api/v1/jobs", params=query, content=lines, headers=headers, timeout=30)
        assert answer.is_success, answer.text
        job: str = answer.json()["job"]["id"]
        return job

    def job(self, job: str) -> dict[str, Any]:
        """The job as the API shows it."""
        found: dict[str, Any] = httpx2.get(f"{self.url}/api/v1/jobs/{job}", timeout=30).raise_for_status().json()
        return found

    def post(self, verb: str, job: str) -> None:
        """Pause, resume or cancel a job."""
        httpx2.post(f"{self.url}/api/v1/jobs/{job}/{verb}", timeout=30).raise_for_status()

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/livez", timeout=2).status_code == 200
        except httpx2.HTTPError:
            return False


@contextmanager
def a_daemon(folder: Path, flags: Sequence[str] = ("--sandbox",), /, **settings: str) -> Iterator[Daemon]:
    """A daemon with an empty store in *folder*, which has a short path; killed at the end.

    Outside of a sandbox its API is an address where nobody answers.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    daemon = Daemon(folder, port, flags)
    try:
        daemon.start(**settings)
        yield daemon
    finally:
        daemon.kill()


def until(holds: Callable[[], bool], *, within_s: float = 20) -> None:
    """Look again and again until *holds*."""
    last = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < last, "it never became true"
        time.sleep(0.05)
