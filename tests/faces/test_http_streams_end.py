"""Who watches when the daemon stops: the stream ends properly, and nobody's log calls it a failure."""

from __future__ import annotations

import json
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from browser.browser_world import QUICK, a_daemon
from faces.client_world import requests

NDJSON = "application/x-ndjson"


@pytest.mark.parametrize("path", ["/live?at=/", "/api/v1/events/stream"])
def test_a_stream_of_events_ends_properly_with_its_daemon(path: str) -> None:
    """A stop is no error: the last chunk comes, and the log has nothing of it."""
    with tempfile.TemporaryDirectory(prefix="st", ignore_cleanup_errors=True) as folder:
        with a_daemon(Path(folder), **QUICK) as daemon, httpx2.stream("GET", daemon.url + path, timeout=30) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            daemon.stop()
            stream.read()  # raises where the last chunk is missing
        log = (Path(folder) / "serve.log").read_text()
    assert "everything is stored" in log
    assert '"level": "error"' not in log
    assert "Traceback" not in log


def test_nobody_who_is_connected_holds_a_stop_up() -> None:
    """Promise 11: a stream, a long poll, a download that nobody reads and half an upload: it ends, with exit code 0."""
    lines = b"".join(
        json.dumps({**request, "params": {**request["params"], "system": "x" * 2000}}).encode() + b"\n"
        for request in requests(3000)
    )
    kind = b"content-type: application/x-ndjson\r\n"
    with tempfile.TemporaryDirectory(prefix="st", ignore_cleanup_errors=True) as folder:
        with a_daemon(Path(folder), **QUICK) as daemon, ExitStack() as stack:
            made = httpx2.post(f"{daemon.url}/api/v1/jobs?name=whole", content=lines, headers={"content-type": NDJSON})
            assert made.status_code == 201
            port = int(daemon.url.rpartition(":")[2])
            for question in (
                b"GET /api/v1/events/stream?after=0 HTTP/1.1\r\nhost: localhost\r\n\r\n",
                b"GET /api/v1/jobs/whole?wait=60s HTTP/1.1\r\nhost: localhost\r\n\r\n",
                b"GET /api/v1/jobs/whole/results?follow=1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
                b"GET /li",
                b"POST /api/v1/jobs?name=half HTTP/1.1\r\nhost: localhost\r\n%bcontent-length: 99999999\r\n\r\n%b"
                % (kind, lines[:100_000]),
            ):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                connection.sendall(question)
            daemon.stop()
        log = (Path(folder) / "serve.log").read_text()
    assert "everything is stored" in log
    assert "Traceback" not in log
