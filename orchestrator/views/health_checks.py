"""What `doctor` and the dashboard's health page find alike: a verdict, what was found, what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.config import format_duration
from orchestrator.domain import humanize

if TYPE_CHECKING:
    from orchestrator.config import Settings

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"

_ENOUGH_BYTES: Final = 2_000_000_000
_TOO_FEW_BYTES: Final = 200_000_000
#: The log is written back at 32 MiB; 38 MB were the most that a busy engine was seen to have.
_LONG_LOG_BYTES: Final = 128_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, "ok", "warn" or "fail", what was found, what to do. exit_code: of a fail."""

    check: str
    verdict: str
    fact: str
    remedy: str | None = None
    exit_code: int = 0


def disk(folder: Path, *, called: str) -> Finding:
    """The space in the *folder* of the store; *called*: how that is named to who reads this."""
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
    """That the log of the store has grown far beyond where it is written back, if it has."""
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
    """That batches were sent twice, if any was."""
    if total:
        fact = f"{humanize.batches(total)} turned out to have been sent twice"
        yield Finding(check="duplicates", verdict=WARN, fact=fact, remedy="raise [limits] doubt_wait")


def limits(settings: Settings) -> Iterator[Finding]:
    """How much goes to the API at once, and a wait that is too short to be safe."""
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
