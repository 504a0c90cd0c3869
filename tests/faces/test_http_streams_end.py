"""Who watches when the daemon stops: the stream ends properly, and nobody's log calls it a failure."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx2
import pytest
from browser.browser_world import QUICK, a_daemon


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
