"""How long a create may take: as long as it moves (promise 2)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx2
import pytest
from provider.provider_world import CHUNK, HEADERS, KEY, SizedBody, batch_json

from orchestrator.domain.api_answers import Accepted, CreateAnswer, NotSent
from orchestrator.provider.client import AnthropicProvider
from orchestrator.provider.settings import ProviderSettings


class _Minutes(asyncio.SelectorEventLoop):
    """An event loop whose clock a test sets forward."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


class _SlowLine(httpx2.AsyncBaseTransport):
    """Takes *seconds_each* of loop time for each chunk, and then for the answer."""

    def __init__(self, seconds_each: float) -> None:
        self._seconds_each = seconds_each

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        async for _ in request.stream:
            await self._pass()
        await self._pass()
        return httpx2.Response(200, json=batch_json())

    async def _pass(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _Minutes)
        loop.ahead_s += self._seconds_each
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.mark.parametrize(("seconds_each", "expected"), [(50.0, Accepted), (70.0, NotSent)])
def test_a_slow_upload_has_all_the_time_it_needs_while_it_moves(seconds_each: float, expected: type) -> None:
    """The deadline restarts with each chunk taken: a big body on a slow line is not a timeout."""

    async def create() -> CreateAnswer:
        settings = ProviderSettings(base_url="https://x", timeout=timedelta(seconds=60))
        provider = AnthropicProvider(settings, transport=_SlowLine(seconds_each), credentials=KEY)
        return await provider.create(SizedBody(20 * CHUNK), HEADERS)

    with asyncio.Runner(loop_factory=_Minutes) as runner:
        assert isinstance(runner.run(create()), expected)
