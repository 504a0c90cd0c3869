"""The token's file: it holds the token alone, and nobody else may read or replace it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import UsageError

#: 32 characters of base64 are 192 bits; `orchestrator service token` writes 43 (256 bits).
_TOKEN: Final = re.compile(r"[\x21-\x7e]{32,512}", re.ASCII)
_HINT: Final = "`orchestrator service token FILE` makes one"


def read_token(path: Path) -> str:
    """The token in the file at *path*. Raises UsageError, naming the file and never its content."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise UsageError(f"the token file {path} cannot be read", cause=exc.strerror, hint=_HINT) from exc
    try:
        _check(path, os.fstat(descriptor))
        text = os.read(descriptor, 4096).decode("latin-1").strip()
    finally:
        os.close(descriptor)
    if _TOKEN.fullmatch(text) is None:
        why = "it must hold one token of at least 32 printable characters, and nothing else"
        raise UsageError(f"the token file {path} holds no token", cause=why, hint=_HINT)
    return text


def _check(path: Path, found: os.stat_result) -> None:
    """A credential of systemd may belong to root; whose else it is, and who else may touch it, is refused."""
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"the token file {path} is not a file", hint=_HINT)
    if found.st_uid not in (os.geteuid(), 0):
        raise UsageError(f"the token file {path} belongs to another user", hint=f"{_HINT}, of your own")
    if found.st_mode & 0o077 and not _is_credential(path):
        raise UsageError(f"others may read the token file {path}", hint=f"chmod 600 {path}")


def _is_credential(path: Path) -> bool:
    """True below systemd's folder of credentials, which nobody else can enter."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return folder != "" and path.parent == Path(folder)
