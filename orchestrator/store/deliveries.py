"""Store facet of notices to other programs, and its reading side."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from orchestrator.domain.errors import NoSuchThing
from orchestrator.domain.notices import Delivery, DeliveryResult, DeliveryState, Endpoint, EndpointSpec, Notice
from orchestrator.store.connection import Database
from orchestrator.store.rows import dict_rows, from_text, from_text_or_none, moved, to_text, to_text_or_none
from orchestrator.store.sql_text import load

SQL: Final = load("deliveries")
_LONGEST_ERROR: Final = 1000


class SqliteNoticeStore:
    """See `ports.job_store.NoticeStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def mirror(self, endpoints: Sequence[EndpointSpec], now: datetime) -> None:
        """Take over what the settings say. Notices for an endpoint that is not there any more are given up."""
        await self._db.write(partial(_mirror, endpoints, now))

    async def due(self, now: datetime, limit: int, *, each: int) -> list[Notice]:
        """The notices to send now, the longest due first, at most *each* of an endpoint."""
        values = {"now": to_text(now), "limit": limit, "each": each}
        return [_notice(row) for row in await self._db.read(lambda c: dict_rows(c.execute(SQL["due"], values)))]

    async def delivered(self, notice: Notice, status: int, now: datetime) -> bool:
        """The endpoint took it. False: somebody else moved it."""
        values = {"id": notice.delivery_id, "tries": notice.tries, "status": status, "now": to_text(now)}
        return await self._db.write(lambda c: moved(c, SQL["delivered"], values))

    async def put_off(self, notice: Notice, outcome: DeliveryResult, until: datetime | None, now: datetime) -> bool:
        """It failed; due again at *until*, or given up."""
        values = {
            "id": notice.delivery_id,
            "tries": notice.tries,
            "until": to_text_or_none(until),
            "now": to_text(now),
            "status": outcome.status,
            "error": None if outcome.error is None else outcome.error[:_LONGEST_ERROR],
        }
        return await self._db.write(lambda c: moved(c, SQL["put_off"], values))

    async def replay(self, delivery: int, now: datetime) -> bool:
        """Send one that is over again, with all its tries. False: there is none, or it waits already."""
        values = {"id": delivery, "now": to_text(now)}
        return await self._db.write(lambda c: moved(c, SQL["replay"], values))

    async def test(self, url: str | None, now: datetime) -> list[int]:
        """A test notice for the endpoint *url*, or for each; their numbers."""
        values = {"url": url, "now": to_text(now)}
        return await self._db.write(lambda c: [row[0] for row in c.execute(SQL["test"], values)])

    async def delete_old(self, before: datetime) -> int:
        """Drop what is over and was written down before *before*, slice by slice; how many."""
        done = 0
        while count := await self._db.write(lambda c: c.execute(SQL["forget"], {"before": to_text(before)}).rowcount):
            done += count
        return done


def _mirror(endpoints: Sequence[EndpointSpec], now: datetime, c: sqlite3.Connection) -> None:
    c.execute(SQL["retire"])
    for endpoint in endpoints:
        events = f" {' '.join(endpoint.events)} " if endpoint.events else ""
        c.execute(SQL["mirror"], {"url": endpoint.url, "events": events})
    c.execute(SQL["orphan"], {"now": to_text(now)})


def _notice(row: dict[str, Any]) -> Notice:
    """The message's id holds the store's own, so that two stores that notify one endpoint never share one."""
    return Notice(
        delivery_id=row["id"],
        message_id=f"msg_{row['lineage']}_{row['id']}",
        url=row["url"],
        payload=row["payload"].encode(),
        tries=row["tries"],
    )


_NEWEST: Final = (1 << 63) - 1


class NoticeReader:
    """See `ports.reads.NoticeReads`. Reads from *connection*."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._c = connection

    def endpoints(self) -> list[Endpoint]:
        """Every endpoint that was ever set, those of today first."""
        return [
            Endpoint(id=row["id"], url=row["url"], events=tuple(row["events"].split()), active=bool(row["active"]))
            for row in dict_rows(self._c.execute(SQL["endpoints"]))
        ]

    def deliveries(
        self, *, limit: int, before: int | None = None, state: DeliveryState | None = None
    ) -> list[Delivery]:
        """Notices, the newest first, older than *before* if given."""
        values = {"limit": limit, "before": _NEWEST if before is None else before, "state": state}
        query = SQL["deliveries"] if state is None else SQL["deliveries_in"]
        return [_delivery(row) for row in dict_rows(self._c.execute(query, values))]

    def delivery(self, number: int) -> Delivery:
        """One of them. Raises NoSuchThing."""
        rows = dict_rows(self._c.execute(SQL["delivery"], {"id": number}))
        if not rows:
            raise NoSuchThing(f"there is no delivery {number}", hint="orchestrator webhooks ls shows them")
        return _delivery(rows[0])

    def delivery_counts(self) -> dict[DeliveryState, int]:
        """How many there are in each state."""
        found = dict(self._c.execute(SQL["delivery_counts"]).fetchall())
        return {state: found.get(state.value, 0) for state in DeliveryState}


def _delivery(row: dict[str, Any]) -> Delivery:
    return Delivery(
        id=row["id"],
        url=row["url"],
        event_id=row["event_id"],
        type=row["type"],
        state=DeliveryState(row["state"]),
        tries=row["tries"],
        created_at=from_text(row["created_at"]),
        next_at=from_text_or_none(row["next_at"]),
        last_at=from_text_or_none(row["last_at"]),
        last_status=row["last_status"],
        last_error=row["last_error"],
    )
