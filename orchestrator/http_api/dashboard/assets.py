"""Static files: each has an address of its own content, so a browser keeps it for good and never keeps a stale one."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

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


def url(name: str) -> str:
    """Where *name* is served."""
    return f"/static/{name}?v={_tag(name)}"


async def serve(request: Request) -> Response:
    """One static file. Raises HTTPException for any other name."""
    name = request.path_params["name"]
    if name not in NAMES:
        raise HTTPException(404)
    named = request.query_params.get("v") == _tag(name)
    headers = {"cache-control": _FOREVER if named else "no-cache", "x-content-type-options": "nosniff"}
    return Response(body(name), media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


@cache
def body(name: str) -> bytes:
    """The bytes of one of `NAMES`."""
    return (_FILES / name).read_bytes()


@cache
def _tag(name: str) -> str:
    return hashlib.sha256(body(name)).hexdigest()[:12]
