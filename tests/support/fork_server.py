"""Processes that have imported everything already: forked, one a call, from this one, which imports it once.

A fresh interpreter spends most of a short command on importing; a forked one starts within milliseconds, and is as
much a process of its own: its pid, signals, exit code, streams, folder, environment and umask. `support.forked` is the
other side.

Usage: python tests/support/fork_server.py FD, a listening UNIX socket (SOCK_SEQPACKET). Each connection is one process:
it sends an order with three file descriptors, and is answered with the pid and, at its end, with the wait status. A
process is killed when its connection is closed; the server and all its processes end with its standard input.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import orchestrator
from orchestrator.store.migrate import prepare

#: What the program imports only where it is used.
_LATE: Final = (
    "anthropic",
    "anthropic.resources.messages.batches",
    "anthropic.types.messages",
    "anyio._backends._asyncio",
    "click._textwrap",
    "concurrent.futures.thread",
    "difflib",
    "encodings.idna",
    "genai_prices.data",
    "genai_prices.update_prices",
    "httpcore2",
    "jsonschema_rs",
    "rich.console",
    "rich.live",
    "rich.progress",
    "rich.table",
    "rich.traceback",
    "structlog.dev",
    "structlog.stdlib",
    "support.windows",
    "truststore",
    "uvicorn.lifespan.off",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.protocols.http.httptools_impl",
)
_USUAL: Final[tuple[tuple[signal.Signals, Any], ...]] = (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
)
_ORDER_BYTES: Final = 1 << 20
_MOST_FILES: Final = 4096


def main() -> None:
    """Fork until standard input ends."""
    _import_everything()
    _Server(socket.socket(fileno=int(sys.argv[1]))).serve()


def _import_everything() -> None:
    for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    for name in _LATE:
        with contextlib.suppress(ImportError):  # faster, not needed
            importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:  # what the first store of a process takes is theirs as well
        prepare(Path(folder) / "store.db", now=datetime.now(UTC), sandbox=True)
    gc.collect()
    gc.freeze()  # the pages of what is imported stay shared


class _Server:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, socket.socket] = {}  #: by pid
        self._wakes, self._woken = socket.socketpair()

    def serve(self) -> None:
        """See `main`."""
        self._wakes.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for readable in (self._listener, self._woken, 0):
            self._selector.register(readable, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._start(self._listener.accept()[0])
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._tell_ends()
                elif key.data is not None:  # nobody asks for it any more
                    self._selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)
                else:
                    for pid in self._children:
                        os.kill(pid, signal.SIGKILL)
                    return

    def _start(self, connection: socket.socket) -> None:
        message, streams, _, _ = socket.recv_fds(connection, _ORDER_BYTES, 3)
        order = json.loads(os.fsdecode(message))
        pid = os.fork()
        if pid == 0:
            for ours in (self._listener, self._wakes, self._woken, connection, *self._children.values()):
                ours.detach()  # they are closed by number, and must not close another one of that number later
            _become(order, streams)
        for fd in streams:
            os.close(fd)
        self._children[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)
        connection.send(b"%d" % pid)

    def _tell_ends(self) -> None:
        for pid, connection in list(self._children.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._children[pid]
                with contextlib.suppress(KeyError):
                    self._selector.unregister(connection)
                with contextlib.suppress(OSError), connection:  # nobody may be waiting any more
                    connection.send(b"%d" % status)


def _become(order: dict[str, Any], streams: list[int]) -> NoReturn:
    """In the new process: be what a fresh interpreter with this command line would be."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for signal_number, usual in _USUAL:  # nohup around the tests is no business of theirs
        signal.signal(signal_number, signal.SIG_IGN if signal_number in order.get("ignored", ()) else usual)
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    os.closerange(3, _MOST_FILES)
    os.umask(order["umask"])
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    tempfile.tempdir = None
    sys.argv = ["", *order["arguments"]]
    sys.executable = order.get("executable", sys.executable)
    os._exit(_run(order["module"], order["code"]))


def _run(module: str, code: str | None) -> int:
    """Run it as `python -m module` or `python -c code` does; its exit code."""
    try:
        if code is None:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a test's own script
    except SystemExit as end:
        ended = 0 if end.code is None else end.code if isinstance(end.code, int) else 1
        if not isinstance(end.code, int | None):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        ended = 1
    else:
        ended = 0
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return ended


if __name__ == "__main__":
    main()
