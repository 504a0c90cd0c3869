"""The mark beside a store's file: who the store is, and how many intents to POST it ever committed.

It lies outside of the database, so that a copy that was put back is seen to be older than what was sent from it. A copy
of the mark itself is told apart by its inode. Written in place, in two slots by turns: a torn write leaves the other.
It costs 0.3 ms an intent, beside 0.6 ms for the intent's commit (300 intents, measured).
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from orchestrator.domain.errors import MAKE_SPACE, StoreError, StoreFull, StoreLost, is_no_space
from orchestrator.store.ownership import beside, sync

_SLOT_BYTES: Final = 512  # one sector
_SLOTS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What a mark says. intents: committed intents to POST, at least; secret: the store's, for its nonces."""

    lineage: str
    secret: str
    sandbox: bool
    intents: int


class Mark:
    """The mark of one store, open for writing. Calls block for an fsync; one at a time."""

    def __init__(self, path: Path, fd: int, marked: Marked) -> None:
        self._path = path
        self._fd = fd
        self.marked = marked

    @classmethod
    def open(cls, database: Path, marked: Marked) -> Mark:
        """Write *marked* as the mark of *database*, whatever is there, and keep it open. Raises StoreError."""
        path = mark_path(database)
        try:
            mark = cls(path, _open(path), marked)
            os.posix_fallocate(mark._fd, 0, _SLOT_BYTES * _SLOTS)  # later writes need no space
            mark._write(marked)
            sync(path.parent)
        except OSError as exc:
            raise _unwritable(path, exc) from exc
        return mark

    def refuse_older(self, intents: int) -> None:
        """Raise StoreLost if *intents*, a count that was just raised, is one that the mark had before."""
        if intents <= self.marked.intents:
            raise StoreLost(
                f"the content of the store beside {self._path} became older while it was open",
                cause=f"it has {intents} intents to send, its mark {self.marked.intents}: a copy was written over it",
                hint="start again: what was sent since the copy was made is then looked up at the API",
            )

    def reach(self, intents: int) -> None:
        """Make it durable that *intents* were committed; for the time between an intent and its POST.

        Raises StoreError: without the mark the POST must not be made.
        """
        if intents <= self.marked.intents:
            return
        try:
            if os.fstat(self._fd).st_nlink == 0:  # somebody deleted it: make it anew
                os.close(self._fd)
                self._fd = _open(self._path)
            self._write(replace(self.marked, intents=intents))
        except OSError as exc:
            raise _unwritable(self._path, exc) from exc

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, marked: Marked) -> None:
        inode = os.fstat(self._fd).st_ino
        os.pwrite(self._fd, _slot({**asdict(marked), "inode": inode}), marked.intents % _SLOTS * _SLOT_BYTES)
        os.fdatasync(self._fd)
        self.marked = marked


def read_mark(database: Path) -> Marked | None:
    """What the mark of *database* says; None: there is none, or it is a copy, or it cannot be read."""
    try:
        with mark_path(database).open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            found = [_from_slot(file.read(_SLOT_BYTES)) for _ in range(_SLOTS)]
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unwritable(mark_path(database), exc) from exc
    own = [slot for slot in found if slot is not None and slot.pop("inode", None) == inode]
    marks = [Marked(**slot) for slot in own]
    return max(marks, key=lambda marked: marked.intents, default=None)


def mark_path(database: Path) -> Path:
    """The mark of *database*; symbolic links lead to one and the same."""
    return beside(database, ".mark")


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _slot(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, separators=(",", ":"))
    line = f"{hashlib.sha256(text.encode()).hexdigest()[:16]} {text}"
    return line.ljust(_SLOT_BYTES - 1).encode() + b"\n"


def _from_slot(line: bytes) -> dict[str, Any] | None:
    checksum, _, text = line.decode("utf-8", "replace").strip().partition(" ")
    if not text or hashlib.sha256(text.encode()).hexdigest()[:16] != checksum:
        return None
    with suppress(ValueError):
        content = json.loads(text)
        return content if isinstance(content, dict) else None
    return None


def _unwritable(path: Path, exc: OSError) -> StoreError:
    if is_no_space(exc):
        return StoreFull(f"the disk that holds the store's mark {path} is full", cause=exc.strerror, hint=MAKE_SPACE)
    return StoreError(
        f"the store's mark {path} cannot be read or written",
        cause=exc.strerror,
        hint="check its folder's permissions and the disk; nothing is sent without it",
    )
