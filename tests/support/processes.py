"""Real processes for tests: the API on a port, and the `orchestrator` program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class Api:
    """A running API and its own books."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}"

    def ledger(self) -> list[dict[str, object]]:
        """One row per request that the API accepted."""
        answer = httpx2.get(f"{self.base_url}/sandbox/ledger", timeout=60)
        return [json.loads(line) for line in answer.content.splitlines()]

    def stats(self) -> dict[str, Any]:
        """Calls, faults met, batches, bodies."""
        stats: dict[str, Any] = httpx2.get(f"{self.base_url}/sandbox/stats", timeout=60).json()
        return stats

    def results(self, remote_id: str) -> bytes:
        """The result file of a batch, as any client gets it."""
        headers = {"x-api-key": "test-key", "anthropic-version": "2023-06-01"}
        url = f"{self.base_url}/v1/messages/batches/{remote_id}/results"
        return httpx2.get(url, headers=headers, timeout=60).raise_for_status().content

    def order(self, what: str, **body: object) -> None:
        """POST to one of the sandbox's own routes, `faults`, `script` or `keys`."""
        httpx2.post(f"{self.base_url}/sandbox/{what}", json=body, timeout=60).raise_for_status()


@contextmanager
def running_api(**options: object) -> Iterator[Api]:
    """The API in a process of its own, killed at the end."""
    command = [sys.executable, str(HERE / "api_server.py"), json.dumps(options)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            yield Api(int(process.stdout.readline()))
        finally:
            process.kill()


def program_env(base_url: str, folder: Path, **settings: str) -> dict[str, str]:
    """An environment for the program: nothing of ours leaks in; settings as LIMITS__POLL_INTERVAL="0.1s"."""
    kept: Mapping[str, str] = {k: v for k, v in os.environ.items() if k in {"PATH", "LANG", "TMPDIR", "VIRTUAL_ENV"}}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": "test-key",
        "ORCHESTRATOR_DATABASE__PATH": str(folder / "store" / "store.db"),
        **{f"ORCHESTRATOR_{name}": value for name, value in settings.items()},
    }


def program(*arguments: str) -> list[str]:
    """The command line of the program."""
    return [sys.executable, "-m", "orchestrator", *arguments]
