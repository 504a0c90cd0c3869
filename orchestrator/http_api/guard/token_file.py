"""The token file: it holds the token alone, and only its owner may read or replace it."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from orchestrator.config.safe_files import read_secret
from orchestrator.domain.errors import MAKE_SPACE, StoreError, StoreFull, UsageError, is_no_space

#: 32 characters of base64 are 192 bits; `orchestrator service token` writes 43 (256 bits).
_TOKEN: Final = re.compile(r"[\x21-\x7e]{32,512}", re.ASCII)
_HINT: Final = "`orchestrator service token FILE` makes one"
#: 256 bits, as base64url: 43 characters.
_TOKEN_BYTES: Final = 32


def new_token() -> str:
    """A random token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def read_or_make_token(path: Path) -> str:
    """The token in the file at *path*, which is created (atomically, mode 0600) if it does not exist.

    Its folder, the store's, must exist. Raises UsageError, naming the file and never its content; StoreError if the
    file cannot be created.
    """
    if path.is_symlink():  # whoever else may write to the folder could have it lead to any secret of ours
        raise UsageError(f"the token file {path} is a link", hint="remove it, and the next start makes a token")
    if not path.exists():
        try:
            _make(path)
        except OSError as exc:
            full = StoreFull("the disk that holds the store is full", cause=str(exc), hint=MAKE_SPACE)
            hint = "name another with --token-file FILE, or see to the folder"
            other = StoreError(f"the token file {path} cannot be made", cause=exc.strerror, hint=hint)
            raise (full if is_no_space(exc) else other) from exc
    return read_token(path)


def _make(path: Path) -> None:
    """Create a token file at *path*; one that another process created meanwhile stays."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "w", encoding="ascii") as out:  # noqa: PTH123 - an open descriptor, made exclusively
            out.write(f"{new_token()}\n")
            out.flush()
            os.fsync(out.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def read_token(path: Path) -> str:
    """The token in the file at *path*. Raises UsageError, naming the file and never its content."""
    text = read_secret(path, called="the token file", hint=_HINT, error=UsageError)
    if _TOKEN.fullmatch(text) is None:
        why = "it must hold one token of at least 32 printable characters, and nothing else"
        raise UsageError(f"the token file {path} holds no token", cause=why, hint=_HINT)
    return text
