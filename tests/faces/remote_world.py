"""What the tests of `--server` share: a daemon on a port, commands that ask it, and a network that cuts connections."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from faces.cli_world import Done, Program, Started, program_in

_URL: Final = re.compile(r"http://127\.0\.0\.1:(\d+)")


class Daemon:
    """`orchestrator serve --sandbox` behind a token, in a home of its own, and commands that ask it from another."""

    def __init__(self, host: Program, guest: Program) -> None:
        self.host = host
        self.guest = guest
        self.port = 0
        self.token_file = host.folder / "token"
        assert host("service", "token", str(self.token_file)).code == 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def flags(self) -> tuple[str, ...]:
        """What leads a command there."""
        return ("--server", self.url, "--token-file", str(self.token_file))

    @contextmanager
    def running(self, *, env: Mapping[str, str] | None = None) -> Iterator[Started]:
        """Run it; the second time on the same port."""
        listen = f"127.0.0.1:{self.port}"
        command = ("serve", "--sandbox", "--listen", listen, "--token-file", str(self.token_file))
        named = {"ORCHESTRATOR_SERVER__ALLOWED_HOSTS": "127.0.0.1", **({} if env is None else env)}  # for `Cutting`
        with self.host.started(*command, env=named) as started:
            started.says("dashboard and API: ")
            found = _URL.search(started.err)
            assert found is not None, started.err
            self.port = int(found[1])
            yield started

    def __call__(self, *args: str, env: Mapping[str, str] | None = None, given: bytes = b"") -> Done:
        """Run a command that asks the daemon."""
        return self.guest(*args, *self.flags, env=env, given=given)


@contextmanager
def daemon_in(folder: Path) -> Iterator[Daemon]:
    """A daemon that is not started yet."""
    host, guest = folder / "host", folder / "guest"
    host.mkdir()
    guest.mkdir()
    with program_in(host) as its_program, program_in(guest) as other:
        yield Daemon(its_program, other)


class Cutting:
    """A way to *port* that breaks each of the first *times* connections after some bytes of the answers."""

    def __init__(self, port: int, *, after: int, times: int) -> None:
        self._port = port
        self._after = after
        self._left = times
        self.cut = 0  #: connections that were broken
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextmanager
    def running(self) -> Iterator[Cutting]:
        """Take connections until the block ends."""
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                threading.Thread(target=_pump, args=(near, far), daemon=True).start()
                threading.Thread(target=self._answer, args=(far, near), daemon=True).start()

    def _answer(self, far: socket.socket, near: socket.socket) -> None:
        passed = 0
        with suppress(OSError), near, far:
            while block := far.recv(4096):
                passed += len(block)
                if passed > self._after and self._left > 0:
                    self._left -= 1
                    self.cut += 1
                    near.sendall(block[:100])
                    near.shutdown(socket.SHUT_RDWR)  # closing alone would wait for the thread that reads from it
                    return
                near.sendall(block)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(4096):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
