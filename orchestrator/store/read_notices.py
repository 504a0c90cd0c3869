"""The reading side of notices to other programs."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from orchestrator.domain.errors import NoSuchThing
from orchestrator.domain.notices import Delivery, DeliveryState, Endpoint
from orchestrator.store.queries import load
from orchestrator.store.rows import named
from orchestrator.store.times import from_text, from_text_or_none

SQL: Final = load("deliveries")
_NEWEST: Final = (1 << 63) - 1


class NoticeReader:
    """See `ports.reads.NoticeReads`. Reads from *connection*."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._c = connection

    def endpoints(self) -> list[Endpoint]:
        """Every endpoint that was ever set, those of today first."""
        return [
            Endpoint(id=row["id"], url=row["url"], events=tuple(row["events"].split()), active=bool(row["active"]))
            for row in named(self._c.execute(SQL["endpoints"]))
        ]

    def deliveries(
        self, *, limit: int, before: int | None = None, state: DeliveryState | None = None
    ) -> list[Delivery]:
        """Notices, the newest first, older than *before* if given."""
        values = {"limit": limit, "before": _NEWEST if before is None else before, "state": state}
        query = SQL["deliveries"] if state is None else SQL["deliveries_in"]
        return [_delivery(row) for row in named(self._c.execute(query, values))]

    def delivery(self, number: int) -> Delivery:
        """One of them. Raises NoSuchThing."""
        rows = named(self._c.execute(SQL["delivery"], {"id": number}))
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
