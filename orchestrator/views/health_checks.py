"""Health checks shared by `doctor` and the dashboard: each finding has a verdict, a fact and a remedy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from orchestrator.config import Settings, format_duration
from orchestrator.domain import humanize

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"

_ENOUGH_BYTES: Final = 2_000_000_000
_TOO_FEW_BYTES: Final = 200_000_000
#: The log is written back at 32 MiB; 38 MB were the most that a busy engine was seen to have.
_LONG_LOG_BYTES: Final = 128_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check. verdict: "ok", "warn" or "fail"; exit_code: of the command, after a fail."""

    check: str
    verdict: str
    fact: str
    remedy: str | None = None
    exit_code: int = 0


def disk(folder: Path, *, called: str) -> Finding:
    """Free space and write access in the store's *folder*; *called*: its name in the sentence."""
    free = shutil.disk_usage(folder).free
    fact = f"{humanize.size(free)} free at {called}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(check="disk", verdict=FAIL, fact=f"{called} is not writable", remedy="--db PATH names another",
                       exit_code=8)  # fmt: skip
    if free < _TOO_FEW_BYTES:
        return Finding(check="disk", verdict=FAIL, fact=fact, remedy="make space: nothing new is sent", exit_code=8)
    if free < _ENOUGH_BYTES:
        remedy = "a job needs about the size of its input and of its results here"
        return Finding(check="disk", verdict=WARN, fact=fact, remedy=remedy)
    return Finding(check="disk", verdict=OK, fact=fact)


def long_log(size_bytes: int) -> Iterator[Finding]:
    """A warning if the write-ahead log has grown far beyond the size at which it is checkpointed."""
    if size_bytes > _LONG_LOG_BYTES:
        yield Finding(
            check="log",
            verdict=WARN,
            fact=f"the store's log has {humanize.size(size_bytes)}: another program keeps an old state of the store "
            "open, or an engine was killed",
            remedy="close what reads the file, such as sqlite3 or a backup tool (`lsof` names it); the engine then "
            "writes the log back and shortens it, at its next start at the latest",
        )


def duplicates(total: int) -> Iterator[Finding]:
    """A warning if batches were sent twice."""
    if total:
        fact = f"{humanize.batches(total)} turned out to have been sent twice"
        yield Finding(check="duplicates", verdict=WARN, fact=fact, remedy="raise [limits] doubt_wait")


def limits(settings: Settings) -> Iterator[Finding]:
    """The limits on work in flight, and a warning if `doubt_wait` is too short to be safe."""
    limits, batching = settings.limits, settings.batching
    most = "just under 100,000" if batching.max_requests is None else f"{batching.max_requests:,}"
    yield Finding(
        check="limits",
        verdict=OK,
        fact=f"{limits.max_in_flight_requests:,} requests and {limits.max_in_flight_batches:,} batches in flight; "
        f"a batch holds {most} requests, {humanize.size(batching.max_bytes)}; looks every "
        f"{format_duration(limits.poll_interval)} to {format_duration(limits.poll_interval_max)}",
    )
    if limits.doubt_wait < timedelta(minutes=5) and settings.is_set("limits.doubt_wait"):
        yield Finding(
            check="doubt_wait",
            verdict=WARN,
            fact=f"{format_duration(limits.doubt_wait)}: a batch that shows up later than this is paid for twice",
            remedy="20m, the default, is safe",
        )
