"""Who is calling the sandbox, as its machine knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from orchestrator.domain.batches_api import API_VERSIONS

DEFAULT_WORKSPACE: Final = "wrkspc_sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks and how: the workspace of the key, the API version and betas of the headers, the URL that was called."""

    workspace: str = DEFAULT_WORKSPACE
    api_version: str = API_VERSIONS[-1]
    betas: frozenset[str] = field(default_factory=frozenset)
    base_url: str = "http://sandbox.localhost"
