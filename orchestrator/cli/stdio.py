"""Standard streams of a command: messages may be lost, data may not, and neither stops the work.

Only for a process of our own: `orchestrator.cli.main.main` calls `prepare_stdio` before anything else.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

from orchestrator.domain.errors import OutputNotWritten, stdout_not_written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer


def prepare_stdio() -> None:
    """Open what was closed, so that no file of ours gets its number; and decide what a failed write means.

    What was closed cannot be used by mistake: reading from standard input, or writing to standard output, fails.
    Characters that the streams cannot show, such as bytes of a file's name that are no UTF-8, are shown as escapes.
    """
    for number, closed, flags in (
        (0, sys.stdin is None, os.O_WRONLY),
        (1, sys.stdout is None, os.O_RDONLY),
        (2, sys.stderr is None, os.O_WRONLY),
    ):
        if closed:
            _occupy(number, flags)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    out, err = getattr(sys.stdout, "encoding", None), getattr(sys.stderr, "encoding", None)
    sys.stdout = _text(_Data(1, "w", closefd=False), out, is_line_buffered=_is_terminal(1))
    sys.stderr = _text(_Talk(2, "w", closefd=False), err, is_line_buffered=True)


class _Talk(io.FileIO):
    """Standard error: a failed write is ignored, and the work goes on."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write *data*, or discard it."""
        with contextlib.suppress(OSError):
            return super().write(data) or 0
        return memoryview(data).nbytes


class _Data(io.FileIO):
    """Standard output: BrokenPipeError is left to the caller, any other failure is OutputNotWritten."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write *data*. Raises OutputNotWritten."""
        try:
            return super().write(data) or 0
        except (BrokenPipeError, BlockingIOError):
            raise
        except (OSError, ValueError) as exc:  # io.UnsupportedOperation is both
            raise not_written(exc) from exc


@contextlib.contextmanager
def ignoring_closed_stdout() -> Iterator[None]:
    """A server whose address cannot be written to standard output runs all the same."""
    try:
        yield
    except OutputNotWritten:
        redirect_to_null(1)


def redirect_to_null(number: int) -> None:
    """Discard what is written to the descriptor *number*, and what its buffer holds."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def not_written(exc: OSError | ValueError) -> OutputNotWritten:
    """The error for standard output that does not take what is written."""
    return stdout_not_written(
        exc, hint="what was asked for is done and stored; ask for it again where it can be written"
    )


def _occupy(number: int, flags: int) -> None:
    """Open /dev/null as *number*, unless something is open there."""
    with contextlib.suppress(OSError):
        os.fstat(number)
        return
    fd = os.open(os.devnull, flags)
    if fd != number:
        os.dup2(fd, number)
        os.close(fd)
    os.set_inheritable(number, True)


def _text(raw: io.FileIO, encoding: str | None, *, is_line_buffered: bool) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding or "utf-8",
        errors="backslashreplace",
        newline="\n",
        line_buffering=is_line_buffered,
    )


def _is_terminal(number: int) -> bool:
    try:
        return os.isatty(number)
    except OSError:
        return False
