"""The file that lets a sandbox survive a killed process.

Append only, one write per record, readable by its owner alone.

A write is handed to the operating system before the API's answer goes out; that is enough against a killed process,
which is what it is for (a power cut may cost the last batches of a sandbox).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import MAKE_SPACE, StoreError, StoreFull, is_no_space

FILE_MODE: Final = 0o600


class JournalError(StoreError):
    """A record could not be written; what it was to record has not happened."""


class JournalFull(JournalError, StoreFull):
    """The same, because there is no space."""


class JournalFile:
    """Opens or creates *path*. Read `lines`, `keep` what was whole, then `append`; `close` at the end.

    Raises JournalError where that cannot be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
            os.fchmod(self._fd, FILE_MODE)
        except OSError as exc:
            raise _unwritten(path, exc) from exc

    def lines(self) -> Iterator[bytes]:
        """The lines of the file; the last may be torn."""
        with self.path.open("rb") as file:
            yield from file

    def keep(self, whole_bytes: int) -> None:
        """Cut off everything behind the first *whole_bytes*: a torn end."""
        os.ftruncate(self._fd, whole_bytes)

    def append(self, record: bytes) -> None:
        """Write *record* whole, or nothing of it and raise JournalError (disk full).

        The call that needed it then fails.
        """
        before = os.fstat(self._fd).st_size
        left = memoryview(record)
        try:
            while left.nbytes:
                left = left[os.write(self._fd, left) :]
        except OSError as exc:
            os.ftruncate(self._fd, before)  # what follows a torn record would be lost
            raise _unwritten(self.path, exc) from exc

    def close(self) -> None:
        """Give the file back."""
        os.close(self._fd)


def _unwritten(path: Path, exc: OSError) -> JournalError:
    kind, hint = (JournalFull, MAKE_SPACE) if is_no_space(exc) else (JournalError, "check the file and its folder")
    return kind(f"the sandbox cannot write its journal {path}", cause=exc.strerror, hint=hint)
