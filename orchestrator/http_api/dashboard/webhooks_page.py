"""The page of webhooks: the endpoints, and what became of every notice. What it sends is done by `actions`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from orchestrator.domain.notices import KEPT_FOR, DeliveryState
from orchestrator.http_api.dashboard import components, page

if TYPE_CHECKING:
    from orchestrator.ports.reads import Reads

_PAGE: Final = 50
_STATES: Final = frozenset(state.value for state in DeliveryState)


async def load(request: page.PageRequest) -> dict[str, object]:
    """Endpoints and one page of deliveries, the newest first."""
    state, before = request.one_of("state", _STATES), request.number("before")
    wanted = None if state is None else DeliveryState(state)
    facts = await request.services.reader.read(partial(_read, wanted, before))
    rows = facts["deliveries"]
    return {
        **facts,
        "deliveries": rows[:_PAGE],
        "active": {endpoint.url for endpoint in facts["endpoints"] if endpoint.active},
        "kept_for": KEPT_FOR,
        "chips": components.state_chips(request, DeliveryState, facts["counts"], on=state),
        "first": None if before is None else request.link(before=None),
        "more": request.link(before=rows[_PAGE - 1].id) if len(rows) > _PAGE else None,
    }


def _read(state: DeliveryState | None, before: int | None, reads: Reads) -> dict[str, Any]:
    return {
        "endpoints": reads.endpoints(),
        "deliveries": reads.deliveries(limit=_PAGE + 1, before=before, state=state),
        "counts": reads.delivery_counts(),
    }


PAGE: Final = page.Page(
    template="webhooks.html", load=load, title="Webhooks", parts=("parts/chips.html", "parts/deliveries.html")
)
