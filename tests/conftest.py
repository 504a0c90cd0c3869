"""Fixtures of all tests: PostgreSQL."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import postgres, stores
from support.length import IS_LONG
from support.postgres import PostgresServer, copy_server, join_server
from support.stores import Databases


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The run's PostgreSQL server, shared by its workers; the test is skipped where there is none."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    server = postgres.needed_server(lambda: postgres.server_of_run(run / "postgres"))
    yield server
    server.clear()
    server.leave()


@pytest.fixture
def new_database(postgres_server: PostgresServer) -> Iterator[Callable[..., str]]:
    """`new_database(template="template0")` gives the URL of a fresh database, which is dropped after the test."""
    made: list[str] = []

    def make(template: str = "template0") -> str:
        made.append(postgres_server.new_database(template))
        return made[-1]

    yield make
    for url in made:
        postgres_server.drop(url)


@pytest.fixture
def on_postgres(postgres_server: PostgresServer) -> Iterator[Databases]:
    """The stores that this test names by a path are databases on the server."""
    databases = Databases(postgres_server)
    stores.use(databases)
    yield databases
    stores.use(Databases())
    databases.drop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., PostgresServer]]:
    """`own_server(settings={}, auth="trust")` starts a server (0.8 s) that the test may stop, restart and fill up.

    `own_server(original=server, signal="standby")` starts one on a copy of another's files.
    """
    made: list[PostgresServer] = []

    def make(**more: object) -> PostgresServer:
        folder = tmp_path / f"postgres-{len(made)}"
        make_it = copy_server if "original" in more else join_server
        made.append(postgres.needed_server(lambda: make_it(folder=folder, **more)))  # type: ignore[arg-type]  # its own
        return made[-1]

    yield make
    for server in made:
        server.leave()


def pytest_configure() -> None:
    """Take Ctrl-C where a shell runs this in the background: programs ignore it there, and so do their children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `long`, unless a test is asked for by its name."""
    if not IS_LONG and not any("::" in each for each in config.args):
        config.hook.pytest_deselected(items=[each for each in items if each.get_closest_marker("long")])
        items[:] = [each for each in items if not each.get_closest_marker("long")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once why the tests with PostgreSQL were skipped."""
    skipped = [
        str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ()) if len(report.longrepr) == 3
    ]
    reasons = {reason for reason in skipped if postgres.SKIPPED in reason}
    for reason in sorted(reasons):
        terminalreporter.write_line(f"{skipped.count(reason)} tests skipped. {reason.removeprefix('Skipped: ')}")
