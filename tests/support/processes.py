"""Real processes for tests: the API on a port, and the `orchestrator` program."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import httpx2
import msgspec

from support.forked import PIPE, ROOT, TESTS, start
from support.windows import Window

#: Sockets lie in it, by the folder that is theirs: below that folder their paths may be longer than the system takes.
_RUNTIME: Final = tempfile.TemporaryDirectory(prefix="r-")


class Api:
    """A running API and its own books."""

    def __init__(self, port: int, client: httpx2.Client) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self._client = client

    def ledger(self) -> list[dict[str, object]]:
        """One row per request that the API accepted."""
        answer = self._client.get(f"{self.base_url}/sandbox/ledger")
        return [json.loads(line) for line in answer.content.splitlines()]

    def stats(self) -> Stats:
        """Calls, faults met, batches, bodies."""
        return msgspec.json.decode(self._client.get(f"{self.base_url}/sandbox/stats").content, type=Stats)

    def calls(self) -> int:
        """How many calls it has had."""
        return sum(self.stats().calls.values())

    def results(self, remote_id: str) -> bytes:
        """The result file of a batch, as any client gets it."""
        headers = {"x-api-key": "test-key", "anthropic-version": "2023-06-01"}
        url = f"{self.base_url}/v1/messages/batches/{remote_id}/results"
        return self._client.get(url, headers=headers).raise_for_status().content

    def order(self, what: str, **body: object) -> None:
        """POST to one of the sandbox's own routes, `faults`, `script` or `keys`."""
        self._client.post(f"{self.base_url}/sandbox/{what}", json=body).raise_for_status()

    def arm(self, window: Window, pid: int, *, hold_at: int = 0, number: int = signal.SIGKILL) -> None:
        """Kill *pid* inside *window*, once; or send it the signal *number*."""
        order = {"window": window, "pid": pid, "hold_at": hold_at, "number": number}
        self._client.post(f"{self.base_url}/window", json=order).raise_for_status()

    def go(self) -> None:
        """End a hold: now it strikes."""
        self._client.post(f"{self.base_url}/window/go").raise_for_status()

    def strike(self) -> dict[str, bool]:
        """What became of the strike: `held`, `struck`, `over`."""
        found: dict[str, bool] = self._client.get(f"{self.base_url}/window").json()
        return found


class Stats(msgspec.Struct):
    """The API's counters; `now` is its own time, most_… the most there ever was at once."""

    now: datetime
    calls: dict[str, int]
    batches_created: int
    bodies_received: int
    requests_accepted: int
    most_open_creates: int
    most_in_flight: int
    faults_met: dict[str, int] = {}


@contextmanager
def running_api(**options: object) -> Iterator[Api]:
    """The API in a process of its own, killed at the end."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}"}
    with start("support.api_server", json.dumps(options), stdout=PIPE, env=env) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with httpx2.Client(timeout=60, verify=False) as client:
                yield Api(port, client)
        finally:
            process.kill()


def program_env(base_url: str, folder: Path, **settings: str) -> dict[str, str]:
    """An environment for the program: nothing of ours leaks in; settings as LIMITS__POLL_INTERVAL="0.1s"."""
    kept: Mapping[str, str] = {k: v for k, v in os.environ.items() if k in {"PATH", "LANG", "TMPDIR", "VIRTUAL_ENV"}}
    runtime = Path(_RUNTIME.name, sha256(bytes(folder)).hexdigest()[:12])
    runtime.mkdir(mode=0o700, exist_ok=True)
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(runtime),
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": "test-key",
        "ORCHESTRATOR_DATABASE__PATH": str(folder / "store" / "store.db"),
        **{f"ORCHESTRATOR_{name}": value for name, value in settings.items()},
    }
