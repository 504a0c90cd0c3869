"""A server inside a command ends when it is told to, and cuts no answer before its grace is over."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import uvicorn

from orchestrator.prompt_server import PromptServer

App = Callable[[MutableMapping[str, Any], Callable[..., Any], Callable[..., Awaitable[None]]], Awaitable[None]]


@asynccontextmanager
async def serving(app: App, grace_s: int = 60) -> AsyncIterator[tuple[PromptServer, asyncio.Task[None], str]]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, interface="asgi3", lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=grace_s
    )
    server = PromptServer(config)
    url = "http://{}:{}".format(*listener.getsockname())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve([listener]))
        try:
            yield server, task, url
        finally:
            server.stop()


async def answer(send: Callable[..., Awaitable[None]], body: bytes = b"whole") -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": body})


def test_it_waits_for_no_look_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to end it sets one short timer, and none of a tenth of a second: every `run` has such a server."""
    pauses: list[float] = []

    async def run() -> None:
        async with (
            serving(lambda _scope, _receive, send: answer(send)) as (server, task, url),
            httpx2.AsyncClient() as client,
        ):
            assert (await client.get(url)).text == "whole"
            loop = asyncio.get_running_loop()
            plain = loop.call_later

            def noted(pause_s: float, *args: Any, **more: Any) -> asyncio.TimerHandle:
                pauses.append(pause_s)
                return plain(pause_s, *args, **more)

            monkeypatch.setattr(loop, "call_later", noted)
            server.stop()
            await task

    asyncio.run(run())
    assert pauses
    assert [pause for pause in pauses if 0.05 < pause < 1] == []


@pytest.mark.parametrize("grace_s", [60, 0], ids=["within the grace", "beyond it"])
def test_what_is_being_answered_ends_within_its_grace(grace_s: int) -> None:
    """It comes whole; what takes longer is cancelled, and nothing waits for it."""

    async def run() -> httpx2.Response:
        asked, told = asyncio.Event(), asyncio.Event()

        async def app(_scope: object, _receive: object, send: Callable[..., Awaitable[None]]) -> None:
            asked.set()
            await told.wait()
            await answer(send)

        async with serving(app, grace_s) as (server, task, url), httpx2.AsyncClient() as client:
            asking = asyncio.create_task(client.get(url))
            await asked.wait()
            server.stop()
            if grace_s:
                told.set()
            await task
            return await asking

    answered = asyncio.run(run())
    assert (answered.status_code, answered.text) == ((200, "whole") if grace_s else (500, "Internal Server Error"))
