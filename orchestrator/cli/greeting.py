"""What `serve` says of its address: where the dashboard is, how one gets in, and what the SDK needs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from orchestrator.cli.words import coloured
from orchestrator.http_api.guard.sessions import CODE_S

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.http_api.listen import TcpListener


def lines(tcp: TcpListener, token_file: Path | None, *, sandbox: bool) -> Iterator[str]:
    """Line by line. No secret is in them but a code that is good once, and not even that in a log that others read."""
    if tcp.taken_port is not None:
        yield f"port {tcp.taken_port} is taken by another program, so a free one stands in for it"
    yield f"dashboard and API: {tcp.url}"
    if token_file is None:
        if not sandbox:
            told = "NO TOKEN is asked for: everybody with a login on this machine can read and spend here"
            yield coloured(told, "red", bold=True)
        yield from _for_the_sdk(tcp.url, "sandbox" if sandbox else "none")
        return
    minutes = CODE_S // 60
    if _goes_to_a_journal(os.environ):
        yield f"log in: `orchestrator login` prints a link that is good once, for {minutes} minutes"
    else:
        base, path = tcp.way_in()
        yield f"log in: {base}{path}"
        yield f"  (good once, for {minutes} minutes; `orchestrator login` prints another)"
    yield from _for_the_sdk(tcp.url, f'"$(cat {shlex.quote(str(token_file))})"')


def _for_the_sdk(url: str, key: str) -> Iterator[str]:
    yield "for the SDK, in the shell of the program that uses it:"
    yield f"  export ANTHROPIC_BASE_URL={url}"
    yield f"  export ANTHROPIC_API_KEY={key}"


def _goes_to_a_journal(environ: Mapping[str, str]) -> bool:
    """True under systemd: people who may read its journal may not be meant to log in.

    A terminal may have the variables from the service that it is.
    """
    if sys.stderr.isatty():
        return False
    return environ.get("JOURNAL_STREAM", "") != "" or environ.get("NOTIFY_SOCKET", "") != ""
