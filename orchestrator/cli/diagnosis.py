"""The checks of `doctor`. Each gives one finding; none changes anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.cli import words
from orchestrator.cli.asking_api import without_a_job
from orchestrator.cli.reading import engine_runs
from orchestrator.config import format_duration
from orchestrator.domain.account import CREDENTIALS, REMEDIES
from orchestrator.domain.errors import NeedsPerson, OrchestratorError, ProviderError, ProviderRefused

if TYPE_CHECKING:
    from orchestrator.config import Settings
    from orchestrator.store.checkup import StoreFacts

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"

#: Source: sqlite.org, "WAL-reset bug", fixed in 3.51.3: two connections that reset the same WAL can corrupt it.
_SOUND_SQLITE: Final = (3, 51, 3)
_SKEW: Final = timedelta(seconds=30)
_ENOUGH_BYTES: Final = 2_000_000_000
_TOO_FEW_BYTES: Final = 200_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, "ok", "warn" or "fail", what was found, what to do. exit_code: of a fail."""

    check: str
    verdict: str
    fact: str
    remedy: str | None = None
    exit_code: int = 0


def exit_code_of(findings: Iterable[Finding]) -> int:
    """The code of the worst fail: the store before the credentials before the network; 0 without one."""
    codes = {finding.exit_code for finding in findings if finding.verdict == FAIL}
    return next((code for code in (8, 3, 6, 2) if code in codes), 0)


async def api_findings(settings: Settings, *, sandbox: bool) -> list[Finding]:
    """Key, API, clock."""
    if sandbox:
        fact = "SANDBOX: the local API is a part of this program and takes any key"
        return [Finding(check="credentials", verdict=OK, fact=fact)]
    return await _ask_api(settings)


async def _ask_api(settings: Settings) -> list[Finding]:
    """The credentials; with them one page of the list, and what its Date says of our clock."""
    from orchestrator.daemon import open_provider
    from orchestrator.provider.client import AnthropicProvider

    found: list[Finding] = []
    try:
        async with open_provider(settings, sandbox=False) as provider:
            if isinstance(provider, AnthropicProvider):
                found.append(Finding(check="credentials", verdict=OK, fact=(await provider.warm()).describe()))
            page = await provider.page(after_id=None, limit=1)
            ours = datetime.now(UTC)
    except OrchestratorError as exc:
        return [_unusable(exc), Finding(check="api", verdict=WARN, fact="not asked, because there is no usable key")]
    except ProviderError as exc:
        return [*found, _refused(exc)]
    meta = page.meta
    account = "" if meta.organization is None else f"; organization {meta.organization}, workspace {meta.workspace}"
    found.append(Finding(check="api", verdict=OK, fact=f"it answers, and lists batches{account}"))
    return [*found, _clock(meta.date, ours)]


def _unusable(exc: OrchestratorError) -> Finding:
    """Credentials, or the address they are for, that cannot be used."""
    code = 3 if isinstance(exc, NeedsPerson) else 2
    fact = exc.message if exc.cause is None else f"{exc.message}: {exc.cause}"
    remedy = f"{without_a_job(str(exc.hint))}; without a key, try --sandbox" if code == 3 else exc.hint
    return Finding(check="credentials", verdict=FAIL, fact=fact, remedy=remedy, exit_code=code)


def _refused(exc: ProviderError) -> Finding:
    if isinstance(exc, ProviderRefused):
        code = CREDENTIALS if exc.blocked is None else exc.blocked
        return Finding(
            check="api",
            verdict=FAIL,
            fact=f"it refuses: {exc.message}",
            remedy=without_a_job(REMEDIES[code]),
            exit_code=3,
        )
    return Finding(
        check="api",
        verdict=FAIL,
        fact=f"it does not answer: {exc.message}",
        remedy="check the network, a proxy, [api] base_url and ANTHROPIC_BASE_URL",
        exit_code=6,
    )


def _clock(theirs: datetime | None, ours: datetime) -> Finding:
    if theirs is None:
        return Finding(check="clock", verdict=WARN, fact="the API's answer has no Date; a gateway may have removed it",
                       remedy="batches in doubt wait by our own clock instead")  # fmt: skip
    skew = ours - theirs
    if abs(skew) <= _SKEW:
        return Finding(check="clock", verdict=OK, fact=f"{abs(skew).total_seconds():.0f} s from the API's")
    side = "ahead of" if skew > timedelta(0) else "behind"
    return Finding(
        check="clock",
        verdict=WARN,
        fact=f"{words.span(abs(skew))} {side} the API's; only times that are shown suffer, no promise does",
        remedy="set this machine's clock (timedatectl set-ntp true)",
    )


def local_findings(settings: Settings, *, thorough: bool) -> list[Finding]:
    """Store, engine, SQLite, disk, limits."""
    return [*_store(settings, thorough=thorough), _disk(settings.database.path), *_limits(settings)]


def _store(settings: Settings, *, thorough: bool) -> Iterator[Finding]:
    from orchestrator.store.checkup import check_up
    from orchestrator.store.read import StoreReader

    path = settings.database.path
    if not path.exists():
        yield Finding(check="store", verdict=OK, fact=f"none yet at {path}; the first `run` or `submit` makes it")
        return
    try:
        with StoreReader.open(path) as reads:
            meta, jobs = reads.meta(), reads.unfinished()
        facts = check_up(path, thoroughly=thorough)
    except OrchestratorError as exc:
        yield Finding(check="store", verdict=FAIL, fact=exc.message, remedy=exc.hint, exit_code=8)
        return
    yield _file(path, facts, sandbox=meta.sandbox, thorough=thorough)
    yield _engine(settings, unfinished=len(jobs), sandbox=meta.sandbox)
    yield _sqlite(facts.sqlite)
    if meta.duplicates_total:
        fact = f"{words.batches(meta.duplicates_total)} turned out to have been sent twice"
        yield Finding(check="duplicates", verdict=WARN, fact=fact, remedy="raise [limits] doubt_wait")


def _file(path: Path, facts: StoreFacts, *, sandbox: bool, thorough: bool) -> Finding:
    if facts.schema > facts.known:
        fact = f"{path} has schema {facts.schema}, this program knows {facts.known}"
        return Finding(check="store", verdict=FAIL, fact=fact, remedy="upgrade the program", exit_code=8)
    if facts.damage is not None:
        remedy = "restore a backup of the database file"
        return Finding(check="store", verdict=FAIL, fact=f"damaged: {facts.damage}", remedy=remedy, exit_code=8)
    kind, soundness = "sandbox work" if sandbox else "real work", ", sound" if thorough else ""
    size = words.size(path.stat().st_size)
    return Finding(check="store", verdict=OK, fact=f"{path}: {kind}, {size}, schema {facts.schema}{soundness}")


def _engine(settings: Settings, *, unfinished: int, sandbox: bool) -> Finding:
    if engine_runs(settings):
        return Finding(
            check="engine", verdict=OK, fact=f"one runs on this store; {words.count(unfinished, 'job')} not over"
        )
    if unfinished:
        flag = " --sandbox" if sandbox else ""
        return Finding(
            check="engine",
            verdict=WARN,
            fact=f"none runs, and {words.count(unfinished, 'job')} {'is' if unfinished == 1 else 'are'} not over",
            remedy=f"`orchestrator serve{flag}` works on all of them, `orchestrator resume JOB{flag}` on one",
        )
    return Finding(check="engine", verdict=OK, fact="none runs, and none is needed")


def _sqlite(version: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, version))
    if version >= _SOUND_SQLITE:
        return Finding(check="sqlite", verdict=OK, fact=text)
    return Finding(
        check="sqlite",
        verdict=WARN,
        fact=f"{text}: before 3.51.3 two connections that reset a WAL at once can damage it. Safe here, because one "
        "process owns the store and its one writer alone does that",
        remedy="do not open the database file for writing with other programs; a newer Python brings a newer SQLite",
    )


def _disk(path: Path) -> Finding:
    folder = next(parent for parent in path.parents if parent.exists())
    free = shutil.disk_usage(folder).free
    fact = f"{words.size(free)} free at {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(check="disk", verdict=FAIL, fact=f"{folder} is not writable", remedy="--db PATH names another",
                       exit_code=8)  # fmt: skip
    if free < _TOO_FEW_BYTES:
        return Finding(check="disk", verdict=FAIL, fact=fact, remedy="make space: nothing new is sent", exit_code=8)
    if free < _ENOUGH_BYTES:
        remedy = "a job needs about the size of its input and of its results here"
        return Finding(check="disk", verdict=WARN, fact=fact, remedy=remedy)
    return Finding(check="disk", verdict=OK, fact=fact)


def _limits(settings: Settings) -> Iterator[Finding]:
    limits, batching = settings.limits, settings.batching
    most = "just under 100,000" if batching.max_requests is None else f"{batching.max_requests:,}"
    yield Finding(
        check="limits",
        verdict=OK,
        fact=f"{limits.max_in_flight_requests:,} requests and {limits.max_in_flight_batches:,} batches in flight; "
        f"a batch holds {most} requests, {words.size(batching.max_bytes)}; looks every "
        f"{format_duration(limits.poll_interval)} to {format_duration(limits.poll_interval_max)}",
    )
    if limits.doubt_wait < timedelta(minutes=5) and settings.is_set("limits.doubt_wait"):
        yield Finding(
            check="doubt_wait",
            verdict=WARN,
            fact=f"{format_duration(limits.doubt_wait)}: a batch that shows up later than this is paid for twice",
            remedy="20m, the default, is safe",
        )
