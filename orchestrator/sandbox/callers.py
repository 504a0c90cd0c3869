"""The caller of the sandbox: key, workspace, API version and betas, read from the headers as the API reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from orchestrator.domain.batches_api import API_VERSIONS, ApiError, known_version
from orchestrator.sandbox.sandbox_settings import MachineSettings


def identify(headers: Mapping[str, str], base_url: str, settings: MachineSettings) -> Caller:
    """The caller behind *headers* (names in lower case). Raises ApiError 401 for the key, 400 for the version."""
    workspace = _workspace(_key(headers), settings)
    version = known_version(headers.get("anthropic-version"))
    betas = frozenset(filter(None, (name.strip() for name in headers.get("anthropic-beta", "").split(","))))
    return Caller(workspace=workspace, api_version=version, betas=betas, base_url=base_url)


def _key(headers: Mapping[str, str]) -> str:
    """The API key: `x-api-key`, or a bearer token (what SDK 2 sends)."""
    key = headers.get("x-api-key", "").strip()
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    raise ApiError(401, "authentication_error", "x-api-key header is required")


def _workspace(key: str, settings: MachineSettings) -> str:
    if settings.valid_keys is None:
        return DEFAULT_WORKSPACE
    workspace = settings.valid_keys.get(key)
    if workspace is None:
        raise ApiError(401, "authentication_error", "API key is invalid.")
    return workspace


DEFAULT_WORKSPACE: Final = "wrkspc_sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The workspace of the key, the API version and betas of the headers, and the URL that was called."""

    workspace: str = DEFAULT_WORKSPACE
    api_version: str = API_VERSIONS[-1]
    betas: frozenset[str] = field(default_factory=frozenset)
    base_url: str = "http://sandbox.localhost"
