"""Reads a file, a pipe or standard input in blocks, in a worker thread that can be stopped at any time."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from itertools import islice
from typing import TYPE_CHECKING, Final

from orchestrator.domain.errors import InputError
from orchestrator.domain.humanize import plain

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

BLOCK_BYTES: Final = 1 << 18
#: A thread that waits for a silent pipe looks this often whether it should stop; without it, Ctrl-C would hang.
_LOOK_MS: Final = 200
#: So many files of a folder are looked at for one of nearly the same name; less alike is another name.
_LOOKED_AT: Final = 2_000
_LIKE: Final = 0.8


def read_blocks(path: str, stop: threading.Event) -> Iterator[bytes]:
    """The bytes of the file at *path*, in blocks; ends early once *stop* is set.

    Raises InputError if it cannot be read, is a folder or a device, or changes while it is read.
    """
    try:
        # Not blocking: opening a named pipe would otherwise hang until somebody writes to it.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    try:
        before = os.fstat(fd)
        _refuse_what_is_no_file(path, fd, before.st_mode)
        yield from _blocks(path, fd, stop)
        after = os.fstat(fd)
    finally:
        os.close(fd)
    if stat.S_ISREG(before.st_mode) and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputError(f"{path} changed while it was read", hint="run again when nothing writes to it")


def read_stdin_blocks(name: str, stop: threading.Event) -> Iterator[bytes]:
    """The bytes of standard input, in blocks; ends early once *stop* is set. Does not close it."""
    if sys.stdin is None:
        raise InputError("there is no standard input", hint="give a path instead of -")
    stream = sys.stdin.buffer
    try:
        fd = stream.fileno()
    except io.UnsupportedOperation:  # a program has put an object of its own in its place
        while not stop.is_set() and (block := stream.read(BLOCK_BYTES)):
            yield block
        return
    yield from _blocks(name, fd, stop)


def _blocks(name: str, fd: int, stop: threading.Event) -> Iterator[bytes]:
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    while not stop.is_set():
        if not waiting.poll(_LOOK_MS):
            continue
        try:
            block = os.read(fd, BLOCK_BYTES)
        except BlockingIOError:
            continue
        except OSError as exc:
            raise _unreadable(name, exc) from exc
        if not block:
            return
        yield block


def _refuse_what_is_no_file(path: str, fd: int, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder", hint="give a file of requests, or - for standard input")
    if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not os.isatty(fd)):
        raise InputError(f"{path} is a device", hint="give a file of requests, or - for standard input")


def _unreadable(name: str, exc: OSError) -> InputError:
    hint = path_hint(name) if isinstance(exc, FileNotFoundError) else "check the file and its permissions"
    return InputError(f"cannot read {name}", cause=exc.strerror, hint=hint)


def path_hint(path: str) -> str:
    """`did you mean reviews.jsonl?`: a file beside *path*, which is not there, of nearly the same name."""
    import difflib  # late: only a mistake needs it

    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry in islice(entries, _LOOKED_AT)]
    except OSError:
        names = []
    near = difflib.get_close_matches(name, names, n=1, cutoff=_LIKE)
    return f"did you mean {plain(os.path.join(folder, near[0]))}?" if near else "check the path"  # noqa: PTH118 - as it was written
