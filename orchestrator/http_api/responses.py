"""Responses that every HTTP face gives alike: problem documents, the methods of a path, gzip for long bodies."""

from __future__ import annotations

import asyncio
import gzip
import secrets
import zlib
from contextlib import aclosing
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.routing import Match

from orchestrator.domain import batches_api, errors, humanize
from orchestrator.observability.logs import get_logger
from orchestrator.ports.alike_problems import next_step
from orchestrator.views.job_views import LineProblemView
from orchestrator.views.problem_details import CONTENT_TYPE, ProblemView, RefusedView, problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request
    from starlette.types import Scope, Send

    from orchestrator.ports.engine import IngestResult
    from orchestrator.ports.estimates import EstimateResult


log = get_logger(__name__)

#: How soon it makes sense to ask again, in seconds, where a place was missing.
RETRY_SOON: Final = MappingProxyType({"retry-after": "2"})


def problem(view: ProblemView | RefusedView) -> Response:
    """The problem document *view* as a response."""
    return Response(msgspec.json.encode(view), view.status, media_type=CONTENT_TYPE)


def problem_response(exc: errors.OrchestratorError) -> Response:
    """*exc* as a response."""
    answer = problem(problem_of(exc))
    if isinstance(exc, errors.ServerBusy):
        answer.headers.update(RETRY_SOON)
    return answer


def input_refused(found: IngestResult | EstimateResult) -> Response:
    """An input that was read and refused, with its first problems."""
    return problem(
        RefusedView(
            title="the input was refused",
            detail=f"{humanize.count(found.problem_count, 'problem')}; nothing was stored or sent",
            hint=next_step(found.problems, found.fit, "leave the bad lines out with skip_bad=1"),
            exit_code=errors.InputError.exit_code,
            problems=[LineProblemView.of(each) for each in found.problems],
            problem_count=found.problem_count,
            fit=found.fit,
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
        )
    )


def api_error_response(status: int, kind: str, message: str) -> Response:
    """An error in the form of the Message Batches API, outside its routes (`speaks_as_the_api`)."""
    request_id = f"req_{secrets.token_hex(12)}"
    body = batches_api.error_body(kind, message, request_id)
    return Response(body, status, {"request-id": request_id}, media_type="application/json")


def speaks_as_the_api(scope: Scope) -> bool:
    """True for paths of the Message Batches API, whose SDK makes its exceptions from errors of that form."""
    return str(scope["path"]).startswith("/v1/")


def allowed(request: Request) -> list[str]:
    """The methods of all routes of this path; the router reports only those of the first."""
    allowed: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            allowed |= getattr(route, "methods", None) or set()
    return sorted(allowed | ({"HEAD"} if "GET" in allowed else set()))


_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_SMALL_WINDOW: Final = 16 + 12
_SMALL_MEMORY: Final = 5
#: Bytes: shorter bodies are sent as they are.
_WORTH_PACKING: Final = 600
#: How much is packed between two turns of the event loop: some milliseconds at level 1.
_SLICE_BYTES: Final = 256 * 1024


def takes_gzip(accept_encoding: str) -> bool:
    """Whether `Accept-Encoding` allows gzip; a weight of 0 refuses it."""
    for part in accept_encoding.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in {"gzip", "*"}:
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False


def packed(answer: Response, request: Request) -> Response:
    """*answer*, which is whole, packed if it is worth it and the client takes it."""
    answer.headers.add_vary_header("accept-encoding")
    if len(answer.body) >= _WORTH_PACKING and takes_gzip(request.headers.get("accept-encoding", "")):
        answer.body = gzip.compress(answer.body, compresslevel=6, mtime=0)
        answer.headers["content-encoding"] = "gzip"
        answer.headers["content-length"] = str(len(answer.body))
    return answer


async def gzipped(pieces: AsyncGenerator[bytes, None], *, lasting: bool = False) -> AsyncGenerator[bytes, None]:
    """*pieces* as one gzip stream, flushed after each piece; closes *pieces* at its end.

    lasting: there may be many at a time, for hours, and little in each: it holds 32 kB in place of 256, and packs well.
    """
    form = (6, zlib.DEFLATED, _SMALL_WINDOW, _SMALL_MEMORY) if lasting else (1, zlib.DEFLATED, _GZIP_WINDOW)
    packer = zlib.compressobj(*form)
    async with aclosing(pieces):
        async for piece in pieces:
            for start in range(0, len(piece), _SLICE_BYTES):
                if packed := packer.compress(piece[start : start + _SLICE_BYTES]):
                    yield packed
                await asyncio.sleep(0)
            yield packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


def download(pages: AsyncGenerator[bytes, None], media_type: str, accept_encoding: str) -> Response:
    """A stream of *pages*."""
    headers = {"vary": "accept, accept-encoding", "cache-control": "no-store"}
    if takes_gzip(accept_encoding):
        pages, headers["content-encoding"] = gzipped(pages), "gzip"
    return CutStream(pages, media_type=media_type, headers=headers)


class CutStream(StreamingResponse):
    """A stream that is cut, without its final chunk, when it fails: so nobody mistakes it for the whole."""

    async def stream_response(self, send: Send) -> None:
        """Send it all, or stop in the middle."""
        try:
            await super().stream_response(send)
        except errors.OrchestratorError as exc:
            log.warning("download.cut", why=exc.message)
