"""Programs in processes of their own, without the second that a fresh interpreter takes to import them.

`start` and `run` stand for `subprocess.Popen` and `subprocess.run` of `python -m MODULE …`. The process is forked from
one that has imported the program (`support.fork_server`). Where the interpreter's own start is the point, it is fresh:
with `is_fresh`, with a variable that is read at the start, and everywhere with ORCHESTRATOR_TEST_FRESH=1, as in the
long tier of the proof.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
TESTS: Final = Path(__file__).resolve().parent.parent
ROOT: Final = TESTS.parent
#: True where every process is a fresh interpreter.
IS_FRESH: Final = os.environ.get("ORCHESTRATOR_TEST_FRESH") == "1" or sys.platform != "linux"
#: Read while modules are imported, or by the interpreter before that.
_READ_AT_START: Final = ("PYTHON", "ANTHROPIC_LOG", "OTEL_", "LD_")
#: What the fork server was started with.
_GIVEN: Final = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}", "PYTHONUTF8": "1"}


class Forked:
    """A process of the fork server, with what tests use of `subprocess.Popen`."""

    def __init__(self, connection: socket.socket, pid: int, pipes: Mapping[int, IO[bytes]]) -> None:
        self.pid: Final = pid
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = pipes.get(0), pipes.get(1), pipes.get(2)
        self._connection = connection

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self._read_end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self._read_end()
        assert self.returncode is not None
        return self.returncode

    def _read_end(self) -> None:
        said = self._connection.recv(100)
        self._connection.close()
        assert said, "the fork server has ended"
        self.returncode = os.waitstatus_to_exitcode(int(said))

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    # `input` is what Popen calls it.
    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:  # noqa: A002
        """Give it *input*, read what it says to its end, and wait for that. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        read: dict[int, bytes] = {}
        threads = [threading.Thread(target=self._write, args=(input,), daemon=True)]
        for number, stream in ((1, self.stdout), (2, self.stderr)):
            if stream is not None and not stream.closed:
                threads.append(threading.Thread(target=_read_all, args=(stream, number, read), daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(None if deadline is None else max(0, deadline - time.monotonic()))
            if thread.is_alive():
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        self.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        return read.get(1, b""), read.get(2, b"")

    def _write(self, given: bytes | None) -> None:
        if self.stdin is not None and not self.stdin.closed:
            try:
                self.stdin.write(given or b"")
                self.stdin.close()
            except BrokenPipeError:
                pass  # it did not want to read it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self.stdout, self.stderr, self.stdin):
            if stream is not None:
                stream.close()
        self.wait()


Process = subprocess.Popen[bytes] | Forked
Stream = int | IO[bytes] | None


def start(
    module: str,
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    is_fresh: bool = False,
    forks: bool = False,
) -> Process:
    """`python -m module arguments`. forks: so are the processes that it starts by `sys.executable -P -m`."""
    if is_fresh or IS_FRESH or _is_read_at_start(env):
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.Popen(command, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr)
    order = {"module": module, "code": None, "arguments": arguments, "cwd": str(cwd or Path.cwd())}
    if forks:
        order["executable"] = str(folder_with_command() / "python")
    return _forked(order, env, (stdin, stdout, stderr))


def start_script(
    code: str, *arguments: str, env: Mapping[str, str], stdout: Stream = None, stderr: Stream = None
) -> Process:
    """`python -c code arguments`, with no standard input; it can import what tests can."""
    if IS_FRESH or _is_read_at_start(env):
        command = [sys.executable, "-c", code, *arguments]
        env = {"PYTHONPATH": _GIVEN["PYTHONPATH"], **env}
        return subprocess.Popen(command, env=env, stdin=DEVNULL, stdout=stdout, stderr=stderr)
    order = {"module": "", "code": code, "arguments": arguments, "cwd": str(Path.cwd())}
    return _forked(order, env, (DEVNULL, stdout, stderr))


def run(
    module: str,
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    given: bytes = b"",
    timeout: float,
    is_fresh: bool = False,
    forks: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end with *given* as its standard input. Raises subprocess.TimeoutExpired."""
    pipes = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}
    with start(module, *arguments, env=env, cwd=cwd, is_fresh=is_fresh, forks=forks, **pipes) as process:
        try:
            out, err = process.communicate(given, timeout=timeout)
        except BaseException:
            process.kill()
            raise
        assert process.returncode is not None
        return subprocess.CompletedProcess([module, *arguments], process.returncode, out, err)


def folder_with_command() -> Path:
    """A folder for PATH with `orchestrator`, for shells. A closed stream gets a fresh interpreter.

    Its `python` runs the program as well, and nothing else.
    """
    if IS_FRESH:
        return Path(sys.executable).parent
    folder = Path(_server()).with_name("bin")
    with _starting:
        if not folder.exists():
            folder.mkdir()
            for name, before in (("orchestrator", ()), ("python", ("-P", "-m", "orchestrator"))):
                command = folder / name
                command.write_text(_COMMAND.format(python=sys.executable, address=_started_server(), before=before))
                command.chmod(0o755)
    return folder


#: Hands its streams and all that it was given to the fork server, passes signals on, and ends as the process ends.
_COMMAND: Final = """\
#!{python} -IS
import os, sys
before = list({before!r})
words = sys.argv[1 + len(before):]
assert sys.argv[1:1 + len(before)] == before
try:
    for number in range(3):
        os.fstat(number)
except OSError:
    os.execv({python!r}, [{python!r}, "-m", "orchestrator", *words])
import json, signal, socket
numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]
order = {{"module": "orchestrator", "code": None, "arguments": words, "cwd": os.getcwd(),
         "env": dict(os.environ), "umask": os.umask(0), "ignored": ignored}}
pid, early = 0, []  # a signal that comes before there is a process to pass it to waits for one
for number in numbers:
    if number not in ignored:
        signal.signal(number, lambda number, _frame: os.kill(pid, number) if pid else early.append(number))
connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect({address!r})
socket.send_fds(connection, [os.fsencode(json.dumps(order))], [0, 1, 2])
pid = int(connection.recv(100))
for number in early:
    os.kill(pid, number)
null = os.open(os.devnull, os.O_RDWR)
for number in range(3):
    os.dup2(null, number)
code = os.waitstatus_to_exitcode(int(connection.recv(100)))
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def _is_read_at_start(env: Mapping[str, str]) -> bool:
    return any(
        name.startswith(_READ_AT_START) and value != _GIVEN.get(name) and name != "PYTHONPATH"
        for name, value in env.items()
    )


def _forked(order: Mapping[str, object], env: Mapping[str, str], streams: tuple[Stream, Stream, Stream]) -> Forked:
    given: list[int] = []  #: the process's streams
    opened: list[int] = []  #: of those, what is to be closed here
    pipes: dict[int, IO[bytes]] = {}  #: our ends
    for number, stream in enumerate(streams):
        if stream == PIPE:
            reading, writing = os.pipe()
            given.append(writing if number else reading)
            opened.append(given[-1])
            pipes[number] = os.fdopen(reading, "rb") if number else os.fdopen(writing, "wb")
        elif stream == DEVNULL:
            given.append(os.open(os.devnull, os.O_RDWR))
            opened.append(given[-1])
        elif stream == STDOUT:
            given.append(given[1])
        elif stream is None:
            given.append(number)
        else:
            given.append(stream if isinstance(stream, int) else stream.fileno())
    message = json.dumps({**order, "env": dict(env), "umask": _umask()})
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(_server())
    socket.send_fds(connection, [os.fsencode(message)], given)
    for fd in opened:
        os.close(fd)
    return Forked(connection, int(connection.recv(100)), pipes)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_starting: Final = threading.Lock()


def _server() -> str:
    with _starting:
        return _started_server()


@functools.cache
def _started_server() -> str:
    """The address of this process's own server, which is started with the first call and ends with this process."""
    address = tempfile.mkdtemp(prefix="orc-") + "/fork"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(listener.fileno())],
        env=_GIVEN,
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        start_new_session=True,
    )
    listener.close()

    def end() -> None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()
        shutil.rmtree(Path(address).parent)

    atexit.register(end)
    return address


def _read_all(stream: IO[bytes], number: int, into: dict[int, bytes]) -> None:
    into[number] = stream.read()
    stream.close()
