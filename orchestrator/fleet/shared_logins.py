"""Logins that were ended, and links that were used, on any daemon of the fleet: none of them opens any other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from orchestrator.fleet.queue_pool import MOVES, SCHEMA, Pool, in_our_words

#: What is said on the channel of moves when a login was ended.
LOGINS: Final = "logins"

# ruff: noqa: S608 - the statements below are put together from names of ours
_END: Final = f"INSERT INTO {SCHEMA}.ended_login (number, until) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1"
_TELL: Final = f"SELECT pg_notify('{MOVES}', '{LOGINS}')"
_FORGET: Final = f"DELETE FROM {SCHEMA}.ended_login WHERE until < extract(epoch FROM clock_timestamp())"
_ENDED: Final = f"SELECT number FROM {SCHEMA}.ended_login"


class SharedLogins:
    """Those that this daemon has heard of. pool: connections for a moment."""

    def __init__(self, pool: Callable[[], AbstractAsyncContextManager[Pool]]) -> None:
        self._pool = pool
        self._ended: frozenset[str] = frozenset()

    def __contains__(self, number: object) -> bool:
        return number in self._ended

    async def end(self, number: str, until: int) -> bool:
        """End *number*, on every daemon; False if it was ended already. until: in seconds since 1970 it ends anyway.

        Raises StoreUnreachable, StoreError: then no daemon knows.
        """
        with in_our_words():
            async with self._pool() as pool:
                is_first = await pool.fetchval(_END, number, until) is not None
                await pool.execute(_FORGET)
                await pool.fetchval(_TELL)
        self._ended |= {number}
        return is_first

    async def refresh(self, pool: Pool) -> None:
        """Hear of what other daemons have ended."""
        self._ended = frozenset(row[0] for row in await pool.fetch(_ENDED))
