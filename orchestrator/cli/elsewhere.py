"""The commands with `--server`: their looks at it. Loaded only then: it brings an HTTP client."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.out import say
from orchestrator.cli.words import count, plain
from orchestrator.client.remote_reads import HttpReader
from orchestrator.client.session import not_a_sandbox
from orchestrator.client.transport import ServerTransport
from orchestrator.domain.errors import OrchestratorError
from orchestrator.version import VERSION
from orchestrator.views.health_checks import FAIL, OK, WARN, Finding

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.client.server_address import Server
    from orchestrator.ports.reads import RemoteReads

#: The most that a page of the API holds.
MOST: Final = 1000


def reader_at(options: GlobalOptions, server: Server, *, has_answered: bool = False) -> HttpReader:
    """Looks at *server*; says so when it falls silent after it *has_answered*, and waits for it."""
    return HttpReader(ServerTransport(server), has_answered=has_answered, say=lambda words: say(options, plain(words)))


@contextmanager
def looking_at(options: GlobalOptions, server: Server) -> Iterator[RemoteReads]:
    """A few looks at *server*. Raises UsageError for --sandbox where real work is done."""
    with reader_at(options, server) as reader, reader.snapshot() as reads:
        if options.sandbox and not reads.meta().sandbox:
            raise not_a_sandbox(server)
        yield reads


def remote_batches(options: GlobalOptions, server: Server, limit: int) -> dict[str, Any]:
    """The batches that the API lists to *server*, as `batches ls --json` shows them; *limit* up to `MOST`."""
    with reader_at(options, server) as reader, reader.snapshot() as reads:
        sandbox = reads.meta().sandbox
        if options.sandbox and not sandbox:
            raise not_a_sandbox(server)
        return {**reader.ask("remote-batches", {"limit": limit}), "sandbox": sandbox}


def unready(options: GlobalOptions, server: Server) -> str | None:
    """Why *server* is not ready; None if it is."""
    try:
        with reader_at(options, server) as reader:
            reader.fetch("readyz", {})
    except OrchestratorError as exc:
        return exc.message if exc.cause is None else f"{exc.message} ({exc.cause})"
    return None


def findings(options: GlobalOptions, server: Server) -> tuple[list[Finding], bool]:
    """What `doctor` finds: the way to *server*, and how it fares; and whether it is a sandbox."""
    token = Finding(check="token", verdict=OK, fact=f"from {server.token_from}")
    began = time.monotonic()
    try:
        with reader_at(options, server) as reader, reader.snapshot() as reads:
            identity, took_s = reader.ask("version", {}), time.monotonic() - began
            health, unfinished = reader.ask("health", {}), len(reads.unfinished())
            found = [_identity(server, identity, took_s), token, _api(health)]
    except OrchestratorError as exc:
        remedy, code = exc.hint, exc.exit_code
        told = exc.message if exc.cause is None else f"{exc.message} ({exc.cause})"
        return [Finding(check="server", verdict=FAIL, fact=told, remedy=remedy, exit_code=code), token], options.sandbox
    found.append(Finding(check="jobs", verdict=OK, fact=f"{count(unfinished, 'job')} not over"))
    return found, bool(identity.get("sandbox"))


def _identity(server: Server, identity: Mapping[str, Any], took_s: float) -> Finding:
    version = plain(str(identity.get("version")))
    kind = "sandbox work" if identity.get("sandbox") else "real work"
    fact = f"{server.url}: version {version}, {kind}, answers within {took_s * 1000:.0f} ms"
    if version == VERSION:
        return Finding(check="server", verdict=OK, fact=fact)
    remedy = "use the same version of orchestrator here and there"
    return Finding(check="server", verdict=WARN, fact=f"{fact}; this is version {VERSION}", remedy=remedy)


def _api(health: Mapping[str, Any]) -> Finding:
    """What the server knows of the API: it has the key, not this side."""
    trouble = health.get("last_trouble")
    if trouble is not None:
        remedy = "`orchestrator doctor` on that machine looks closer"
        return Finding(check="api", verdict=WARN, fact=f"its last call failed: {plain(str(trouble))}", remedy=remedy)
    worked = "its last call worked" if health.get("api_worked") else "it has not asked yet"
    return Finding(check="api", verdict=OK, fact=worked)
