"""Health checks of a running engine, for `GET /doctor` and the dashboard. They do not use the network.

No path and no secret is among it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.domain import humanize, model
from orchestrator.version import VERSION
from orchestrator.views.fleet_views import alive_count, fleet_attentions
from orchestrator.views.health_checks import FAIL, OK, WARN, Finding, disk, duplicates, limits, long_log

if TYPE_CHECKING:
    from orchestrator.http_api.services import Services
    from orchestrator.ports.dispatch import FleetView
    from orchestrator.ports.reads import Reads, StoreLocation


async def findings_of(services: Services) -> list[Finding]:
    """Check engine, API, store, disk and limits."""
    meta, unfinished = await services.reader.read(_look)
    store = await asyncio.to_thread(_store, services.location, meta)
    fleet = await services.view_fleet()
    found = [_engine(services, unfinished), *_api(services), *store, *limits(services.settings)]
    return found if fleet is None else [*found, *_fleet(fleet)]


def _fleet(fleet: FleetView) -> Iterator[Finding]:
    yield Finding(check="fleet", verdict=OK, fact=f"{humanize.count(alive_count(fleet), 'daemon')} on this store")
    for words in fleet_attentions(fleet):
        yield Finding(check="fleet", verdict=WARN, fact=words, remedy="look at the daemons, and at what each is set to")


def _look(reads: Reads) -> tuple[model.StoreMeta, int]:
    return reads.meta(), len(reads.unfinished())


def _engine(services: Services, unfinished: int) -> Finding:
    since = services.identity.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    fact = f"version {VERSION}, runs since {since}; {humanize.count(unfinished, 'job')} not over"
    return Finding(check="engine", verdict=OK, fact=fact)


def _api(services: Services) -> Iterator[Finding]:
    health = services.health
    if services.identity.sandbox:
        is_here = services.settings.database.url is None
        what = "the local API is a part of this program" if is_here else "the API is a sandbox server"
        yield Finding(check="api", verdict=OK, fact=f"SANDBOX: {what} and takes any key")
    elif health.api_worked:
        yield Finding(check="api", verdict=OK, fact="it has answered since the start")
    else:
        yield Finding(check="api", verdict=WARN, fact="no call has been answered yet: it is asked when there is work")
    if health.last_trouble is not None:
        remedy = "fix the account or the key: nothing can be collected meanwhile" if health.reads_blocked else None
        fact = f"the last call failed: {health.last_trouble}"
        yield Finding(check="calls", verdict=FAIL if health.reads_blocked else WARN, fact=fact, remedy=remedy)


def _store(location: StoreLocation, meta: model.StoreMeta) -> list[Finding]:
    size = location.size_bytes + location.log_bytes
    kind = "sandbox work" if meta.sandbox else "real work"
    made = f"made on {meta.created_at:%Y-%m-%d}"
    facts = Finding(check="store", verdict=OK, fact=f"{location.name}: {kind}, {humanize.size(size)}, {made}")
    room = [] if location.folder is None else [disk(location.folder, called="the store's folder")]
    return [facts, *long_log(location.log_bytes), *room, *duplicates(meta.duplicates_total)]
