"""Health: what `doctor` checks without the network, and the settings. Shows no path and no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.config import setting_rows
from orchestrator.http_api.dashboard.page import Page, PageRequest
from orchestrator.http_api.self_checks import findings_of

if TYPE_CHECKING:
    pass

_SECTIONS: Final = ("batching.", "limits.", "retry.", "sandbox.", "log.")


async def load(request: PageRequest) -> dict[str, object]:
    """Data of the health page."""
    services = request.services
    rows = [row for row in setting_rows(services.settings) if row.name.startswith(_SECTIONS) and row.text is not None]
    return {
        "findings": await findings_of(services),
        "settings": [(row.name, str(row.text)) for row in rows],
    }


PAGE: Final = Page(template="health.html", load=load, title="Health", parts=("parts/findings.html",))
