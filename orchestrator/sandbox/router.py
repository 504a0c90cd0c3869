"""HTTP in front of the machine: paths, headers, bodies in slices, and the faults of a call.

Both transports use it; neither the machine nor they know of each other. Long bodies and results are processed in
slices, and the event loop gets a turn after each, so that no other call waits more than some milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from email.utils import format_datetime
from typing import Final
from urllib.parse import parse_qs

import msgspec
from typing_extensions import override

from orchestrator.domain import batches_api
from orchestrator.sandbox.admin import Admin
from orchestrator.sandbox.exchange import (
    SLICE_BYTES,
    ConnectionCut,
    Responder,
    SandboxRequest,
    SandboxResponse,
    one_piece,
    read_all,
)
from orchestrator.sandbox.fault_responses import CUTS, as_answer, as_error
from orchestrator.sandbox.faults import ENDPOINTS
from orchestrator.sandbox.journal import JournalError
from orchestrator.sandbox.listing import malformed_page
from orchestrator.sandbox.machine import Machine
from orchestrator.sandbox.sandbox_settings import Caller, identify
from orchestrator.sandbox.seeded import ScaledClock, token, unit

_BATCHES: Final = "/v1/messages/batches"
_SMALL_BODY: Final = 32_000_000
_encode: Final = msgspec.json.Encoder().encode
Headers = list[tuple[str, str]]


class Router(Responder):
    """Responds to requests by asking a machine. `clock` is what the admin route may advance."""

    def __init__(self, machine: Machine, clock: ScaledClock) -> None:
        self._machine = machine
        self._admin = Admin(machine, clock)
        self._asked = 0

    @override
    async def answer(self, request: SandboxRequest) -> SandboxResponse:
        if request.path.startswith("/sandbox/"):
            return await self._admin.answer(request)
        self._asked += 1
        request_id = f"req_{token(self._machine.seed, 'request', self._machine.plan.life, self._asked)}"
        headers: Headers = []
        try:
            headers = self._headers(request_id)
            return await self._serve(request, headers)
        except (batches_api.ApiError, JournalError) as exc:
            error = (
                exc
                if isinstance(exc, batches_api.ApiError)
                else batches_api.ApiError(500, "api_error", f"SANDBOX: {exc}: {exc.cause}")
            )
            content = error.body(request_id)
            headers += [*error.headers, ("content-type", "application/json"), ("content-length", str(len(content)))]
            is_last = error.status == 413
            return SandboxResponse(status=error.status, headers=headers, body=one_piece(content), close=is_last)

    def _headers(self, request_id: str) -> Headers:
        """The headers of every response of the API (live captures, 2026-09). The date is the machine's."""
        return [
            ("date", format_datetime(self._machine.touch(), usegmt=True)),
            ("request-id", request_id),
            ("anthropic-organization-id", batches_api.SANDBOX_ORGANIZATION),
        ]

    async def _serve(self, request: SandboxRequest, headers: Headers) -> SandboxResponse:
        endpoint, name = _endpoint(request)
        try:
            caller = identify(request.headers, request.base_url, self._machine.settings)
        except batches_api.ApiError:
            self._machine.calls[endpoint] += 1
            raise
        headers.append(("anthropic-workspace-id", caller.workspace))
        fault = self._machine.plan.draw(endpoint) if endpoint in ENDPOINTS else None
        if fault is not None:
            met = await self._fault_before_call(fault, endpoint, request)
            if met is not None:
                return met
        match endpoint:
            case "create":
                with self._machine.traffic.create(self._machine.now()):
                    return await self._create(request, caller, headers, fault)
            case "results":
                return self._results(name, caller, headers, fault)
            case _:
                body = await read_all(request.body, _SMALL_BODY + 1)
                if len(body) > _SMALL_BODY:
                    self._machine.calls[endpoint] += 1
                    raise batches_api.too_large()
                said = self._object(endpoint, name, request.query, body, caller)
                if endpoint == "retrieve" and isinstance(said, batches_api.MessageBatchObject):
                    headers += self._pause(said)
                return _json(said, headers)

    def _object(self, endpoint: str, name: str, query: str, body: bytes, caller: Caller) -> object:
        """The result of an endpoint whose response is one JSON object."""
        machine = self._machine
        match endpoint:
            case "list":
                page = self._list(query, caller)
                said: object = malformed_page(page, machine.plan, seed=machine.seed, foreign=machine.is_foreign)
            case "retrieve":
                said = machine.retrieve(name, caller)
            case "cancel":
                said = machine.cancel(name, caller)
            case "delete":
                said = machine.delete(name, caller)
            case "count_tokens":
                said = machine.count_tokens(body, caller)
            case _:
                said = machine.model(name) if name else machine.models()
        return said

    async def _fault_before_call(self, fault: str, endpoint: str, request: SandboxRequest) -> SandboxResponse | None:
        """Apply a fault that strikes before the machine acts; None when it strikes later."""
        if fault in {"drop_mid", "413"} or fault.endswith("_after_accept") or fault.startswith(("cut_", "stall")):
            return None
        self._machine.calls[endpoint] += 1
        if fault == "refuse":
            raise ConnectionCut("refuse")
        if fault == "early_413":
            return as_answer(fault)
        await read_all(request.body, 0)
        self._machine.bodies_received += endpoint == "create"
        return self._fault_response(fault)

    def _fault_response(self, fault: str) -> SandboxResponse:
        """The response that a fault stands for. Raises ApiError or ConnectionCut where it is one of these."""
        error = as_error(fault, retry_after_s=self._machine.plan.amount("retry_after", 1.0))
        if error is not None:
            raise error
        answer = as_answer(fault)
        if answer is None:
            raise ConnectionCut(CUTS[fault])
        return answer

    async def _create(
        self, request: SandboxRequest, caller: Caller, headers: Headers, fault: str | None
    ) -> SandboxResponse:
        """Read the body slice by slice, create the batch and respond, unless a fault says otherwise."""
        intake = self._machine.begin_create(caller)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._machine.settings.max_body_bytes:
            raise batches_api.too_large()
        async for piece in request.body:
            for start in range(0, len(piece), SLICE_BYTES):
                intake.feed(piece[start : start + SLICE_BYTES])
                await asyncio.sleep(0)
            if fault == "drop_mid":
                raise ConnectionCut("reset")
        if fault == "413":
            self._machine.bodies_received += 1
            raise batches_api.too_large()
        batch = intake.accept()
        if fault is not None:
            return self._fault_response(fault)
        return _json(batch, headers)

    def _list(self, query: str, caller: Caller) -> batches_api.BatchListObject:
        given = {name: values[-1] for name, values in parse_qs(query).items()}
        try:
            limit = batches_api.page_limit(given.get("limit"))
            self._check_limit(limit)
        except batches_api.ApiError:
            self._machine.calls["list"] += 1
            raise
        return self._machine.list(given.get("before_id"), given.get("after_id"), limit, caller)

    def _check_limit(self, limit: int) -> None:
        """Raise ApiError 400 for a page larger than the plan allows."""
        most = self._machine.plan.amount("list_limit")
        if most and limit > most:
            raise batches_api.invalid_request(f"limit: Input should be less than or equal to {most:g}")

    def _pause(self, batch: batches_api.MessageBatchObject) -> Headers:
        """The retry-after that live captures show on a batch that still runs."""
        pause = self._machine.settings.retry_after_in_progress
        return [] if pause is None or batch.processing_status == "ended" else [("retry-after", str(pause))]

    def _results(self, name: str, caller: Caller, headers: Headers, fault: str | None) -> SandboxResponse:
        lines = self._machine.results(name, caller)
        headers.append(("content-type", "application/x-jsonl"))
        return SandboxResponse(status=200, headers=headers, body=_stream(lines, self._cut(name, fault)))

    def _cut(self, name: str, fault: str | None) -> tuple[str, int] | None:
        """Where and how a download is cut: (fault, number of whole lines before)."""
        if fault is None:
            return None
        chance = unit(self._machine.seed, self._machine.plan.life, "cut at", name, self._asked)
        return fault, int(chance * self._machine.size(name))


async def _stream(lines: Iterator[bytes], cut: tuple[str, int] | None) -> AsyncGenerator[bytes, None]:
    """Lines in pieces of some 128 kB, with a turn for the event loop after each."""
    pieces: list[bytes] = []
    size = 0
    for number, line in enumerate(lines):
        if cut is not None and number == cut[1]:
            async for piece in _end_early(cut[0], pieces, line):
                yield piece
            return
        pieces.append(line)
        size += len(line)
        if size >= SLICE_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
            await asyncio.sleep(0)
    if pieces:
        yield b"".join(pieces)


async def _end_early(fault: str, pieces: list[bytes], line: bytes) -> AsyncGenerator[bytes, None]:
    """The last piece of a download that is cut.

    It ends at a line's end or inside *line*, with or without breaking the connection.
    """
    yield b"".join(pieces) if fault == "cut_clean" else b"".join((*pieces, line[: len(line) // 2]))
    await asyncio.sleep(0)
    if fault == "cut_reset":
        raise ConnectionCut("reset")
    if fault == "stall":
        raise ConnectionCut("hang")


def _endpoint(request: SandboxRequest) -> tuple[str, str]:
    """(endpoint, id in the path). Raises ApiError 404 and 405."""
    path = request.path.rstrip("/")
    if path == _BATCHES:
        return _allowed(request.method, {"POST": "create", "GET": "list"}), ""
    if path == "/v1/messages/count_tokens":
        return _allowed(request.method, {"POST": "count_tokens"}), ""
    if path == "/v1/models" or path.startswith("/v1/models/"):
        return _allowed(request.method, {"GET": "models"}), path.removeprefix("/v1/models").lstrip("/")
    if not path.startswith(f"{_BATCHES}/"):
        raise batches_api.not_found("Not found")
    name, _, action = path.removeprefix(f"{_BATCHES}/").partition("/")
    match action:
        case "":
            return _allowed(request.method, {"GET": "retrieve", "DELETE": "delete"}), name
        case "cancel":
            return _allowed(request.method, {"POST": "cancel"}), name
        case "results":
            return _allowed(request.method, {"GET": "results"}), name
        case _:
            raise batches_api.not_found("Not found")


def _allowed(method: str, endpoints: dict[str, str]) -> str:
    if method not in endpoints:
        raise batches_api.method_not_allowed()
    return endpoints[method]


def _json(content: object, headers: Headers) -> SandboxResponse:
    encoded = _encode(content)
    headers += [("content-type", "application/json"), ("content-length", str(len(encoded)))]
    return SandboxResponse(status=200, headers=headers, body=one_piece(encoded))
