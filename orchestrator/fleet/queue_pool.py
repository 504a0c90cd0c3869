"""Connections to PostgreSQL for the queue (asyncpg, which answers while it listens), and what is called what in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlencode

import asyncpg  # type: ignore[import-untyped]  # it has no types of its own

from orchestrator.domain.errors import StoreError, StoreUnreachable
from orchestrator.ports.dispatch import UnitKind

#: What a database that is away, going down, cut off, full or promoted makes of a statement: it passes.
AWAY: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
)
#: A database that restarts is back within this; longer is trouble that a person is told of.
BACK_WITHIN: Final = timedelta(seconds=30)
#: What a URL may say that asyncpg knows; libpq's other words (keepalives, …) it would take for the server's settings.
_KNOWN: Final = frozenset(
    {"host", "port", "user", "password", "passfile", "dbname", "database", "service", "target_session_attrs", "options"}
    | {"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib"}
)
#: One listens, the others ask; a statement that has no answer by then never gets one.
_CONNECTIONS: Final = 3
_ANSWERS_WITHIN_S: Final = 10.0
_CLOSES_WITHIN_S: Final = 5.0


class Pool(Protocol):
    """What is used of asyncpg's pool."""

    async def fetch(self, query: str, *args: object) -> Sequence[Any]:
        """All rows."""

    async def fetchrow(self, query: str, *args: object) -> Any:  # noqa: ANN401 - a row of asyncpg, or None
        """The first row, or None."""

    async def fetchval(self, query: str, *args: object) -> Any:  # noqa: ANN401 - whatever the column holds
        """The first column of the first row, or None."""

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement; its command tag."""

    async def close(self) -> None:
        """Close every connection once it is idle."""

    def terminate(self) -> None:
        """Close every connection as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetDatabase:
    """The database of a fleet. url: `postgresql://…`; password: from a file, in place of the URL's."""

    url: str = field(repr=False)
    password: str | None = field(default=None, repr=False)

    @asynccontextmanager
    async def pool(self, name: str, *, most: int = _CONNECTIONS) -> AsyncIterator[Pool]:
        """Connections under the application name *name*; raises one of `AWAY` if there is none to be had."""
        opened = await asyncpg.create_pool(
            understood(self.url),
            password=self.password,
            min_size=0,  # it would try to keep a floor, and log a traceback each time that it cannot
            max_size=most,
            timeout=_ANSWERS_WITHIN_S,
            command_timeout=_ANSWERS_WITHIN_S,
            server_settings={"application_name": name, "search_path": SCHEMA, "jit": "off"},
        )
        try:
            yield opened
        finally:
            await _close(opened)


async def _close(pool: Pool) -> None:
    """Close *pool*; connections that are cut off are let go of."""
    with contextlib.suppress(*AWAY):
        async with asyncio.timeout(_CLOSES_WITHIN_S):
            return await pool.close()
    pool.terminate()
    return None


@contextmanager
def in_our_words() -> Iterator[None]:
    """Raise StoreUnreachable in place of `AWAY`, and StoreError in place of any other refusal of the server."""
    try:
        yield
    except AWAY as exc:
        hint = "a daemon goes on by itself; else look at the database's server"
        raise StoreUnreachable("the database does not answer", cause=words_of(exc), hint=hint) from exc
    except asyncpg.PostgresError as exc:
        raise StoreError("the database refuses what the fleet needs", cause=words_of(exc)) from exc


def words_of(exc: Exception) -> str:
    """What the server, or the way to it, said."""
    return f"{type(exc).__name__}: {exc}"


def understood(url: str) -> str:
    """*url* without the words that only libpq knows; an address in place of a host's name is one of them."""
    address, _, query = url.partition("?")
    words = [("host" if name == "hostaddr" else name, value) for name, value in parse_qsl(query)]
    known = [(name, value) for name, value in words if name in _KNOWN]
    return f"{address}?{urlencode(known)}" if known else address


#: Where the store's tables are, too: one schema is moved, dumped and dropped as a whole.
SCHEMA: Final = "orchestrator"
QUEUE: Final = "pgqueuer"
QUEUE_LOG: Final = "pgqueuer_log"
#: Whether anybody has worked on the store since it was made or moved.
HAS_QUEUE: Final = f"SELECT to_regclass('{SCHEMA}.{QUEUE}') IS NOT NULL"
#: What the trigger on the store's events says, so that daemons and those who watch jobs look at once.
MOVES: Final = "orchestrator_moves"
#: Stages go before batches: without them nothing becomes due. A job's priority is 1 to 100.
STAGE_PRIORITY: Final = 1000


def key_of(kind: UnitKind, what: object) -> str:
    """The name of a unit: while it waits or is being worked on there is no second one of that name."""
    return f"{kind}:{what}"


def stage_entrypoint(stage: str) -> str:
    """What a stage is called where the queue asks who can do what: a process may not have every one."""
    return f"{UnitKind.STAGE}.{stage}"
