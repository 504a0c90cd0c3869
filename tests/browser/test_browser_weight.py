"""What a first visit of the overview costs a slow line: all that comes from the daemon, counted where it passes."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from browser.browser_world import SLOW, a_browser, a_daemon, until
from faces.client_world import requests
from playwright.sync_api import expect

#: Bytes, with headers: 60 KiB.
_MOST: Final = 60 * 1024
_HEAR: Final = 'document.addEventListener("htmx:sse:after:message", () => { window.heard = true; });'


class Line:
    """A listener that passes connections on to *port*, under that name, and counts what comes back."""

    def __init__(self, port: int) -> None:
        self.came = 0
        self._to = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._name, self._name_there = (f"127.0.0.1:{each}".encode() for each in (self.port, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                threading.Thread(target=self._pass_on, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, to: socket.socket, is_counted: bool) -> None:
        with suppress(OSError), source, to:
            while block := source.recv(65536):
                self.came += len(block) if is_counted else 0
                to.sendall(block if is_counted else block.replace(self._name, self._name_there))


@contextmanager
def a_line(port: int) -> Iterator[Line]:
    """A counted way to *port*."""
    line = Line(port)
    try:
        yield line
    finally:
        line.close()


def test_the_overview_is_a_small_download() -> None:
    """With its list of newest jobs full, charts and stream, and nothing in the browser's cache."""
    with (
        tempfile.TemporaryDirectory(prefix="br", ignore_cleanup_errors=True) as folder,
        a_browser() as browser,
        a_daemon(Path(folder), **SLOW) as daemon,
        a_line(int(daemon.url.rpartition(":")[2])) as line,
    ):
        for number in range(8):
            daemon.submit(requests(2, said=str(number)), name=f"a-job-with-a-usual-name-{number}")
        page = browser.new_page()
        page.add_init_script(_HEAR)
        page.goto(f"http://127.0.0.1:{line.port}/")
        until(lambda: bool(page.evaluate("window.heard")))
        expect(page.locator("#chart-rate canvas")).to_have_count(1)
        page.close()
        assert 40_000 < line.came <= _MOST
