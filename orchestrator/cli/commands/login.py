"""`login`: a login link to the dashboard of a running daemon."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.cli.group import command
from orchestrator.cli.options import GlobalOptions
from orchestrator.cli.output import say, show, show_json
from orchestrator.cli.run_async import run_async

if TYPE_CHECKING:
    from orchestrator.client.transport import Transport

EXAMPLES = """
The link is good once, for ten minutes. The browser stays logged in for a week, until it logs out, or until the
daemon's token is another one.

Examples:
  orchestrator login                  print a link
  orchestrator login --open           open it in the browser
  orchestrator login --server https://jobs.example.com --token-file FILE
"""

_LINK_FILE: Final = "orchestrator-open.html"


@command(EXAMPLES)
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
def login(options: GlobalOptions, *, opens: bool) -> None:
    url, expires_in_s = _asked(options)
    if options.as_json:
        show_json({"url": url, "expires_in_s": expires_in_s})
    else:
        show(url)
        if expires_in_s is not None:
            say(options, f"good once, for {expires_in_s // 60} minutes")
    if opens:
        open_in_browser(url, is_secret=expires_in_s is not None)


def _asked(options: GlobalOptions) -> tuple[str, int | None]:
    """A link, and how many seconds it is valid. With --server it leads to the address that was given."""
    server = options.remote()
    if server is None:
        from orchestrator.cli.store_access import engine_socket_answers
        from orchestrator.client.transport import SocketTransport
        from orchestrator.domain.errors import GuardRefused
        from orchestrator.store.location import location_of

        settings = options.settings()
        if not engine_socket_answers(settings):
            hint = "`orchestrator serve` starts one"
            raise GuardRefused(f"no engine runs on {location_of(settings)}", hint=hint)
        url, path, expires_in_s = _way_in(SocketTransport(location_of(settings).socket))
        return f"{url}{path}", expires_in_s
    from orchestrator.client.transport import ServerTransport

    _, path, expires_in_s = _way_in(ServerTransport(server))
    return f"{server.url}{path}", expires_in_s


def _way_in(way: Transport) -> tuple[str, str, int | None]:
    from orchestrator.client.remote_commands import login_link

    return run_async(lambda: login_link(way))


def open_in_browser(url: str, *, is_secret: bool) -> None:
    """Open *url*. A secret one is not put on a command line, which every user can read.

    The browser is given a file in a private folder instead, which redirects there.
    """
    import webbrowser

    webbrowser.open(_leading_to(url).as_uri() if is_secret else url)


def _leading_to(url: str) -> Path:
    """A page that redirects to *url*, readable by this user alone."""
    from orchestrator.config import socket_folder

    path = socket_folder(os.environ) / _LINK_FILE
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(fd, "w", encoding="utf-8") as page:  # noqa: PTH123 - an open descriptor, made exclusively
        page.write(
            f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(url)}"><title>orchestrator</title>'
        )
    return path
