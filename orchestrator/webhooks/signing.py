"""Signatures by the Standard Webhooks scheme, which libraries in every language can verify."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator.config.safe_files import read_secret
from orchestrator.domain.errors import UsageError

_PREFIX: Final = "whsec_"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
#: Source: Standard Webhooks 1.0.0, "Signature scheme": a symmetric secret has 24 to 64 bytes.
_SHORTEST, _LONGEST = 24, 64
_REMEDY: Final = (
    "make one: python3 -c 'import base64,secrets; print(\"whsec_\"+base64.b64encode(secrets.token_bytes(32)).decode())'"
)


class SigningSecret:
    """The bytes that sign; shown as `***` wherever it is printed."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "***"

    def headers(self, message_id: str, at: datetime, payload: bytes) -> dict[str, str]:
        """The three headers of a message sent *at*."""
        stamp = str(int(at.timestamp()))
        signed = b".".join((message_id.encode(), stamp.encode(), payload))
        digest = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest()).decode()
        return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": f"v1,{digest}"}


def secret_from(variable: str | None, file: Path | None, environ: Mapping[str, str]) -> SigningSecret:
    """The secret in the environment *variable*, or alone in *file*. Raises UsageError, which never shows it."""
    if variable is not None:
        text = environ.get(variable, "")
        return _secret(text, f"the environment variable {variable}")
    if file is None:
        raise UsageError("a webhook has no secret", hint="[[webhooks]] takes secret_env or secret_file")
    text = read_secret(file, called="the secret file", hint=_REMEDY, error=UsageError)
    return _secret(text, f"the file {file}")


def _secret(text: str, source: str) -> SigningSecret:
    plain = text.strip().removeprefix(_PREFIX)
    key = _decoded(plain)
    if key is None or not _SHORTEST <= len(key) <= _LONGEST:
        cause = "there is none" if plain == "" else "it is not whsec_ and the base64 of 24 to 64 bytes"
        raise UsageError(f"{source} holds no secret for a webhook", cause=cause, hint=_REMEDY)
    return SigningSecret(key)


def _decoded(text: str) -> bytes | None:
    if _BASE64.fullmatch(text) is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
