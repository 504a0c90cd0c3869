"""Shows an address in the browser, if there is one."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Final

_FILE: Final = "orchestrator-open.html"


def open_in_browser(url: str, *, is_secret: bool) -> None:
    """Show *url*, which was printed as well. One that is secret does not stand on a command line, which all can read.

    The browser is given a file in a folder of ours instead, which leads there.
    """
    import webbrowser

    webbrowser.open(_leading_to(url).as_uri() if is_secret else url)


def _leading_to(url: str) -> Path:
    """A page that leads to *url*, readable by this user alone."""
    from orchestrator.config import socket_folder

    path = socket_folder(os.environ) / _FILE
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(fd, "w", encoding="utf-8") as page:  # noqa: PTH123 - an open descriptor, made exclusively
        page.write(
            f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(url)}"><title>orchestrator</title>'
        )
    return path
