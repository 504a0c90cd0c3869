"""The settings of a sandbox: limits, models, keys, how long batches take, how fast its time runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

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
