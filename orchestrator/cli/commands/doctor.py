"""`orchestrator doctor` and its checks. Each gives one finding; none changes anything."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from orchestrator.cli import command_errors, console, signals, store_access
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.options import GlobalOptions
from orchestrator.config.network import check_exporter
from orchestrator.domain import account, api_answers, batches_api, errors, humanize
from orchestrator.ports.server_facts import StorePlace
from orchestrator.store.location import SqliteLocation, file_location_of, server_location_of
from orchestrator.version import VERSION
from orchestrator.views.health_checks import FAIL, OK, WARN, Finding, disk, duplicates, limits, long_log
from orchestrator.views.server_checks import server_findings
from orchestrator.views.service_views import HealthView, VersionView

if TYPE_CHECKING:
    from orchestrator.client.server_address import Server
    from orchestrator.config import Settings
    from orchestrator.ports.reads import StoreLocation
    from orchestrator.provider.settings import ApiAddress
    from orchestrator.store.maintenance import StoreFacts
    from orchestrator.store.postgres.server_location import PostgresLocation

#: Source: sqlite.org, "WAL-reset bug", fixed in 3.51.3: two connections that reset the same WAL can corrupt it.
_SOUND_SQLITE: Final = (3, 51, 3)
_SKEW: Final = timedelta(seconds=30)


def exit_code_of(findings: Iterable[Finding]) -> int:
    """The exit code of the worst failure: store, then credentials, then network; 0 without one."""
    codes = {finding.exit_code for finding in findings if finding.verdict == FAIL}
    return next((code for code in (8, 3, 6, 2) if code in codes), 0)


async def api_findings(settings: Settings, *, sandbox: bool) -> list[Finding]:
    """Key, API, clock."""
    if sandbox and settings.database.url is None:
        fact = "SANDBOX: the local API is a part of this program and takes any key"
        return [Finding(check="credentials", verdict=OK, fact=fact)]
    return await _ask_api(settings, sandbox=sandbox)


def _telemetry(settings: Settings) -> Iterator[Finding]:
    """Whether the environment of the OpenTelemetry exporter can be used, where traces are on."""
    if not settings.telemetry.otel:
        return
    try:
        check_exporter(os.environ)
    except errors.UsageError as exc:
        fact = f"{exc.message}: {exc.cause}"
        yield Finding(check="telemetry", verdict=FAIL, fact=fact, remedy=exc.hint, exit_code=2)


async def _ask_api(settings: Settings, *, sandbox: bool) -> list[Finding]:
    """Address and credentials; then one page of the list of batches, whose Date is compared with our clock."""
    from orchestrator.api_side import START_SANDBOX
    from orchestrator.daemon import open_provider
    from orchestrator.provider.client import AnthropicProvider

    found: list[Finding] = []
    try:
        async with open_provider(settings, sandbox=sandbox) as provider:
            if isinstance(provider, AnthropicProvider):
                found.append(Finding(check="credentials", verdict=OK, fact=(await provider.warm()).describe()))
                found += _address(provider.address)
            page = await provider.page(after_id=None, limit=1)
            ours = datetime.now(UTC)
    except errors.OrchestratorError as exc:
        why = "there is no usable key" if isinstance(exc, errors.NeedsPerson) else "there is no usable way to it"
        return [
            _unusable(exc),
            Finding(check="api", verdict=WARN, fact=f"not asked, because {why}"),
        ]
    except errors.ProviderError as exc:
        return [*found, _refused(exc)]
    meta = page.meta
    caller = "" if meta.organization is None else f"; organization {meta.organization}, workspace {meta.workspace}"
    if sandbox and meta.organization != batches_api.SANDBOX_ORGANIZATION:
        return [*found, Finding(check="api", verdict=FAIL, fact="it is no sandbox", remedy=START_SANDBOX, exit_code=2)]
    found.append(Finding(check="api", verdict=OK, fact=f"it answers, and lists batches{caller}"))
    return [*found, _clock(meta, ours)]


def _address(address: ApiAddress | None) -> Iterator[Finding]:
    """Where keys and prompts go, if that is not the API's own address."""
    if address is None or address.is_usual:
        return
    if not address.is_readable:
        yield Finding(check="address", verdict=OK, fact=address.words)
        return
    remedy = "give the gateway TLS, or be sure of everybody in the network between"
    yield Finding(check="address", verdict=WARN, fact=address.words, remedy=remedy)


def _unusable(exc: errors.OrchestratorError) -> Finding:
    """Credentials, or the way to the API, that cannot be used."""
    fact = exc.message if exc.cause is None else f"{exc.message}: {exc.cause}"
    if not isinstance(exc, errors.NeedsPerson):
        return Finding(check="network", verdict=FAIL, fact=fact, remedy=exc.hint, exit_code=2)
    remedy = f"{command_errors.without_resume(str(exc.hint))}; without a key, try --sandbox"
    return Finding(check="credentials", verdict=FAIL, fact=fact, remedy=remedy, exit_code=3)


def _refused(exc: errors.ProviderError) -> Finding:
    if isinstance(exc, errors.ProviderRefused):
        code = account.CREDENTIALS if exc.blocked is None else exc.blocked
        return Finding(
            check="api",
            verdict=FAIL,
            fact=f"it refuses: {exc.message}",
            remedy=command_errors.without_resume(account.REMEDIES[code]),
            exit_code=3,
        )
    return Finding(
        check="api",
        verdict=FAIL,
        fact=f"it does not answer: {exc.message}",
        remedy="check the network, a proxy, [api] base_url and ANTHROPIC_BASE_URL",
        exit_code=6,
    )


def _clock(meta: api_answers.ResponseMeta, ours: datetime) -> Finding:
    if meta.organization == batches_api.SANDBOX_ORGANIZATION:
        return Finding(check="clock", verdict=OK, fact="SANDBOX: the API's time runs as fast as the sandbox was told")
    theirs = meta.date
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
        fact=f"{humanize.span(abs(skew))} {side} the API's; only times that are shown suffer, no promise does",
        remedy="set this machine's clock (timedatectl set-ntp true)",
    )


def local_findings(settings: Settings, *, thorough: bool) -> list[Finding]:
    """Store, engine, SQLite, disk, limits."""
    url = settings.database.url
    if url is None:
        found = _file_findings(file_location_of(settings), thorough=thorough)
    else:
        found = _database_findings(server_location_of(url, settings), thorough=thorough)
    return [*found, *limits(settings), *_prices(settings), *_telemetry(settings)]


def _prices(settings: Settings) -> Iterator[Finding]:
    """A price file that cannot be used, or a list that is older than `[prices] max_age`."""
    from orchestrator.prices.price_book import PriceBook

    try:
        old = PriceBook(settings.prices).staleness(datetime.now(UTC).date())
    except errors.UsageError as exc:
        yield _untold("prices", exc, exit_code=2)
        return
    if old is not None:
        yield Finding(check="prices", verdict=WARN, fact=old[0], remedy=old[1])


def _database_findings(location: PostgresLocation, *, thorough: bool) -> Iterator[Finding]:
    """A store in a database on a server, and the server."""
    try:
        from orchestrator.fleet.queue_schema import plan_upgrade

        facts = location.look_over(plan_upgrade)
        yield from server_findings(facts)
        if facts.schema == facts.known and facts.place is not StorePlace.COPIED:
            yield from _store_there(location, thorough=thorough)
    except errors.UsageError as exc:
        yield _untold("server", exc, exit_code=2)
    except errors.OrchestratorError as exc:
        yield _untold("server", exc, exit_code=8)
    else:
        if facts.place is StorePlace.EMPTY:
            fact = f"none yet at {location}; the first `run` or `submit` makes it"
            yield Finding(check="store", verdict=OK, fact=fact)


def _untold(check: str, exc: errors.OrchestratorError, *, exit_code: int) -> Finding:
    fact = exc.message if exc.cause is None else f"{exc.message}: {exc.cause}"
    return Finding(check=check, verdict=FAIL, fact=fact, remedy=exc.hint, exit_code=exit_code)


def _store_there(location: PostgresLocation, *, thorough: bool) -> Iterator[Finding]:
    with location.open_reader() as reads:
        meta, unfinished = reads.meta(), len(reads.unfinished())
    wrong = location.audit() if thorough else []
    kind, soundness = "sandbox work" if meta.sandbox else "real work", ", sound" if thorough else ""
    size = humanize.size(location.size_bytes)
    if wrong:
        remedy = "restore a backup, or report this: `orchestrator db check` shows all of it"
        yield Finding(check="store", verdict=FAIL, fact=wrong[0], remedy=remedy, exit_code=8)
    else:
        yield Finding(check="store", verdict=OK, fact=f"{location}: {kind}, {size}{soundness}")
    yield _engine(location, unfinished=unfinished, sandbox=meta.sandbox)
    yield from duplicates(meta.duplicates_total)


def _file_findings(location: SqliteLocation, *, thorough: bool) -> Iterator[Finding]:
    """A store that is a file, and its disk."""
    yield from _store(location, thorough=thorough)
    yield from long_log(location.log_bytes)
    yield disk(location.folder, called=str(location.folder))


def _store(location: SqliteLocation, *, thorough: bool) -> Iterator[Finding]:
    if location.is_gone:
        fact, remedy = (
            f"{location} is gone, but its mark is there",
            "put it or a backup back; or `orchestrator db adopt-store`",
        )
        yield Finding(check="store", verdict=FAIL, fact=fact, remedy=remedy, exit_code=8)
        return
    if not location.exists:
        yield Finding(
            check="store",
            verdict=OK,
            fact=f"none yet at {location}; the first `run` or `submit` makes it",
        )
        return
    try:
        with location.open_reader() as reads:
            meta, jobs = reads.meta(), reads.unfinished()
        facts = location.check_up(thoroughly=thorough)
    except errors.OrchestratorError as exc:
        yield Finding(check="store", verdict=FAIL, fact=exc.message, remedy=exc.hint, exit_code=8)
        return
    yield _file(location, facts, sandbox=meta.sandbox, thorough=thorough)
    yield _engine(location, unfinished=len(jobs), sandbox=meta.sandbox)
    yield _sqlite(facts.sqlite)
    yield from duplicates(meta.duplicates_total)


def _file(location: SqliteLocation, facts: StoreFacts, *, sandbox: bool, thorough: bool) -> Finding:
    from orchestrator.store.identity import Standing

    if facts.schema > facts.known:
        fact = f"{location} has schema {facts.schema}, this program knows {facts.known}"
        return Finding(check="store", verdict=FAIL, fact=fact, remedy="upgrade the program", exit_code=8)
    if facts.damage is not None:
        remedy = "restore a backup of the database file"
        return Finding(check="store", verdict=FAIL, fact=f"damaged: {facts.damage}", remedy=remedy, exit_code=8)
    if facts.standing is Standing.COPIED:
        fact = f"{location} is a copy of a store, or was moved here"
        return Finding(check="store", verdict=FAIL, fact=fact, remedy="`orchestrator db adopt-store`", exit_code=8)
    if facts.standing is Standing.BEHIND or facts.searching:
        fact = (
            f"{location} may be older than what was sent from it: it was put back from a copy, or taken into use as one"
        )
        remedy = "let an engine run: it takes in what was sent since, before it sends anything; `orchestrator serve`"
        return Finding(check="store", verdict=WARN, fact=fact, remedy=remedy)
    kind, soundness = "sandbox work" if sandbox else "real work", ", sound" if thorough else ""
    size = humanize.size(location.size_bytes)
    return Finding(check="store", verdict=OK, fact=f"{location}: {kind}, {size}, schema {facts.schema}{soundness}")


def _engine(location: StoreLocation, *, unfinished: int, sandbox: bool) -> Finding:
    if location.has_engine:
        fact = f"one runs on this store; {humanize.count(unfinished, 'job')} not over"
        return Finding(check="engine", verdict=OK, fact=fact)
    if unfinished:
        flag = " --sandbox" if sandbox else ""
        return Finding(
            check="engine",
            verdict=WARN,
            fact=f"none runs, and {humanize.count(unfinished, 'job')} {'is' if unfinished == 1 else 'are'} not over",
            remedy=f"`orchestrator serve{flag}` works on all of them, `orchestrator resume JOB{flag}` on one",
        )
    return Finding(check="engine", verdict=OK, fact="none runs, and none is needed")


def _sqlite(version: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, version))
    if version >= _SOUND_SQLITE:
        return Finding(check="sqlite", verdict=OK, fact=text)
    note = "before 3.51.3 no other program may write to the database file; this one has a single writer"
    return Finding(check="sqlite", verdict=OK, fact=f"{text} ({note})")


def remote_findings(options: GlobalOptions, server: Server) -> tuple[list[Finding], bool]:
    """Reachability, token, API and jobs of *server*; and whether it is a sandbox."""
    token = Finding(check="token", verdict=OK, fact=f"from {server.token_from}")
    began = time.monotonic()
    try:
        with store_access.server_reader(options, server) as reader, reader.snapshot() as reads:
            identity, took_s = reader.ask(VersionView, "version", {}), time.monotonic() - began
            health, unfinished = reader.ask(HealthView, "health", {}), len(reads.unfinished())
            found = [_server_identity(server, identity, took_s), token, _server_api(health)]
    except errors.OrchestratorError as exc:
        remedy, code = exc.hint, exc.exit_code
        told = exc.message if exc.cause is None else f"{exc.message} ({exc.cause})"
        return [
            Finding(check="server", verdict=FAIL, fact=told, remedy=remedy, exit_code=code),
            token,
        ], options.sandbox
    found.append(Finding(check="jobs", verdict=OK, fact=f"{humanize.count(unfinished, 'job')} not over"))
    return found, identity.sandbox


def _server_identity(server: Server, identity: VersionView, took_s: float) -> Finding:
    version = humanize.plain(identity.version)
    kind = "sandbox work" if identity.sandbox else "real work"
    fact = f"{server.url}: version {version}, {kind}, answers within {took_s * 1000:.0f} ms"
    if version == VERSION:
        return Finding(check="server", verdict=OK, fact=fact)
    remedy = "use the same version of orchestrator here and there"
    return Finding(check="server", verdict=WARN, fact=f"{fact}; this is version {VERSION}", remedy=remedy)


def _server_api(health: HealthView) -> Finding:
    """How the server reaches the API: the key is there, not here."""
    if health.last_trouble is not None:
        remedy = "`orchestrator doctor` on that machine looks closer"
        return Finding(
            check="api",
            verdict=WARN,
            fact=f"its last call failed: {humanize.plain(health.last_trouble)}",
            remedy=remedy,
        )
    worked = "its last call worked" if health.api_worked else "it has not asked yet"
    return Finding(check="api", verdict=OK, fact=worked)


EXAMPLES = """
Examples:
  orchestrator doctor
  orchestrator doctor --thorough                read all of the database, which takes as long as a copy of it
  orchestrator doctor --db postgresql://orch@db/orch       is that server fit for it?
  orchestrator doctor --server https://jobs.example.com    the way to a server, its token, and how it fares
  orchestrator doctor --json | jq '.checks[] | select(.verdict != "ok")'

It asks the API for one page of the list of batches, which costs nothing, and changes nothing anywhere.

Exit codes: 0 all well or only warnings, 2 an address, a proxy, certificates or a price file that cannot be used, 3 no
usable credentials, 6 the API is out of reach, 8 the store, its disk or its server.
"""

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@command(EXAMPLES)
@click.option("--thorough", is_flag=True, help="Read all of the database.")
def doctor(options: GlobalOptions, thorough: bool) -> int:
    findings, sandbox = _findings(options, thorough=thorough)
    findings = [_pasteable(options, finding) for finding in findings]
    if options.as_json:
        facts = [asdict(finding) for finding in findings]
        console.show_json({"checks": facts, "healthy": all(f.verdict != FAIL for f in findings), "sandbox": sandbox})
        return exit_code_of(findings)
    console.show_banner(options, sandbox=sandbox)
    for finding in findings:
        verdict = console.coloured(f"{finding.verdict:<5}", _COLOURS[finding.verdict])
        console.show(f"{verdict} {finding.check:<12} {console.folded(humanize.plain(finding.fact), indent=19)}")
        if finding.remedy is not None:
            console.show(f"{'':<18} -> {console.folded(humanize.plain(finding.remedy), indent=22)}")
    return exit_code_of(findings)


def _findings(options: GlobalOptions, *, thorough: bool) -> tuple[list[Finding], bool]:
    server = options.remote()
    if server is not None:
        if thorough:
            raise HintedUsageError("--thorough reads the database file", hint="run it on the machine of the server")
        return remote_findings(options, server)
    settings = options.settings()
    console.say_unused_path(options, settings)
    store_access.configure_log(options, settings)
    found = signals.run_async(lambda: api_findings(settings, sandbox=options.sandbox))
    return [*found, *local_findings(settings, thorough=thorough)], options.sandbox


def _pasteable(options: GlobalOptions, finding: Finding) -> Finding:
    return finding if finding.remedy is None else replace(finding, remedy=console.completed(options, finding.remedy))
