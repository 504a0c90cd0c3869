"""A sandbox whose clock stands still until a test moves it, and clients for its two faces."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import anthropic
import httpx2

from orchestrator.sandbox import (
    FaultPlan,
    Machine,
    MachineSettings,
    Sandbox,
    SandboxSettings,
    ScaledClock,
    build_sandbox,
)

T = TypeVar("T")
Face = Literal["in process", "over TCP"]

START = datetime(2026, 11, 23, 6, 0, 0, 250_000, tzinfo=UTC)
MODEL = "claude-haiku-4-5"
HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}
BATCHES = "/v1/messages/batches"
HOUR = timedelta(hours=1)


class World:
    """A machine with a clock that a test moves, without any transport."""

    def __init__(self, *, seed: int = 7, faults: dict[str, float] | None = None, **settings: Any) -> None:
        self.at = START
        self.machine = Machine(
            now=lambda: self.at,
            seed=seed,
            settings=MachineSettings(**settings),
            plan=FaultPlan(seed=seed, options=faults),
        )

    def advance(self, by: timedelta) -> None:
        self.at += by

    def lines(self, batch_id: str) -> list[dict[str, Any]]:
        """All result lines, decoded."""
        return [json.loads(line) for line in self.machine.results(batch_id)]

    def outcomes(self, batch_id: str) -> dict[str, str]:
        """Result type by custom_id."""
        return {line["custom_id"]: line["result"]["type"] for line in self.lines(batch_id)}


def params(text: str = "Hello", **more: Any) -> dict[str, Any]:
    """The params of a small request."""
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


def body(count: int, *, prefix: str = "r", **more: Any) -> bytes:
    """The body of a create with *count* requests that differ."""
    requests = [{"custom_id": f"{prefix}-{n}", "params": params(f"question {n}", **more)} for n in range(count)]
    return json.dumps({"requests": requests}, separators=(",", ":")).encode()


def still_sandbox(*, faults: str = "", seed: int = 7, journal: Path | None = None, **settings: Any) -> Sandbox:
    """A sandbox whose time stands still but for `clock.advance`."""
    chosen = SandboxSettings(seed=seed, speed=0, faults=faults, journal=journal, machine=MachineSettings(**settings))
    return build_sandbox(chosen, clock=None if journal is not None else ScaledClock(0, start=START))


@asynccontextmanager
async def http_client(sandbox: Sandbox, face: Face, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A plain HTTP client of the sandbox through one of its faces."""
    options = {"headers": HEADERS, "timeout": 5, **options}
    if face == "in process":
        async with httpx2.AsyncClient(
            transport=sandbox.transport(), base_url="http://inside.test", **options
        ) as client:
            yield client
    else:
        async with (
            sandbox.serving() as port,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", **options) as client,
        ):
            yield client


@asynccontextmanager
async def sdk_client(sandbox: Sandbox, **options: Any) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """The real SDK in front of the sandbox, checking every answer against its own types."""
    http = anthropic.DefaultAsyncHttpxClient(transport=sandbox.transport())
    options = {"api_key": "sk-test", "base_url": "http://inside.test", **options}
    async with anthropic.AsyncAnthropic(
        http_client=http, max_retries=0, _strict_response_validation=True, **options
    ) as client:
        yield client


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run a test's story on a loop of its own."""
    return asyncio.run(story)
