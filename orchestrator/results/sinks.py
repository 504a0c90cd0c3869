"""Sinks for results: a file that appears whole or not at all, standard output, or a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import secrets
import select
import stat
import sys
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import zstandard
from typing_extensions import override

from orchestrator.config.safe_files import symlinks_on_the_way
from orchestrator.domain.errors import OutputError, OutputNotWritten, is_no_space, stdout_not_written
from orchestrator.domain.humanize import readable
from orchestrator.ports.streams import Sink, is_stdout

if TYPE_CHECKING:
    from collections.abc import Callable


_WHERE: Final = "in a folder that everybody may write to"
_SAFE: Final = "the results are safe in the store"
WRITE_BYTES: Final = 1 << 20
#: zlib's "gzip wrapper"; it writes no time into the header, so the same results give the same file.
_GZIP_WBITS: Final = 31
#: A write of this size to a pipe that poll calls writable does not block (POSIX: PIPE_BUF, 4096 on Linux).
_PIPE_BYTES: Final = 4096
_LOOK_MS: Final = 200
#: Of the name, in a temporary name: file systems take 255 bytes.
_KEPT_NAME_BYTES: Final = 200


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _PassThrough:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class FileSink(Sink):
    """A file that does not exist until `commit`, and is complete then; `.gz` and `.zst` are compressed.

    Until then the bytes are in a file with a random name in the same folder. A file that existed before is replaced at
    that moment, or stays as it is; the new one has its mode and its group, else what the umask leaves. A link is
    followed, also a dangling one. In a folder that everybody may write to, only our own links are, and what another
    user put there lends neither its mode nor its owner. If the process dies, a `.<name>.<random>.tmp` may stay behind.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if not self._path.name:
            raise OutputError(f"cannot write {os.fspath(path)!r}", cause="it names no file", hint="choose another path")
        self._target = self._temporary = self._path
        self._packer = _compressor_for(self._path.name)
        self._pending = bytearray()
        self._fd: int | None = None
        self._is_made = False  # the temporary file
        self._is_over = False
        self._turn = threading.Lock()  # a cancelled call may still be running in its thread

    @override
    async def write(self, chunk: bytes) -> None:
        self._pending += chunk
        if len(self._pending) >= WRITE_BYTES:
            await asyncio.to_thread(self._in_turn, self._flush)

    @override
    async def commit(self) -> None:
        await asyncio.to_thread(self._in_turn, self._commit)

    @override
    async def abort(self) -> None:
        await asyncio.to_thread(self._in_turn, self._abort)

    def _in_turn(self, step: Callable[[], None]) -> None:
        with self._turn:
            if self._is_over:
                return
            try:
                step()
            except OSError as exc:
                self._abort()
                raise _unwritable(self._path, exc) from exc

    def _flush(self) -> None:
        pending, self._pending = self._pending, bytearray()
        _write_all(self._open(), self._packer.compress(bytes(pending)))

    def _commit(self) -> None:
        self._flush()
        fd = self._open()
        _write_all(fd, self._packer.flush())
        _take_over(fd, self._target)
        os.fsync(fd)
        self._fd = None
        os.close(fd)
        self._temporary.replace(self._target)
        self._is_over, self._is_made = True, False
        _fsync_folder(self._target.parent)

    def _open(self) -> int:
        if self._fd is None:
            self._target = _target_of(self._path)
            name = os.fsdecode(os.fsencode(self._target.name)[:_KEPT_NAME_BYTES])
            self._temporary = self._target.with_name(f".{name}.{secrets.token_hex(6)}.tmp")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            # What replaces a private file is private from its first byte on.
            self._fd = os.open(self._temporary, flags, 0o600 if self._target.exists() else 0o666)
            self._is_made = True
        return self._fd

    def _abort(self) -> None:
        self._is_over = True
        self._pending = bytearray()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._is_made:
            self._temporary.unlink(missing_ok=True)


class StdoutSink(Sink):
    """Standard output. What is written is gone, so `abort` cannot take it back."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._stop = threading.Event()

    @override
    async def write(self, chunk: bytes) -> None:
        self._pending += chunk
        if len(self._pending) >= WRITE_BYTES:
            await self._flush()

    @override
    async def commit(self) -> None:
        await self._flush()

    @override
    async def abort(self) -> None:
        self._pending = bytearray()
        self._stop.set()

    async def _flush(self) -> None:
        pending, self._pending = bytes(self._pending), bytearray()
        try:
            await asyncio.to_thread(_write_stdout, pending, self._stop)
        except asyncio.CancelledError:
            self._stop.set()  # else the thread would wait for a reader that never comes, and the process with it
            raise
        except OSError as exc:
            why = "the reader went away; " if isinstance(exc, BrokenPipeError) else ""
            raise stdout_not_written(exc, hint=f"{why}{_SAFE}") from exc


class PipeSink(Sink):
    """An existing named pipe or device (`/dev/null`, `>(program)`): written to, never replaced."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._fd: int | None = None
        self._stop = threading.Event()

    @override
    async def write(self, chunk: bytes) -> None:
        try:
            await asyncio.to_thread(self._write, chunk)
        except asyncio.CancelledError:
            self._stop.set()
            raise
        except OSError as exc:
            raise _unwritable(self._path, exc) from exc

    @override
    async def commit(self) -> None:
        await self.write(b"")  # opens it even if there was nothing to say
        self._close()

    @override
    async def abort(self) -> None:
        self._stop.set()
        self._close()

    def _write(self, chunk: bytes) -> None:
        if self._fd is None:
            refuse_foreign_links(self._path)
            refuse_foreign(self._path.resolve())
            # Not blocking: opening a pipe that nobody reads would hang; so it fails with ENXIO.
            self._fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.set_blocking(self._fd, True)
        _write_patiently(self._fd, chunk, self._stop)

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def open_sink(path_or_dash: str | os.PathLike[str]) -> Sink:
    """The sink for the argument of `-o`: "-" is standard output."""
    if is_stdout(os.fspath(path_or_dash)):
        return StdoutSink()
    path = Path(path_or_dash)
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            return PipeSink(path)
    return FileSink(path)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OutputError if results could not be written to *path*: better before a day of waiting than after it."""
    try:
        target = _target_of(Path(path))
        if not target.parent.is_dir():
            raise FileNotFoundError(2, "there is no such folder")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise PermissionError(13, "its folder is not writable, and a file is only ever replaced as a whole")
        if os.geteuid() != 0:  # root may replace it
            refuse_foreign(target)
    except OSError as exc:
        message, cause, hint = _error_texts(Path(path), exc)
        raise OutputError(message, cause=cause, hint=hint) from exc


def _compressor_for(name: str) -> _Compressor:
    if name.endswith(".gz"):
        return zlib.compressobj(6, zlib.DEFLATED, _GZIP_WBITS)
    if name.endswith(".zst"):
        return zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
    return _PassThrough()


def _target_of(path: Path) -> Path:
    """The file at the end of every link. Raises OSError if no file can be there.

    Renaming over a folder fails late; over a device it would succeed, and break the machine.
    """
    refuse_foreign_links(path)
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, "its links lead in a circle")
    if target.is_dir():
        raise IsADirectoryError(21, "it is a folder")
    if target.exists() and not target.is_file():
        raise OSError(22, "it is not a file")
    return target


def _take_over(fd: int, target: Path) -> None:
    """Give the new file the mode, the group and, where that is allowed, the owner of the one it replaces.

    Not those of a file that another user may have put there for that purpose: then it stays private and ours.
    """
    try:
        old = target.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(old.st_mode) or is_foreign(target, old):
        return
    mode, new = stat.S_IMODE(old.st_mode) & 0o777, os.fstat(fd)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(fd, old.st_uid if os.geteuid() == 0 else -1, old.st_gid)
        except OSError:  # not one of our groups: ours gets no more than everybody has
            mode = mode & 0o707 | (mode & 0o007) << 3
    os.fchmod(fd, mode)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:WRITE_BYTES]) :]


def _write_stdout(data: bytes, stop: threading.Event) -> None:
    sys.stdout.flush()
    try:
        fd = sys.stdout.fileno()
    except io.UnsupportedOperation:  # a program has put an object of its own in its place
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    _write_patiently(fd, data, stop)


def _write_patiently(fd: int, data: bytes, stop: threading.Event) -> None:
    """Write *data*, waiting for a slow reader until *stop* is set."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        _write_all(fd, data)
        return
    ready = select.poll()
    ready.register(fd, select.POLLOUT)
    view = memoryview(data)
    while view and not stop.is_set():
        if ready.poll(_LOOK_MS):
            with contextlib.suppress(BlockingIOError):  # somebody has made our standard output non-blocking
                view = view[os.write(fd, view[:_PIPE_BYTES]) :]


def _fsync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unwritable(path: Path, exc: OSError) -> OutputNotWritten:
    """The error for a failed write after the work is done: nothing is lost."""
    message, cause, hint = _error_texts(path, exc)
    return OutputNotWritten(message, cause=cause, hint=f"{hint}; {_SAFE}")


def _error_texts(path: Path, exc: OSError) -> tuple[str, str | None, str]:
    """Message, cause and hint."""
    cause = exc.strerror
    match exc:
        case FileNotFoundError():
            hint = "make the folder first, or choose another path"
        case PermissionError():
            hint = "choose a folder that you may write to"
        case BrokenPipeError():
            hint = "the reader went away"
        case OSError(errno=errno.ENXIO):
            cause, hint = "it is a pipe that nobody reads from", "start its reader first"
        case OSError() if is_no_space(exc):
            hint = "make space"
        case _:
            hint = "choose another path"
    return f"cannot write {readable(os.fspath(path))}", cause, hint


def is_foreign(path: Path, found: os.stat_result) -> bool:
    """True if another user may have put *path* there: its status *found* has neither us nor the folder's owner.

    In folders that everybody may write to (/tmp). The rule is the kernel's (fs.protected_symlinks, protected_regular,
    protected_fifos), which does not cover renames and may be off: Linux, Documentation/admin-guide/sysctl/fs.rst.
    """
    folder = path.parent.stat()
    return bool(folder.st_mode & stat.S_IWOTH) and found.st_uid not in (os.geteuid(), folder.st_uid)


def refuse_foreign_links(path: Path) -> None:
    """Raise PermissionError if a link of another user, in such a folder, is on the way to *path*."""
    for link in symlinks_on_the_way(path.absolute()):
        found = link.lstat()
        if is_foreign(link, found):
            raise PermissionError(13, f"{link} is a link of another user (uid {found.st_uid}) {_WHERE}")


def refuse_foreign(path: Path) -> None:
    """Raise PermissionError if *path* itself belongs to another user, in such a folder."""
    try:
        found = path.lstat()
    except OSError:  # nothing is there, or no file: told elsewhere
        return
    if is_foreign(path, found):
        raise PermissionError(13, f"it is there already, of another user (uid {found.st_uid}), {_WHERE}")
