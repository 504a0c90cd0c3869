"""One create of more requests than the API takes, with the unmodified SDK, against a daemon in a process of its own.

A quarter million of them: 45 MB in one call.
"""

from __future__ import annotations

import json
from pathlib import Path

import anthropic
import pytest
from faces.client_world import line_of, running
from faces.messages_world import ended, requests

REQUESTS = 250_000
#: A daemon that serves until it is killed; it says where.
DAEMON = """
import sys, threading
sys.path[:0] = [sys.argv[2], sys.argv[3]]
from pathlib import Path
from faces.messages_world import served

with served(Path(sys.argv[1])) as world:
    print(world.url, flush=True)
    threading.Event().wait()
"""


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) * 1024


@pytest.mark.long
def test_a_create_beyond_the_limits_of_the_api_is_answered_completely(tmp_path: Path) -> None:
    """What needs two or three creates at the API is one here, in a few MB of the daemon's memory."""
    tests = Path(__file__).parent.parent
    with running(DAEMON, tmp_path, tests, tests.parent) as daemon:
        url = line_of(daemon)
        before = peak_bytes(daemon.pid)
        with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
            made = client.messages.batches.create(requests=requests(REQUESTS))
            assert made.request_counts.processing == REQUESTS
            assert peak_bytes(daemon.pid) - before < 100_000_000
            done = ended(client, made.id, within_s=200)
            assert done.request_counts.succeeded == REQUESTS
            found = 0
            with client.messages.batches.with_streaming_response.results(made.id) as response:
                for number, line in enumerate(response.iter_lines()):
                    found += json.loads(line)["custom_id"] == f"r{number}"
            assert found == REQUESTS
