"""What is under way when a token is taken away or its role changes: downloads are cut, and nothing more is stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faces.api_world import LINES, NDJSON, lines
from faces.test_teams import BASE, SDK, TEAM, by, known, submitted, team

from orchestrator.domain.access import AccessRole
from orchestrator.http_api import responses
from orchestrator.http_api.guard.access_rules import AccessRules, KnownToken
from orchestrator.http_api.guard.middleware import Guard
from orchestrator.http_api.guard.request_limits import BodyLimits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

EVERYBODY = tuple(map(known, TEAM))
WITHOUT_RITA = tuple(known(name) for name in TEAM if name != "rita")


async def asked(app: ASGIApp, target: str, who: str) -> tuple[int, bytes, bool]:
    """Status and body of an answer, and whether it was sent to its end: a client that buffers cannot tell."""
    path, _, query = target.partition("?")
    headers = [(b"host", BASE.partition("://")[2].encode()), *((k.encode(), v.encode()) for k, v in by(who).items())]
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode()}
    scope |= {"query_string": query.encode(), "headers": headers, "http_version": "1.1", "scheme": "http"}
    sent: list[Message] = []
    body = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not body:
            await asyncio.Event().wait()  # the client stays
        return body.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(60):
        await app({**scope, "root_path": ""}, receive, send)
    is_whole = len(sent) > 1 and not sent[-1].get("more_body", False)
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent), is_whole


def test_a_wait_ends_with_its_token(tmp_path: Path) -> None:
    """Each kind of it: nothing of what happens later is told."""

    async def run() -> None:
        async with team(tmp_path) as (access, client, services):
            at = f"/api/v1/jobs/{(await submitted(client, 'ana'))['job']['id']}"
            app: ASGIApp = client._transport.app  # type: ignore[attr-defined]
            results = ("results?follow=1", "results?follow=1&order=settled", "results.csv?follow=1")
            steps = ("pause", "resume") * 2
            for target, step in zip([*(f"{at}/{each}" for each in results), f"{at}?wait=60s"], steps, strict=True):
                access.tokens = EVERYBODY
                answer = asyncio.create_task(asked(app, target, "rita"))
                await services.feed._watched.wait()
                access.tokens = WITHOUT_RITA
                (await client.post(f"{at}/{step}", headers=by("ana"))).raise_for_status()
                status, body, is_whole = await answer
                if "wait" in target:
                    assert (status, json.loads(body)["type"], is_whole) == (403, "role-refused", True)
                else:
                    assert (status, body, is_whole) == (200, b"", False), target

    asyncio.run(run())


@pytest.mark.parametrize("after", [WITHOUT_RITA, (*WITHOUT_RITA, known("rita", AccessRole.SUBMIT))])
def test_no_page_is_sent_after_its_token_was_taken_away(after: tuple[KnownToken, ...]) -> None:
    """The guard sees to it, whatever answers."""
    access = AccessRules("127.0.0.1", 8787, allowed_hosts=(), tokens=EVERYBODY)

    async def pages() -> AsyncGenerator[bytes, None]:
        yield b"one"
        access.tokens = after
        yield b"two"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await responses.download(pages(), "text/plain", "")(scope, receive, send)

    guarded = Guard(app, access=access, limits=BodyLimits())
    assert asyncio.run(asked(guarded, "/", "rita")) == (200, b"one", False)


async def interrupted(body: bytes, happens: Callable[[], None]) -> AsyncIterator[bytes]:
    """*body* in two halves; between them something *happens*."""
    yield body[: len(body) // 2]
    happens()
    yield body[len(body) // 2 :]


@pytest.mark.parametrize("left", [(), (known("ana", AccessRole.READ),)], ids=["removed", "demoted"])
def test_an_upload_is_nothing_without_its_token(tmp_path: Path, left: tuple[KnownToken, ...]) -> None:
    """Neither a job, nor requests of an open one, nor a batch of the SDK."""
    batch = {"requests": [json.loads(each) for each in LINES.splitlines()]}

    async def run() -> None:
        async with team(tmp_path) as (access, client, _):
            opened = (await submitted(client, "ana", name="grows", open="1"))["job"]["id"]

            def change() -> None:
                access.tokens = (known("root"), *left)

            for target, body, form in (
                ("/api/v1/jobs?new=1", lines(3, said="x"), NDJSON),
                (f"/api/v1/jobs/{opened}/requests", lines(9)[len(LINES) :], NDJSON),
                ("/v1/messages/batches", json.dumps(batch).encode(), {**SDK, "content-type": "application/json"}),
            ):
                access.tokens = EVERYBODY
                content = interrupted(body, change)
                answer = await client.post(target, content=content, headers={**by("ana"), **form})
                assert answer.status_code == 403, (target, answer.text)
                found = (await client.get("/api/v1/jobs", headers=by("root"))).json()["jobs"]
                assert [(each["id"], each["requests"]["total"]) for each in found] == [(opened, 5)]

    asyncio.run(run())
