"""The dashboard's scripts, styles and icon.

The address of a file holds a hash of its content, so browsers may keep it for ever. Each is packed once, at its first
request; a browser that takes gzip gets that.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from orchestrator.http_api.responses import takes_gzip

if TYPE_CHECKING:
    from starlette.requests import Request


#: Only these are served: the path of a request never reaches the file system.
NAMES: Final = (
    "app.css",
    "app.js",
    "charts.js",
    "requests.js",
    "upload.js",
    "icon.svg",
    "vendor/htmx.js",
    "vendor/hx-sse.js",
    "vendor/uplot.js",
    "vendor/uplot.css",
)
_TYPES: Final = MappingProxyType({"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"})
_FOREVER: Final = "public, max-age=31536000, immutable"
#: No file of ours has a text of several lines, in which these would count.
_MARGINS: Final = re.compile(rb"^\s*//.*\n|^/\*(?s:.*?)\*/\n|^\s+", re.MULTILINE)
_IDLE_SPACES: Final = re.compile(rb" ?([{};]) ?")
_FILES: Final = resources.files(__package__) / "static"


def asset_url(name: str) -> str:
    """The address of the static file *name*."""
    return f"/static/{name}?v={_hash_of(name)}"


async def serve_asset(request: Request) -> Response:
    """One static file, or 304 where the browser has it. Raises HTTPException for any other name."""
    name = request.path_params["name"]
    if name not in NAMES:
        raise HTTPException(404)
    is_packed = takes_gzip(request.headers.get("accept-encoding", ""))
    known_by = f'"{_hash_of(name)}{"-gzip" if is_packed else ""}"'
    headers = {
        "cache-control": _FOREVER if request.query_params.get("v") == _hash_of(name) else "no-cache",
        "etag": known_by,
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
    }
    if request.headers.get("if-none-match") == known_by:
        return Response(status_code=304, headers=headers)
    if is_packed:
        headers["content-encoding"] = "gzip"
    body = _packed(name) if is_packed else asset_body(name)
    return Response(body, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


@cache
def asset_body(name: str) -> bytes:
    """The bytes of one of `NAMES`; of ours without comments on lines of their own and without idle white space."""
    whole = (_FILES / name).read_bytes()
    if name.startswith("vendor/"):
        return whole
    short = _MARGINS.sub(b"", whole)
    return _IDLE_SPACES.sub(rb"\1", short) if name.endswith(".css") else short


@cache
def _packed(name: str) -> bytes:
    return gzip.compress(asset_body(name), mtime=0)


@cache
def _hash_of(name: str) -> str:
    return hashlib.sha256(asset_body(name)).hexdigest()[:12]
