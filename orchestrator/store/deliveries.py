"""Webhook notices: enqueued with their event, their deliveries, and what is read of both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import account, errors, money
from orchestrator.domain.ids import MAX_INTEGER
from orchestrator.domain.notices import Delivery, DeliveryResult, DeliveryState, Endpoint, EndpointSpec, Notice
from orchestrator.ports.job_store import NoticeStore
from orchestrator.ports.reads import NoticeReads
from orchestrator.store import facet, sql_rows, sql_text
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("deliveries")
_LONGEST_ERROR: Final = 1000
_ATTENTION: Final = "attention."
#: State changes that make a notice, and its type.
_NOTICE_TYPES: Final[Mapping[tuple[str, str | None], str]] = MappingProxyType(
    {
        ("job.moved", "finished"): "job.finished",
        ("job.moved", "canceled"): "job.canceled",
        ("job.moved", "paused"): "job.attention",
        ("batch.moved", "in_doubt"): "batch.in_doubt",
        ("batch.moved", "ended"): "batch.expired",  # only if the API said so, see _type_of
        ("budget.warned", None): "budget.warned",
        ("budget.reached", None): "budget.reached",
        ("cache.poor", None): "cache.poor",
    }
)


class SqlNoticeStore(facet.Facet, NoticeStore):
    """Rows of `endpoint` and `delivery`."""

    @override
    @facet.transaction
    def mirror(self, c: SqlConnection, endpoints: Sequence[EndpointSpec], now: datetime) -> None:
        c.execute(SQL["retire"])
        for endpoint in endpoints:
            events = f" {' '.join(endpoint.events)} " if endpoint.events else ""
            c.execute(SQL["mirror"], {"url": endpoint.url, "events": events})
        c.execute(SQL["orphan"], {"now": sql_rows.to_text(now)})

    @override
    @facet.snapshot
    def due(self, c: SqlConnection, now: datetime, limit: int, *, each: int) -> list[Notice]:
        values = {"now": sql_rows.to_text(now), "limit": limit, "each": each}
        return [_notice(row) for row in sql_rows.dict_rows(c.execute(SQL["due"], values))]

    @override
    @facet.transaction
    def delivered(self, c: SqlConnection, notice: Notice, status: int, now: datetime) -> bool:
        values = {"id": notice.delivery_id, "tries": notice.tries, "status": status, "now": sql_rows.to_text(now)}
        return sql_rows.moved(c, SQL["delivered"], values)

    @override
    @facet.transaction
    def put_off(
        self, c: SqlConnection, notice: Notice, outcome: DeliveryResult, until: datetime | None, now: datetime
    ) -> bool:
        values = {
            "id": notice.delivery_id,
            "tries": notice.tries,
            "until": sql_rows.to_text_or_none(until),
            "now": sql_rows.to_text(now),
            "status": outcome.status,
            "error": None if outcome.error is None else outcome.error[:_LONGEST_ERROR],
        }
        return sql_rows.moved(c, SQL["put_off"], values)

    @override
    @facet.transaction
    def replay(self, c: SqlConnection, delivery: int, now: datetime) -> bool:
        values = {"id": delivery, "now": sql_rows.to_text(now)}
        return sql_rows.moved(c, SQL["replay"], values)

    @override
    @facet.transaction
    def test(self, c: SqlConnection, url: str | None, now: datetime) -> list[int]:
        values = {"url": url, "now": sql_rows.to_text(now)}
        return [row[0] for row in c.execute(SQL["test"], values)]

    @override
    async def delete_old(self, before: datetime) -> int:
        done = 0
        while count := await self._db.write(
            lambda c: c.execute(SQL["forget"], {"before": sql_rows.to_text(before)}).rowcount
        ):
            done += count
        return done


def enqueue_notices(  # noqa: PLR0913, PLR0917 - an event: its number, what happened to which, and when
    c: SqlConnection, event: int | None, kind: str, new: str | None, job: int | None, batch: int | None, at: str
) -> None:
    """Enqueue a notice of *event* for every endpoint that subscribes to it, in the event's own transaction.

    So a crash loses none, and none tells of an event that was rolled back. The payload is fixed here: ids and counts of
    this moment; no prompts, no answers, no text of the API.
    """
    may_notify = kind.startswith(_ATTENTION) or (kind, new) in _NOTICE_TYPES
    if not may_notify or c.execute(SQL["is_listened"]).fetchone() is None:
        return
    jobs = sql_rows.dict_rows(c.execute(SQL["noticed_job"], {"id": job}))
    batches = sql_rows.dict_rows(c.execute(SQL["noticed_batch"], {"id": batch}))
    notice_type = _type_of(kind, new, jobs[0] if jobs else {}, batches[0] if batches else {})
    if notice_type is None:
        return
    reason = jobs[0]["reason_code"] if kind == "job.moved" and jobs else None
    if kind.startswith(_ATTENTION):
        reason = kind.removeprefix(_ATTENTION)
    data = {
        "event": event,
        "reason": reason,
        "job": _job_data(jobs[0], c) if jobs else None,
        "batch": _batch_data(batches[0]) if batches else None,
    }
    payload = json.dumps(
        {"type": notice_type, "timestamp": at, "data": data}, separators=(",", ":"), ensure_ascii=False
    )
    c.execute(SQL["enqueue"], {"event": event, "type": notice_type, "payload": payload, "at": at})


def _type_of(kind: str, new: str | None, job: dict[str, Any], batch: dict[str, Any]) -> str | None:
    """The type of notice that an event makes; None: it makes none."""
    if kind.startswith(_ATTENTION):
        return "job.attention"
    if new == "paused" and job.get("reason_code") in {None, account.BY_USER}:
        return None
    if new == "ended" and not batch.get("api_expired"):
        return None
    return _NOTICE_TYPES[kind, new]


def _job_data(row: dict[str, Any], c: SqlConnection) -> dict[str, Any]:
    counts = ("total", "queued", "batched", "succeeded", "failed", "canceled")
    return {
        "id": row["public_id"],
        "state": row["state"],
        "requests": {name: row[name] for name in counts},
        "stop_reasons": dict(c.execute(SQL["noticed_stops"], {"id": row["id"]}).fetchall()),
        "cost": _cost_data(row),
    }


def _cost_data(row: dict[str, Any]) -> dict[str, Any]:
    """Without what would have to be added up: a notice is put down while others wait for the store."""
    spent, unpriced = row["spent_nanos"], row["unpriced"]
    return {"currency": "USD", "spent": None if unpriced and not spent else money.as_text(spent), "unpriced": unpriced}


def _batch_data(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["remote_id"],
        "number": row["id"],
        "state": row["state"],
        "requests": row["count"],
        "expired": row["api_expired"],
    }


def _notice(row: dict[str, Any]) -> Notice:
    """The message id contains the store's id: two stores that notify one endpoint never share an id."""
    return Notice(
        delivery_id=row["id"],
        message_id=f"msg_{row['lineage']}_{row['id']}",
        url=row["url"],
        payload=row["payload"].encode(),
        tries=row["tries"],
    )


class NoticeReader(facet.SnapshotReads, NoticeReads):
    """Endpoints, and notices to them."""

    @override
    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(id=row["id"], url=row["url"], events=tuple(row["events"].split()), active=bool(row["active"]))
            for row in sql_rows.dict_rows(self._c.execute(SQL["endpoints"]))
        ]

    @override
    def deliveries(
        self, *, limit: int, before: int | None = None, state: DeliveryState | None = None
    ) -> list[Delivery]:
        values = {"limit": limit, "before": MAX_INTEGER if before is None else before, "state": state}
        query = SQL["deliveries"] if state is None else SQL["deliveries_in"]
        return [_delivery(row) for row in sql_rows.dict_rows(self._c.execute(query, values))]

    @override
    def delivery(self, number: int) -> Delivery:
        rows = sql_rows.dict_rows(self._c.execute(SQL["delivery"], {"id": number}))
        if not rows:
            raise errors.NoSuchThing(f"there is no delivery {number}", hint="orchestrator webhooks ls shows them")
        return _delivery(rows[0])

    @override
    def delivery_counts(self) -> dict[DeliveryState, int]:
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
        created_at=sql_rows.from_text(row["created_at"]),
        next_at=sql_rows.from_text_or_none(row["next_at"]),
        last_at=sql_rows.from_text_or_none(row["last_at"]),
        last_status=row["last_status"],
        last_error=row["last_error"],
    )
