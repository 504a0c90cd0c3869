"""The dashboard: pages rendered on the server, readable without JavaScript, and updated live with it.

Owns pages and their static files. Holds no rules of its own: it reads through ports and sends commands to the engine.
Text that models, files and people wrote stays text on these pages.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute, Route

from orchestrator.http_api.dashboard import (
    actions,
    batches_page,
    engine_pages,
    job_pages,
    live_updates,
    load_chart,
    new_job,
    request_page,
    table_preview,
    webhooks_page,
)
from orchestrator.http_api.dashboard.page import base_context, page_response, page_route
from orchestrator.http_api.dashboard.static_files import serve_asset

if TYPE_CHECKING:
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response

    from orchestrator.http_api.services import Services


_HINT: Final = "the screens are in the list at the side"


def routes(services: Services) -> list[BaseRoute]:
    """All pages, their static files, actions, and the stream of live updates."""
    pages = {
        "/": engine_pages.OVERVIEW,
        "/jobs": job_pages.JOBS,
        "/jobs/{ref}": job_pages.JOB,
        "/jobs/{ref}/requests/{number}": request_page.PAGE,
        "/jobs/{ref}/requests/{number}/inside": request_page.INSIDE,
        "/batches": batches_page.PAGE,
        "/events": engine_pages.EVENTS,
        "/health": engine_pages.HEALTH,
        "/settings": engine_pages.SETTINGS,
        "/webhooks": webhooks_page.PAGE,
        **({} if services.settings.database.url is None else {"/fleet": engine_pages.FLEET}),
        "/new": new_job.PAGE,
        "/confirm": actions.CONFIRM,
    }
    screens = [(Route(path, page_route(page, services), methods=["GET"]), page) for path, page in pages.items()]
    return [
        *(route for route, _ in screens),
        Route("/live", live_updates.LiveUpdates(services, screens).stream, methods=["GET"]),
        Route("/chart.json", load_chart.chart_endpoint(services), methods=["GET"]),
        Route("/act", actions.act(services), methods=["POST"]),
        Route("/new", new_job.submit_form(services), methods=["POST"]),
        Route("/new/preview", table_preview.show_preview(services), methods=["POST"]),
        Route("/static/{name:path}", serve_asset, methods=["GET"]),
    ]


def wants_page(request: Request) -> bool:
    """True for a browser that asks for something beside the APIs."""
    is_page = not request.url.path.startswith(("/api/", "/v1/"))
    return is_page and "text/html" in request.headers.get("accept", "")


def http_error_page(services: Services, request: Request, wrong: HTTPException) -> Response | None:
    """An HTTP error as a page for browsers; None for other clients, which get a problem document."""
    if not wants_page(request):
        return None
    missing = wrong.status_code == HTTPStatus.NOT_FOUND
    title = "Not here" if missing else "That did not work"
    message = "there is no page at this address" if missing else wrong.detail
    told = {"title": title, "status": wrong.status_code, "message": message, "cause": None, "hint": _HINT}
    return page_response("error.html", {**base_context(request, services), **told}, status=wrong.status_code)
