"""A copy of a store that may be in use, by SQLite's own backup: one committed state, whole or not at all."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import GuardRefused, OutputError, StoreError, StoreFull, is_no_space
from orchestrator.store.opening import connect_onlooker, speaking_our_errors
from orchestrator.store.ownership import sync

_MAKE_SPACE: Final = "make space, or choose another disk"


def back_up(path: Path, target: Path) -> int:
    """Copy the store at *path*, as it is now, to *target*; its size in bytes. An engine may run meanwhile.

    In one step, inside one snapshot: a copy in several would start again at every write of the engine. The copy is made
    under another name (0600), read through, synced and renamed. Raises GuardRefused if *target* is there, OutputError.
    """
    if os.path.lexists(target):
        raise GuardRefused(f"{target} is there already", hint="nothing was written; choose another name")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        with closing(connect_onlooker(path)) as source:
            _copy(source, draft)
        sync(draft)
        draft.rename(target)
        sync(target.parent)
    except StoreFull as exc:
        raise OutputError(f"cannot write {target}", cause=exc.cause, hint=_MAKE_SPACE) from exc
    except OSError as exc:
        hint = _MAKE_SPACE if is_no_space(exc) else "choose another path"
        raise OutputError(f"cannot write {target}", cause=exc.strerror, hint=hint) from exc
    finally:
        for leftover in ("", "-wal", "-shm", "-journal"):
            draft.with_name(draft.name + leftover).unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: sqlite3.Connection, draft: Path) -> None:
    """Raises StoreError where the copy does not hold what it should."""
    with speaking_our_errors(), closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        source.backup(copy)
        # A store that lies beside its log has two files; the copy is to be one.
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreError("the copy is damaged", cause=str(found), hint="look at the store: orchestrator db check")
