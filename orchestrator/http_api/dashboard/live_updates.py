"""One event stream per open page: the parts that changed, at most twice a second, and points for the charts.

A stream begins with every part, so a page that lost its engine is up to date as soon as it reconnects.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.routing import Match, Route

from orchestrator.domain import errors, queries
from orchestrator.http_api.dashboard.page import Page, PageRequest, base_context, error_page, render
from orchestrator.http_api.guard.route_roles import needed_role
from orchestrator.http_api.responses import CutStream, gzipped, takes_gzip
from orchestrator.ports import caller

if TYPE_CHECKING:
    from starlette.requests import Request

    from orchestrator.http_api.services import Services

_SHORTEST_S: Final = 0.4
_LONGEST: Final = timedelta(seconds=5)
_SILENCE_S: Final = 15.0
_LINES: Final = re.compile(r"\r\n|\r|\n")
#: What a relative time says changes by itself, and the page follows without us.
_TIMES: Final = re.compile(r"(<time [^>]*>)[^<]*")


class LiveUpdates:
    """The streams of all pages."""

    def __init__(self, services: Services, pages: Sequence[tuple[Route, Page]]) -> None:
        self._services = services
        self._pages = pages

    async def stream(self, request: Request) -> Response:
        """The stream of the page in the parameter `at` (path and query)."""
        try:
            page, page_request = self._find(request.query_params.get("at", ""))
        except errors.OrchestratorError as exc:
            return error_page(request, self._services, exc)
        messages = self._messages(page, page_request, request)
        headers = {"cache-control": "no-store", "vary": "accept-encoding"}
        if takes_gzip(request.headers.get("accept-encoding", "")):
            messages, headers["content-encoding"] = gzipped(messages, lasting=True), "gzip"
        return CutStream(messages, media_type="text/event-stream", headers=headers)

    def _find(self, at: str) -> tuple[Page, PageRequest]:
        path, _, query = at.partition("?")
        scope = {"type": "http", "method": "GET", "path": path, "root_path": ""}
        for route, page in self._pages:
            match, child = route.matches(scope)
            if match is Match.FULL and page.parts:
                caller.check_role(needed_role("GET", route.path))
                page_request = PageRequest(
                    services=self._services, path=path, params=child["path_params"], query=QueryParams(query), live=True
                )
                return page, page_request
        raise errors.NoSuchThing("no such page lives", hint="open it again")

    async def _messages(self, page: Page, page_request: PageRequest, request: Request) -> AsyncGenerator[bytes, None]:
        """Until the engine stops or the browser is not let in any more: the page then reconnects, and is told."""
        feed, around = self._services.feed, base_context(request, self._services)
        loop = asyncio.get_running_loop()
        shown: dict[str, str] = {}
        spoke_at = loop.time()
        while not feed.is_over and caller.is_still_let_in():
            try:
                facts = {**around, "live": True, **(await page.load(page_request))}
            except (
                errors.NoSuchThing,
                errors.UsageError,
            ):  # the job was taken away: the page stays as it is, and says so when loaded
                return
            for message in _changed(page, facts, shown):
                spoke_at = loop.time()
                yield message
            if loop.time() - spoke_at >= _SILENCE_S:
                spoke_at = loop.time()
                yield b": alive\n\n"
            await feed.change(_LONGEST)
            await asyncio.sleep(_SHORTEST_S)


def _changed(page: Page, facts: dict[str, object], shown: dict[str, str]) -> Iterator[bytes]:
    """Messages for the parts whose text differs from *shown*, which is updated; the part "still" is left alone."""
    swaps = []
    for part in page.parts:
        if part == facts.get("still"):
            continue
        text = render(part, facts)
        bare = _TIMES.sub(r"\1", text)
        if shown.get(part) != bare:
            shown[part] = bare
            swaps.append(f'<hx-partial hx-target="#{part_id(part)}" hx-swap="outerMorph">{text}</hx-partial>')
    if swaps:
        yield _message("".join(swaps))
    point = facts.get("point")
    if isinstance(point, tuple) and shown.get("point") != str(point):
        shown["point"] = str(point)
        yield _message(json.dumps([datetime.now(UTC).timestamp(), *point]), event="point")


def part_id(part: str) -> str:
    """`totals` of `parts/totals.html`: the id of its element."""
    return part.rpartition("/")[2].removesuffix(".html")


def chart_point(totals: queries.Totals) -> tuple[int, int, int, int]:
    """A point of the charts: requests in flight, queued, settled and failed."""
    found = totals.requests
    settled = found.settled
    return totals.in_flight_requests, found.queued, settled, found.failed


def _message(data: str, *, event: str | None = None) -> bytes:
    head = "" if event is None else f"event: {event}\n"
    lines = "".join(f"data: {line}\n" for line in _LINES.split(data))
    return f"{head}{lines}\n".encode()
