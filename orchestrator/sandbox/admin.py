"""The sandbox's own routes, below `/sandbox/`, without a key: statistics, the ledger, the bill, faults, time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import asdict, replace
from datetime import timedelta

import msgspec

from orchestrator.sandbox.exchange import SLICE_BYTES, SandboxRequest, SandboxResponse, one_piece, read_all
from orchestrator.sandbox.faults import parse_faults
from orchestrator.sandbox.machine import Machine
from orchestrator.sandbox.sandbox_settings import DEFAULT_WORKSPACE
from orchestrator.sandbox.seeded import ScaledClock

_MAX_BODY = 1_000_000


class FaultOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /sandbox/faults`: an option string, or rates by name; it replaces what was set."""

    faults: str | dict[str, float]


class ScriptOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /sandbox/script`: the next *times* calls of *endpoint* meet *fault*."""

    endpoint: str
    fault: str
    times: int = 1


class AdvanceOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /sandbox/advance`: seconds of sandbox time."""

    seconds: float


class ForeignOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /sandbox/foreign`: somebody else creates *count* batches of *total* requests."""

    total: int
    count: int = 1
    workspace: str = DEFAULT_WORKSPACE


class KeysOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /sandbox/keys`: the valid keys from now on, each with its workspace; null takes any key."""

    keys: dict[str, str] | None


class Admin:
    """Handles the sandbox's own routes."""

    def __init__(self, machine: Machine, clock: ScaledClock) -> None:
        self._machine = machine
        self._clock = clock

    async def answer(self, request: SandboxRequest) -> SandboxResponse:
        """200 with the content, 400 with the reason, or 404."""
        body = await read_all(request.body, _MAX_BODY)
        try:
            match request.method, request.path:
                case "GET", "/sandbox/ledger":
                    headers = [("content-type", "application/x-ndjson")]
                    return SandboxResponse(status=200, headers=headers, body=self._ledger())
                case "GET", "/sandbox/stats":
                    return _say(200, self._machine.stats())
                case "GET", "/sandbox/bill":
                    return _say(200, self._machine.bill())
                case "POST", _:
                    return self._order(request.path, body)
                case _:
                    return _say(404, {"error": "no such route"})
        except (ValueError, LookupError, msgspec.DecodeError) as exc:
            return _say(400, {"error": str(exc)})

    def _order(self, path: str, body: bytes) -> SandboxResponse:
        match path:
            case "/sandbox/faults":
                faults = msgspec.json.decode(body, type=FaultOrder).faults
                self._machine.plan.set(parse_faults(faults) if isinstance(faults, str) else faults)
                return _say(200, {"faults": self._machine.plan.options})
            case "/sandbox/script":
                script = msgspec.json.decode(body, type=ScriptOrder)
                self._machine.plan.script(script.endpoint, script.fault, script.times)
                return _say(200, {"scripted": script.times})
            case "/sandbox/advance":
                step = msgspec.json.decode(body, type=AdvanceOrder)
                return _say(200, {"now": self._clock.advance(timedelta(seconds=step.seconds))})
            case "/sandbox/foreign":
                order = msgspec.json.decode(body, type=ForeignOrder)
                ids = self._machine.add_foreign(order.total, workspace=order.workspace, count=order.count)
                return _say(200, {"ids": ids})
            case "/sandbox/keys":
                keys = msgspec.json.decode(body, type=KeysOrder).keys
                self._machine.settings = replace(self._machine.settings, valid_keys=keys)
                return _say(200, {"valid": None if keys is None else len(keys)})
            case _:
                return _say(404, {"error": "no such route"})

    async def _ledger(self) -> AsyncGenerator[bytes, None]:
        """The ledger as lines of JSON, in pieces."""
        pieces: list[bytes] = []
        size = 0
        for row in self._machine.ledger():
            pieces.append(msgspec.json.encode(asdict(row)) + b"\n")
            size += len(pieces[-1])
            if size >= SLICE_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
                await asyncio.sleep(0)
        yield b"".join(pieces)


def _say(status: int, content: object) -> SandboxResponse:
    encoded = msgspec.json.encode(content)
    headers = [("content-type", "application/json"), ("content-length", str(len(encoded)))]
    return SandboxResponse(status=status, headers=headers, body=one_piece(encoded))
