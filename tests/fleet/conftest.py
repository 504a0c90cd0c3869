"""Fixtures of a fleet's tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fleet.fleet_world import fill
from support.postgres import PostgresServer


@pytest.fixture
def anyio_backend() -> str:
    """The loop that the engine runs on."""
    return "asyncio"


@pytest.fixture
def url(postgres_server: PostgresServer, new_database: Callable[..., str]) -> str:
    """The URL of an empty store of a fleet."""
    return new_database(postgres_server.template("fleet", fill))
