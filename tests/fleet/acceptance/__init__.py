"""Checks of a fleet that take minutes, or root: each a program, run by hand (CONTRIBUTING.md)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.postgres import PostgresServer, join_server


@contextmanager
def server_in_folder(prefix: str) -> Iterator[tuple[PostgresServer, Path]]:
    """A server of its own and an empty folder, for the block."""
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        server = join_server(Path(folder) / "postgres")
        try:
            yield server, Path(folder)
        finally:
            server.leave()
