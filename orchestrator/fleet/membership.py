"""This process as a member of the fleet: a row that says who it is and that it lives, and what it saw of the store.

A database that lacks what a daemon has seen was put back, or another server that had not everything stands in for it.
An intent may be among what is lost, so nothing may be sent on its word: the daemon ends, and its next start searches
the API for what was sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid4

import msgspec

from orchestrator.config import Settings, setting_rows
from orchestrator.domain.errors import StoreError, StoreLost
from orchestrator.fleet.queue_pool import SCHEMA, Pool
from orchestrator.ports.dispatch import HASHED
from orchestrator.version import VERSION

#: From one sign of life to the next, and after how long without one a daemon counts as gone.
BEAT: Final = timedelta(seconds=5)
GONE: Final = timedelta(seconds=60)

# ruff: noqa: S608 - the statements below are put together from names of ours
#: The database's time in the store's form: no daemon's own clock is in what others read of it.
_AT: Final = "to_char((clock_timestamp() - $1::interval) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
_BEAT: Final = f"""
WITH now AS (SELECT {_AT} AS at)
INSERT INTO {SCHEMA}.daemon (id, name, host, pid, version, settings_hash, queue_id, started_at, seen_at)
SELECT $2, $3, $4, $5, $6, $7, $8, at, at FROM now
ON CONFLICT (id) DO UPDATE SET
  queue_id = excluded.queue_id, settings_hash = excluded.settings_hash, seen_at = excluded.seen_at
"""
_LEAVE: Final = f"DELETE FROM {SCHEMA}.daemon WHERE id = $1"
_BURY: Final = f"DELETE FROM {SCHEMA}.daemon WHERE seen_at < {_AT}"
_NEWEST: Final = f"SELECT id, at FROM {SCHEMA}.event ORDER BY id DESC LIMIT 1"
_THAT: Final = f"SELECT at FROM {SCHEMA}.event WHERE id = $1"
_VERSION: Final = f"SELECT max(version) FROM {SCHEMA}.schema_migration"
_NOTHING: Final = timedelta(0)


@dataclass(slots=True, kw_only=True)
class Member:
    """Who this process is. settings: what all members must have alike (`alike`); a reload may change it."""

    name: str
    settings: str
    id: UUID = field(default_factory=uuid4)
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)

    async def beat(self, pool: Pool, queue_id: UUID | None) -> None:
        """Say that we live. queue_id: as whom we take units; None if we take none."""
        who = (self.id, self.name, self.host, self.pid, VERSION, self.settings, queue_id)
        await pool.execute(_BEAT, _NOTHING, *who)

    async def leave(self, pool: Pool) -> None:
        """Say that we are gone: nobody need wait for us to be missed."""
        await pool.execute(_LEAVE, self.id)


async def bury(pool: Pool) -> None:
    """Take the rows away of those who were not seen for a minute."""
    await pool.execute(_BURY, GONE)


class SeenEvents:
    """Remembers the newest event that this process has seen, and whether the schema is still ours.

    schema: the newest migration that this version knows.
    """

    def __init__(self, schema: int) -> None:
        self._schema = schema
        self._newest: tuple[int, str] | None = None

    def heard(self, told: str) -> None:
        """Take over what a notification says of the newest event: its number and its time, with a space in between."""
        number, _, at = told.partition(" ")
        with suppress(ValueError):
            if at:
                self._saw(int(number), at)

    def _saw(self, number: int, at: str) -> None:
        if self._newest is None or number > self._newest[0]:
            self._newest = (number, at)

    async def check(self, pool: Pool) -> None:
        """Raise StoreLost if an event that was seen is not there, StoreError if a newer version has taken over."""
        seen = self._newest  # others are heard of while the database is asked
        if seen is not None and await pool.fetchval(_THAT, seen[0]) != seen[1]:
            raise StoreLost.without(*seen)
        if (newest := await pool.fetchrow(_NEWEST)) is not None:
            self._saw(newest[0], newest[1])
        if (version := await pool.fetchval(_VERSION)) > self._schema:
            raise StoreError(
                f"a newer version of this program has taken the database over (schema {version}, not {self._schema})",
                hint="start that version here as well",
            )


_BEGIN: Final = (
    *("limits.", "batching.", "retry.", "fleet.heartbeat", "database.keep_bodies"),
    *("budget.max_", "cache.mode", "prices.factor"),
)
_NOT_SET: Final = "not set"
#: Of a hash; enough to see that two differ.
_DIGITS: Final = 12


def alike(settings: Settings) -> str:
    """What all must have alike, the API's address and the endpoints as hashes: a JSON object of texts."""
    rows = (row for row in setting_rows(settings) if row.name.startswith(_BEGIN))
    texts = {row.name: _NOT_SET if row.text is None else row.text.strip('"') for row in rows}
    urls = " ".join(sorted(endpoint.url for endpoint in settings.webhooks))
    hashed = {"api.base_url": _hash(settings.api.base_url or ""), "webhooks": _hash(urls)}
    return msgspec.json.encode({**texts, **hashed}).decode()


def alike_from(text: str) -> Mapping[str, str]:
    """What `alike` wrote; empty for what another version wrote in another form: its version is told to differ."""
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        return {}


def _hash(text: str) -> str:
    return HASHED + sha256(text.encode()).hexdigest()[:_DIGITS]
