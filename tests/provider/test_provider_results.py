"""Downloads: from our own base URL, chunk by chunk, and closed whatever happens (promises 3 and 9)."""

from __future__ import annotations

import asyncio
import gzip
from datetime import timedelta

import pytest
from provider.provider_world import REMOTE_ID, RawServer, Talk, Visit, error_json, provider_at

from orchestrator.domain.errors import ProviderNotFound, ProviderUnreachable
from orchestrator.provider.client import AnthropicProvider

pytestmark = pytest.mark.anyio
LINE = b'{"custom_id":"a","result":{"type":"expired"}}\n'
FILE = LINE * 80_000  # 3.7 MB
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-jsonl\r\ncontent-length: 999999999\r\n\r\n"
JSONL = {"content-type": "application/x-jsonl", "date": "Fri, 20 Nov 2026 18:37:25 GMT"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _download(provider: AnthropicProvider) -> tuple[list[bytes], ProviderUnreachable | None]:
    chunks: list[bytes] = []
    try:
        async with provider.results(REMOTE_ID) as download:
            async for chunk in download.chunks:
                chunks.append(chunk)  # noqa: PERF401 - what came before a break counts
    except ProviderUnreachable as exc:
        return chunks, exc
    return chunks, None


async def test_a_download_comes_whole_in_chunks_of_bounded_size() -> None:
    """Promise 8: memory does not grow with the file."""

    async def talk(visit: Visit) -> None:
        await visit.answer(200, FILE, JSONL)

    async with RawServer(talk) as server:
        provider = provider_at(server.url)
        async with provider.results(REMOTE_ID) as download:
            chunks = [chunk async for chunk in download.chunks]
        await provider.aclose()
    assert b"".join(chunks) == FILE
    assert max(map(len, chunks)) < 512 * 1024
    assert len(chunks) <= len(FILE) // (256 * 1024) + 1, "few, so that little is done per chunk"
    assert download.meta.date is not None
    assert server.visits[0].line == f"GET /v1/messages/batches/{REMOTE_ID}/results HTTP/1.1"


async def test_a_compressed_file_comes_decoded() -> None:
    """Chunks are the lines' own bytes."""

    async def talk(visit: Visit) -> None:
        await visit.answer(200, gzip.compress(FILE), {**JSONL, "content-encoding": "gzip"})

    async with RawServer(talk) as server:
        provider = provider_at(server.url)
        chunks, error = await _download(provider)
        await provider.aclose()
    assert error is None
    assert b"".join(chunks) == FILE


async def _cut_in_the_middle(visit: Visit) -> None:
    visit.writer.write(HEAD + LINE)
    visit.writer.write(LINE)
    visit.writer.close()


async def _stall_in_the_middle(visit: Visit) -> None:
    visit.writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-jsonl\r\ncontent-length: 99999\r\n\r\n" + LINE * 2
    )
    await visit.hang()


async def _garbled_compression(visit: Visit) -> None:
    packed = bytearray(gzip.compress(FILE))
    packed[-8:] = b"\xff" * 8  # the checksum and the length
    await visit.answer(200, bytes(packed), {**JSONL, "content-encoding": "gzip"})


@pytest.mark.parametrize("talk", [_cut_in_the_middle, _stall_in_the_middle])
async def test_a_broken_download_gives_the_bytes_that_came_and_then_raises(talk: Talk) -> None:
    """What is here need not come again; the break itself is never silent (T30, T37)."""
    async with RawServer(talk) as server:
        provider = provider_at(server.url, timeout=timedelta(seconds=0.3))
        chunks, error = await _download(provider)
        await provider.aclose()
    assert b"".join(chunks) == LINE * 2
    assert error is not None
    assert len(server.visits) == 1


async def test_a_garbled_compressed_file_is_a_broken_download() -> None:
    """A decoder's error is the stream's, not a bug of ours."""
    async with RawServer(_garbled_compression) as server:
        provider = provider_at(server.url)
        chunks, error = await _download(provider)
        await provider.aclose()
    assert error is not None
    assert FILE.startswith(b"".join(chunks))


async def test_results_that_are_not_there_are_not_found_and_say_so_in_the_apis_words() -> None:
    """A 404 on a known batch may pass: it is never proof of absence."""

    async def talk(visit: Visit) -> None:
        await visit.answer(404, error_json("not_found_error", "has no available results."))

    async with RawServer(talk) as server:
        provider = provider_at(server.url)
        with pytest.raises(ProviderNotFound, match="has no available results"):
            async with provider.results(REMOTE_ID):
                pass
        await provider.aclose()


async def test_a_page_of_html_is_not_a_result_file() -> None:
    """A captive portal's 200 must not pass for a file without our lines: that would prove a batch foreign."""

    async def talk(visit: Visit) -> None:
        await visit.answer(200, b"<html>\n" * 200, {"content-type": "text/html; charset=utf-8"})

    async with RawServer(talk) as server:
        provider = provider_at(server.url)
        chunks, error = await _download(provider)
        await provider.aclose()
    assert chunks == []
    assert error is not None


async def test_a_redirected_download_is_not_followed() -> None:
    """Promise 9: the key goes to our own base URL alone."""

    async def never(visit: Visit) -> None:
        await visit.answer(200, FILE, JSONL)

    async with RawServer(never) as other:

        async def talk(visit: Visit) -> None:
            await visit.answer(307, b"", {"location": f"{other.url}/results"})

        async with RawServer(talk) as server:
            provider = provider_at(server.url)
            chunks, error = await _download(provider)
            await provider.aclose()
        assert other.connections == 0
    assert chunks == []
    assert error is not None


@pytest.mark.parametrize(
    ("way", "ending"), [("early exit", type(None)), ("own error", KeyError), ("cancel", asyncio.CancelledError)]
)
async def test_an_open_download_is_closed_however_it_is_left(way: str, ending: type) -> None:
    """No connection stays open, and an error of ours inside stays itself."""
    gone, reading = asyncio.Event(), asyncio.Event()

    async def talk(visit: Visit) -> None:
        visit.writer.write(HEAD + LINE * 50_000)
        try:
            await visit.hang()
        finally:
            gone.set()

    async def read(provider: AnthropicProvider) -> None:
        async with provider.results(REMOTE_ID) as download:
            async for _ in download.chunks:
                reading.set()
                if way == "own error":
                    raise KeyError
                if way == "early exit":
                    return

    async with RawServer(talk) as server:
        provider = provider_at(server.url, max_downloads=1)
        task = asyncio.create_task(read(provider))
        await reading.wait()
        if way == "cancel":
            task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        await gone.wait()
        await provider.aclose()
    assert type(end) is ending
