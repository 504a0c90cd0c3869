"""Promise 3: results that cannot be downloaded are told while there is time, and no more once they come."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import World, in_a_loop, new_world

from orchestrator.domain.api_answers import ResponseMeta
from orchestrator.domain.errors import (
    ProviderBusy,
    ProviderError,
    ProviderNotFound,
    ProviderRefused,
    ProviderUnreachable,
    ProviderUnreadable,
)
from orchestrator.ports.runtime import Download

MINUTE = timedelta(minutes=1)
KIND = "download_fails"
WORDS = "compressed in a way that was not asked for"
ENDS: dict[str, ProviderError] = {
    "unreadable": ProviderUnreadable(WORDS + " " + "x" * 9000),
    "unreachable": ProviderUnreachable(WORDS),
    "refused": ProviderRefused(WORDS, status=400),
    "busy": ProviderBusy(WORDS),
    "not found": ProviderNotFound(WORDS),
}
BODIES = {
    "a page in one line": b"<html><body>please log in</body></html>",
    "lines of nobody": b'{"custom_id":"other-1","result":{"type":"expired"}}\n' * 3,
}


class Broken:
    """The API, but every download ends in *end*, or gives *body* alone; whole again where both are None."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.end: ProviderError | None = None
        self.body: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def results(self, remote_id: str) -> AbstractAsyncContextManager[Download]:
        """One download."""
        return self._results(remote_id)

    @asynccontextmanager
    async def _results(self, remote_id: str) -> AsyncGenerator[Download, None]:
        if self.end is not None:
            raise self.end
        if self.body is not None:
            yield Download(meta=ResponseMeta(), chunks=self._chunks(self.body))
            return
        async with self._inner.results(remote_id) as download:
            yield download

    async def _chunks(self, body: bytes) -> AsyncIterator[bytes]:
        yield body


def broken_world(path: Path) -> Any:
    return new_world(path / "store.db", wrap=lambda context: replace(context, provider=Broken(context.provider)))


async def ended(world: World) -> Any:
    """A job of ten whose batch has ended, not collected yet."""
    job = await world.submit(10)
    await world.tick("plan", "submit")
    world.advance(20 * MINUTE)
    await world.tick("poll")
    return job


async def download(world: World) -> None:
    world.advance(15 * MINUTE)
    await world.tick("collect")


@pytest.mark.parametrize("end", ENDS)
@in_a_loop
async def test_a_download_that_fails_three_times_in_a_row_is_told_until_it_works(
    tmp_path: Path, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3: paid answers must not lapse after 29 days because nobody was told that they do not come."""
    async with broken_world(tmp_path) as world:
        job, api = await ended(world), world.context.provider
        api.end = ENDS[end]
        for told in ([], [], [KIND], [KIND]):
            await download(world)
            assert await world.attention(job.id) == told
        said = [record.getMessage() for record in caplog.records if "batch.download_failed" in record.getMessage()]
        assert len(said) == 4
        assert all(WORDS in line and len(line) < 600 for line in said)
        (matter,) = (await world.status(job.id)).attention
        assert WORDS in matter.message
        assert len(matter.message) < 600
        api.end = None
        await download(world)
        await world.tick("settle")
        assert await world.attention(job.id) == []
        assert (await world.status(job.id)).job.requests.succeeded == 10


@pytest.mark.parametrize("body", BODIES)
@in_a_loop
async def test_a_download_with_not_one_result_in_it_is_told_at_once(tmp_path: Path, body: str) -> None:
    """Promise 3: a page of a proxy, or another batch's file, comes whole and is no result."""
    async with broken_world(tmp_path) as world:
        job, api = await ended(world), world.context.provider
        api.body = BODIES[body]
        await download(world)
        assert await world.attention(job.id) == [KIND]
        api.body = None
        await download(world)
        assert await world.attention(job.id) == []


@in_a_loop
async def test_a_download_of_unreadable_lines_alone_is_told_at_once(tmp_path: Path) -> None:
    """Promise 3: every line says its id twice; they are told as unreadable, and not a second time."""
    async with broken_world(tmp_path) as world:
        job, api = await ended(world), world.context.provider
        line = json.dumps({"result": {"type": "expired"}})[1:]
        api.body = "".join(f'{{"custom_id":"x","custom_id":"{i}",{line}\n' for i in range(10)).encode()
        await download(world)
        assert len(await world.attention(job.id)) == 1


@in_a_loop
async def test_an_empty_answer_is_told_from_the_third_on(tmp_path: Path) -> None:
    """Promise 3: no lines at all may be results that are not there yet, once or twice."""
    async with broken_world(tmp_path) as world:
        job, api = await ended(world), world.context.provider
        api.body = b""
        for told in ([], [], [KIND]):
            await download(world)
            assert await world.attention(job.id) == told
