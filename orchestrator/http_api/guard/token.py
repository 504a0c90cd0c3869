"""The token's file: it holds the token alone, and nobody else may read or replace it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from orchestrator.config.files import read_secret
from orchestrator.domain.errors import UsageError

#: 32 characters of base64 are 192 bits; `orchestrator service token` writes 43 (256 bits).
_TOKEN: Final = re.compile(r"[\x21-\x7e]{32,512}", re.ASCII)
_HINT: Final = "`orchestrator service token FILE` makes one"


def read_token(path: Path) -> str:
    """The token in the file at *path*. Raises UsageError, naming the file and never its content."""
    text = read_secret(path, called="the token file", hint=_HINT, error=UsageError)
    if _TOKEN.fullmatch(text) is None:
        why = "it must hold one token of at least 32 printable characters, and nothing else"
        raise UsageError(f"the token file {path} holds no token", cause=why, hint=_HINT)
    return text
