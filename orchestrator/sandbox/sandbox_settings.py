"""The settings of a sandbox: limits, models, keys, how long batches take, how fast its time runs; and who calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.domain.api_versions import NEWEST_API_VERSION
from orchestrator.domain.batches_api import ApiError, known_version
from orchestrator.sandbox.crash_points import CrashPoint
from orchestrator.sandbox.model_catalog import KNOWN_MODELS, ModelCard

MAX_REQUESTS: Final = 100_000
MAX_BODY_BYTES: Final = 256_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSettings:
    """How the machine behaves. Durations are seconds of the machine's own clock.

    `valid_keys` maps an API key to its workspace; None takes any non-empty key as one and the same workspace.
    `batch_seconds` is the range a batch takes; over 24 h means that its unfinished rows expire. `instant` makes it 0.
    `queue_limit` is the account's number of requests not yet processed (429 above it); None: no limit.
    `refuse_late_cancel`: what a cancel of an ended batch gets is not documented; False answers 200 with the batch.
    `overrun_hours`: how late an unfinished batch ends, seen from its `expires_at`.
    `live_counts`: True lets the counts fill while a batch runs, which the documentation denies and captures hint at.
    `count_tokens_a_minute`: how many calls of that endpoint a workspace has (429 above it); None: no limit.
    Limits: Message Batches API reference (100,000 requests, 256 MB, 24 h, 29 days).
    """

    models: Mapping[str, ModelCard] = field(default_factory=lambda: KNOWN_MODELS)
    valid_keys: Mapping[str, str] | None = None
    max_requests: int = MAX_REQUESTS
    max_body_bytes: int = MAX_BODY_BYTES
    batch_seconds: tuple[float, float] = (30.0, 300.0)
    instant: bool = False
    cancel_seconds: float = 25.0
    expiry_hours: float = 24.0
    overrun_hours: float = 0.0
    retention_days: float = 29.0
    queue_limit: int | None = None
    refuse_late_cancel: bool = False
    live_counts: bool = False
    retry_after_in_progress: int | None = 10
    count_tokens_a_minute: int | None = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """The settings of a whole sandbox: its machine, time, faults and journal.

    `speed`: seconds of sandbox time per real second (360: an hour in ten seconds).
    `faults`: the option string of `faults.parse_faults`. `journal`: a file that lets batches survive a killed process.
    `crash_at`: where the sandbox kills its own process; needs a journal, and concerns the in-process transport alone.
    """

    machine: MachineSettings = field(default_factory=MachineSettings)
    seed: int = 0
    speed: float = 360.0
    faults: str = ""
    journal: Path | None = None
    crash_at: CrashPoint | None = None


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
    api_version: str = NEWEST_API_VERSION
    betas: frozenset[str] = field(default_factory=frozenset)
    base_url: str = "http://sandbox.localhost"
