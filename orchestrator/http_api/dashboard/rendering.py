"""Renders templates and serves static files. Everything a template prints is escaped; no filter undoes that.

The address of a static file holds a hash of its content, so browsers may cache it for ever.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from minijinja import Environment
from starlette.exceptions import HTTPException
from starlette.responses import Response

from orchestrator.domain import humanize
from orchestrator.http_api.dashboard.components import state_badge
from orchestrator.version import VERSION
from orchestrator.views.view import time_text

if TYPE_CHECKING:
    from starlette.requests import Request

_TEMPLATES: Final = resources.files(__package__) / "templates"


def render(template: str, context: dict[str, object]) -> str:
    """The text of *template*; a variable that *context* lacks raises: it is a bug."""
    return _environment().render_template(template, **context)


@cache
def _environment() -> Environment:
    return Environment(
        loader=_source,
        filters={
            "plain": humanize.plain,
            "count": humanize.count,
            "batches": humanize.batches,
            "size": humanize.size,
            "span": humanize.span,
            "n": "{:,}".format,
            "iso": time_text,
            "ago": _ago,
            "exact": _exact,
            "asset": asset_url,
            "standing": state_badge,
        },
        globals={"version": VERSION},
        undefined_behavior="strict",
        auto_escape_callback=lambda _: "html",
        trim_blocks=True,
        lstrip_blocks=True,
        debug=False,
    )


def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _ago(at: datetime) -> str:
    """`3m ago`, `in 2h`; static/app.js keeps it current."""
    distance = datetime.now(UTC) - at
    if distance < timedelta(0):
        return f"in {humanize.span(-distance)}"
    return f"{humanize.span(distance)} ago"


def _exact(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


#: Only these are served: the path of a request never reaches the file system.
NAMES: Final = (
    "app.css",
    "app.js",
    "charts.js",
    "upload.js",
    "icon.svg",
    "vendor/htmx.js",
    "vendor/hx-sse.js",
    "vendor/uplot.js",
    "vendor/uplot.css",
)
_TYPES: Final = MappingProxyType({"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"})
_FOREVER: Final = "public, max-age=31536000, immutable"
_FILES: Final = resources.files(__package__) / "static"


def asset_url(name: str) -> str:
    """The address of the static file *name*."""
    return f"/static/{name}?v={_tag(name)}"


async def serve_asset(request: Request) -> Response:
    """One static file. Raises HTTPException for any other name."""
    name = request.path_params["name"]
    if name not in NAMES:
        raise HTTPException(404)
    named = request.query_params.get("v") == _tag(name)
    headers = {"cache-control": _FOREVER if named else "no-cache", "x-content-type-options": "nosniff"}
    return Response(asset_body(name), media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


@cache
def asset_body(name: str) -> bytes:
    """The bytes of one of `NAMES`."""
    return (_FILES / name).read_bytes()


@cache
def _tag(name: str) -> str:
    return hashlib.sha256(asset_body(name)).hexdigest()[:12]
