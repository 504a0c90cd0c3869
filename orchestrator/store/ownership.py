"""Who owns a store: a lock file beside the database, never the database file itself.

Opening the database file by ourselves would drop SQLite's own locks when we close it (POSIX; measured), so nothing
here or elsewhere opens it but SQLite. `flock` is freed by the kernel when its process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from orchestrator.domain.errors import MAKE_SPACE, StoreError, StoreFull, StoreOwned, is_no_space
from orchestrator.store.opening import refuse_what_is_no_file

#: A killed process's lock was seen to stay for 33 ms; two seconds is plenty.
PATIENCE_S: Final = 2.0


class Lock:
    """The lock file of a store, held until `release` or the death of the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def take(cls, database: Path, *, patience_s: float = PATIENCE_S) -> Self:
        """Take the lock of *database*, waiting up to *patience_s*. Blocks; raises StoreOwned.

        The folder is made if it is missing.
        """
        refuse_what_is_no_file(database)
        path = lock_path(database)
        make_private_folder(path.parent)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            if is_no_space(exc):
                raise StoreFull(
                    f"there is no space for the lock file {path}", cause=exc.strerror, hint=MAKE_SPACE
                ) from exc
            raise StoreError(
                f"the lock file {path} cannot be opened", cause=exc.strerror, hint="check the folder's permissions"
            ) from exc
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(fd)
                    raise StoreOwned(
                        f"another process owns {database}",
                        hint="`orchestrator submit` and the other commands reach it; or stop it first",
                    ) from None
                time.sleep(0.02)
            else:
                return cls(fd)

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two owners in."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        """Hold it for a block."""
        return self

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        """Release it."""
        self.release()


def make_private_folder(path: Path) -> None:
    """Make *path* and what is missing above it, each 0700 whatever the umask. Raises StoreError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        if is_no_space(exc):
            raise StoreFull(f"there is no space for the folder {path}", cause=exc.strerror, hint=MAKE_SPACE) from exc
        raise StoreError(
            f"the folder {path} cannot be made", cause=exc.strerror, hint="choose another path with --db"
        ) from exc


def lock_path(database: Path) -> Path:
    """The lock file of *database*; symbolic links lead to one and the same lock."""
    real = database.resolve()
    return real.with_name(real.name + ".lock")
