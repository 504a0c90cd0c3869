"""Exclusive ownership of a store: a lock file beside the database, and a second lock by the inode of the database.

The second holds where one file is reached by two names, through a mount or a link. It is a name in the kernel (an
abstract socket), not a lock on the file: nobody but SQLite opens that, since closing a descriptor of our own would drop
SQLite's locks in this process (POSIX; measured), and the next connection that closes would take the log away from the
others. Both locks are freed by the kernel when their process dies, however it dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from orchestrator.domain import errors
from orchestrator.store import connect

#: A killed process's lock was seen to stay for 33 ms; two seconds is plenty.
PATIENCE_S: Final = 2.0


class Lock:
    """The ownership of a store, held until `release` or the death of the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._held: socket.socket | None = None

    @classmethod
    def take(cls, database: Path, *, patience_s: float = PATIENCE_S) -> Self:
        """Take the lock of *database*, waiting up to *patience_s*. Blocks; raises StoreOwned.

        The folder is made if it is missing.
        """
        connect.refuse_what_is_no_file(database)
        path = lock_path(database)
        make_private_folder(path.parent)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            if errors.is_no_space(exc):
                raise errors.StoreFull(
                    f"there is no space for the lock file {path}", cause=exc.strerror, hint=errors.MAKE_SPACE
                ) from exc
            raise errors.StoreError(
                f"the lock file {path} cannot be opened", cause=exc.strerror, hint="check the folder's permissions"
            ) from exc
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(fd)
                    raise errors.StoreOwned(
                        f"another process owns {database}",
                        hint="`orchestrator submit` and the other commands reach it; or stop it first",
                    ) from None
                time.sleep(0.02)
            else:
                return cls(fd)

    def hold_file(self, database: Path) -> None:
        """Lock the file *database*, if it is there, by its inode as well.

        Raises StoreOwned if an engine has it under another name; StoreError if it is mounted by itself, or another
        user's.
        """
        if self._held is not None or not database.exists():
            return
        _refuse_mounted(database.resolve())
        _make_private(database)
        found = database.stat()
        held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            held.bind(f"\0orchestrator-store-{found.st_dev}-{found.st_ino}")
        except OSError as exc:
            held.close()
            if exc.errno != errno.EADDRINUSE:  # a system without such names: the lock by name is what there is
                return
            raise errors.StoreOwned(
                f"another process owns the file {database} under another name",
                hint="it is mounted or linked in two places: use one of them",
            ) from None
        self._held = held

    def release(self) -> None:
        """Give the locks back, after SQLite closed the database. The lock file stays: else two owners would fit."""
        if self._held is not None:
            self._held.close()
            self._held = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        """Hold it for a block."""
        return self

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        """Release it."""
        self.release()


def _make_private(database: Path) -> None:
    """Make the file 0600: SQLite gives its log the same owner and mode, and both hold prompts and answers."""
    found = database.stat()
    if found.st_uid != os.geteuid():
        raise errors.StoreError(
            f"{database} belongs to another user",
            cause=f"the user with the number {found.st_uid} could read and change all that is stored in it",
            hint="work on it as that user; or, if it is to be yours: chown",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        database.chmod(0o600)


def make_private_folder(path: Path) -> None:
    """Make *path* and what is missing above it, each 0700 whatever the umask. Raises StoreError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        if errors.is_no_space(exc):
            raise errors.StoreFull(
                f"there is no space for the folder {path}", cause=exc.strerror, hint=errors.MAKE_SPACE
            ) from exc
        raise errors.StoreError(
            f"the folder {path} cannot be made", cause=exc.strerror, hint="choose another path with --db"
        ) from exc


def lock_path(database: Path) -> Path:
    """The lock file of *database*; symbolic links lead to one and the same lock."""
    return beside(database, ".lock")


def beside(database: Path, suffix: str) -> Path:
    """The file with *suffix* that lies beside *database*, where symbolic links lead to."""
    real = database.resolve()
    return real.with_name(real.name + suffix)


def sync(path: Path) -> None:
    """Make a copy, or a folder's names, survive a power cut. Never for a file that SQLite has open."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refuse_mounted(database: Path) -> None:
    """SQLite's log lies beside the file by its name: under another name another engine would not see it."""
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:  # not Linux: the inode's lock is what there is
        return
    name = os.fsencode(database)
    if any(_unescaped(line.split(b" ")[4]) == name for line in mounts):
        raise errors.StoreError(
            f"{database} is mounted by itself",
            cause="its log and its lock would lie in another folder than for whoever uses the file elsewhere",
            hint="mount its folder instead (for a container: -v FOLDER:/data)",
        )


def _unescaped(name: bytes) -> bytes:
    """A name as `mountinfo` writes it: octal escapes for blanks and the like. Source: proc(5)."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), name)
