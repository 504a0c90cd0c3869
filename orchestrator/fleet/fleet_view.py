"""The fleet as its tables have it: who is there, who has what, what waits. Needs no queue, only the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator.fleet.membership import alike_from
from orchestrator.fleet.queue_pool import HAS_QUEUE, QUEUE, SCHEMA, Pool
from orchestrator.ports.dispatch import FleetDaemon, FleetView, Held, UnitKind, UnitsWaiting

# ruff: noqa: S608 - the statements below are put together from names of ours
_DAEMONS: Final = f"""
SELECT name, host, pid, version, settings_hash AS settings, queue_id IS NOT NULL AS works, started_at, seen_at
  FROM {SCHEMA}.daemon ORDER BY started_at, id
"""
_HELD: Final = f"""
SELECT queue.dedupe_key AS unit, coalesce(daemon.name, '') AS daemon, queue.updated AS since
  FROM {SCHEMA}.{QUEUE} AS queue LEFT JOIN {SCHEMA}.daemon ON daemon.queue_id = queue.queue_manager_id
 WHERE queue.status = 'picked' ORDER BY queue.id
"""
_WAITING: Final = f"""
SELECT split_part(entrypoint, '.', 1) AS kind, count(*) AS count, min(execute_after) AS since
  FROM {SCHEMA}.{QUEUE} WHERE status = 'queued' AND execute_after <= now() GROUP BY 1 ORDER BY 1
"""
_NOW: Final = "SELECT clock_timestamp()"


async def held_units(pool: Pool) -> Sequence[Held]:
    """Every unit that somebody has, in the order in which they were made; `daemon` is empty for one that left."""
    return [_held(row) for row in await pool.fetch(_HELD)]


async def view_fleet(pool: Pool) -> FleetView:
    """Everything about the fleet that a person may want to see."""
    at = await pool.fetchval(_NOW)
    offset = at - datetime.now(UTC)
    daemons = [_daemon(row) for row in await pool.fetch(_DAEMONS)]
    if not await pool.fetchval(HAS_QUEUE):
        return FleetView(at=at, offset=offset, daemons=daemons, held=(), waiting=())
    waiting = [UnitsWaiting(kind=UnitKind(kind), count=n, since=since) for kind, n, since in await pool.fetch(_WAITING)]
    return FleetView(at=at, offset=offset, daemons=daemons, held=await held_units(pool), waiting=waiting)


def _held(row: Any) -> Held:  # noqa: ANN401 - a row of asyncpg
    kind, _, what = row["unit"].partition(":")
    return Held(kind=UnitKind(kind), what=what, daemon=row["daemon"], since=row["since"])


def _daemon(row: Any) -> FleetDaemon:  # noqa: ANN401 - a row of asyncpg
    times = {name: datetime.fromisoformat(row[name]) for name in ("started_at", "seen_at")}
    return FleetDaemon(**{**row, **times, "settings": alike_from(row["settings"])})
