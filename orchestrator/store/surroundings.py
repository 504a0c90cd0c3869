"""What lies around the database file: its log, and whether anything can be written there. SQLite does not say why."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import is_no_space

#: As much as SQLite wants for the smallest thing it makes: the index of a log.
_LITTLE_BYTES: Final = 32 * 1024


def has_log(path: Path) -> bool:
    """True if a log with work in it lies beside the store at *path*; else the file alone is the whole store."""
    real = path.resolve()
    log = real.with_name(f"{real.name}-wal")
    return log.exists() and log.stat().st_size > 0


def is_full(folder: Path) -> bool:
    """True if not even a little can be written in *folder*: its disk is full, or a quota is used up."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(_LITTLE_BYTES))
    except OSError as exc:
        return is_no_space(exc)
    return False


def unwritable(path: Path) -> str | None:
    """Why nothing can be written at *path*, for people; None if it can."""
    folder = path.resolve().parent
    if not _may(folder, os.W_OK | os.X_OK):
        return f"nothing can be written in {folder}"
    if path.exists() and not _may(path, os.W_OK):
        return f"{path} is read-only"
    return None


def _may(path: Path, mode: int) -> bool:
    """As this process is now, where the system can be asked that."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
