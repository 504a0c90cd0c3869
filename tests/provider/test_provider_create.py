"""A create is sent once, and what its end means follows the table, whatever breaks (promise 2)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx2
import pytest
from provider.provider_world import (
    CANARY,
    CHUNK,
    HEADERS,
    KEY,
    REMOTE_ID,
    RawServer,
    SizedBody,
    StoreBroke,
    Talk,
    Visit,
    answers,
    batch_json,
    create_at,
    hang_after_the_body,
    provider_at,
)

from orchestrator.domain.api_answers import (
    Accepted,
    NotSent,
    TooLarge,
    Unclear,
)
from orchestrator.ports.runtime import Headers, Provider
from orchestrator.provider.client import AnthropicProvider
from orchestrator.provider.settings import ProviderSettings

pytestmark = pytest.mark.anyio
FITS: type[Provider] = AnthropicProvider
BIG = 32 << 20  # more than the socket buffers of both ends take


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# --- the good case ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Z", "+00:00"])
async def test_a_create_is_one_post_of_exactly_the_bytes_with_the_headers_of_its_job(zone: str) -> None:
    """Promise 8: streamed, with the exact length; version and betas are those of the job."""
    headers = {
        "request-id": "req_7",
        "date": "Fri, 20 Nov 2026 18:37:25 GMT",
        "anthropic-organization-id": "org",
        "anthropic-workspace-id": "ws",
    }
    talk = partial(answers, status=200, body=batch_json(zone=zone), headers=headers)
    answer, server = await create_at(talk, SizedBody(3 * CHUNK + 5))
    assert isinstance(answer, Accepted)
    assert (answer.batch.id, answer.batch.counts.total) == (REMOTE_ID, 3)
    assert answer.batch.created_at == datetime(2026, 11, 20, 18, 37, 24, 100435, tzinfo=UTC)
    assert answer.meta.date == datetime(2026, 11, 20, 18, 37, 25, tzinfo=UTC)
    assert (answer.meta.request_id, answer.meta.organization, answer.meta.workspace) == ("req_7", "org", "ws")
    (visit,) = server.visits
    assert visit.line == "POST /v1/messages/batches HTTP/1.1"
    assert bytes(visit.body) == b"x" * (3 * CHUNK + 5)
    assert "transfer-encoding" not in visit.headers
    assert visit.headers["content-type"] == "application/json"
    assert visit.headers["anthropic-version"] == "2023-06-01"
    assert visit.headers["anthropic-beta"] == "a-beta,b-beta"
    assert visit.headers["authorization"] == f"Bearer {CANARY}"
    assert visit.headers["x-stainless-retry-count"] == "0"


async def test_a_job_without_betas_sends_no_beta_header() -> None:
    """An empty `anthropic-beta` would be refused."""

    async def talk(visit: Visit) -> None:
        await answers(visit, 200, batch_json())

    async with RawServer(talk) as server:
        provider = provider_at(server.url)
        await provider.create(SizedBody(), Headers(api_version="2026-10-21", betas=()))
        await provider.aclose()
    assert "anthropic-beta" not in server.visits[0].headers
    assert server.visits[0].headers["anthropic-version"] == "2026-10-21"


async def test_every_create_has_a_connection_of_its_own_and_reads_share_one() -> None:
    """A reset of a reused connection would look like a lost answer: a doubt for nothing."""

    async def talk(visit: Visit) -> None:
        await answers(visit, 200, batch_json())

    async with RawServer(talk) as server:
        provider = provider_at(server.url)
        await provider.retrieve(REMOTE_ID)
        await provider.retrieve(REMOTE_ID)
        assert server.connections == 1
        for expected in (2, 3, 4):
            await provider.create(SizedBody(), HEADERS)
            assert server.connections == expected
        await provider.aclose()


# --- what breaks on the wire --------------------------------------------------------------------------------------


async def _reset_after_the_body(visit: Visit) -> None:
    await visit.read_body()
    visit.reset()


async def _close_after_the_body(visit: Visit) -> None:
    await visit.read_body()
    visit.writer.close()


async def _half_an_answer(visit: Visit) -> None:
    await visit.read_body()
    visit.writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{")
    visit.writer.close()


async def _garbled_answer(visit: Visit) -> None:
    await visit.read_body()
    visit.writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    visit.writer.close()


LOST = [_reset_after_the_body, _close_after_the_body, hang_after_the_body, _half_an_answer, _garbled_answer]


@pytest.mark.parametrize("talk", LOST)
async def test_no_clear_answer_after_the_whole_body_is_a_doubt(talk: Talk) -> None:
    """The batch may exist: only the list can tell (T39)."""
    answer, server = await create_at(talk, timeout=timedelta(seconds=0.5))
    assert isinstance(answer, Unclear)
    assert server.posts == 1


async def _reset_inside(visit: Visit, after: int) -> None:
    await visit.read_body(after)
    visit.reset()


@pytest.mark.parametrize("after", [1, CHUNK, 5 * CHUNK, 1 << 20, 8 << 20])
async def test_a_reset_inside_the_body_is_a_clear_no(after: int) -> None:
    """Bytes that were never handed over prove that no batch was made (T39)."""
    body = SizedBody(BIG)
    answer, server = await create_at(partial(_reset_inside, after=after), body)
    assert isinstance(answer, NotSent)
    assert answer.cut
    assert server.posts == 1
    assert body.closed


async def test_a_server_that_stops_reading_is_a_clear_no() -> None:
    """The deadline counts from the last progress; the body was not whole."""

    async def talk(visit: Visit) -> None:
        await visit.read_body(CHUNK)
        await released.wait()
        visit.reset()

    released = asyncio.Event()
    async with RawServer(talk) as server:
        provider = provider_at(server.url, timeout=timedelta(seconds=0.5))
        answer = await provider.create(SizedBody(BIG), HEADERS)
        released.set()
        await provider.aclose()
    assert isinstance(answer, NotSent)
    assert answer.cut
    assert server.posts == 1


async def test_an_early_413_is_a_clear_no_even_where_only_a_reset_is_seen() -> None:
    """The CDN answers and closes while we still send; three such cuts in a row count as a 413, elsewhere."""

    async def talk(visit: Visit) -> None:
        await visit.read_body(CHUNK)
        await visit.answer(413, "Request exceeds the maximum size", {"content-type": "text/html"})
        visit.reset()

    answer, server = await create_at(talk, SizedBody(BIG))
    assert isinstance(answer, TooLarge | NotSent)
    assert server.posts == 1


async def test_no_connection_is_a_clear_no_and_not_a_cut() -> None:
    """Nothing left this machine."""
    async with RawServer(hang_after_the_body) as server:
        free = server.url
    provider = provider_at(free)
    answer = await provider.create(SizedBody(), HEADERS)
    await provider.aclose()
    assert isinstance(answer, NotSent)
    assert not answer.cut


async def test_a_failed_tls_handshake_is_a_clear_no() -> None:
    """Promise 2: nothing of ours left before the handshake ended."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as listener:
        provider = provider_at(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        answer = await provider.create(SizedBody(), HEADERS)
        await provider.aclose()
    assert isinstance(answer, NotSent)
    assert not answer.cut


class _Broken(httpx2.AsyncBaseTransport):
    """Fails at once, before it asks for the body."""

    def __init__(self, error: type[httpx2.TransportError]) -> None:
        self.tries = 0
        self._error = error

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:  # noqa: ARG002 - httpx2's
        self.tries += 1
        raise self._error("no")


@pytest.mark.parametrize(
    "error", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError, httpx2.ReadError]
)
async def test_an_error_before_the_first_byte_is_not_a_cut(error: type[httpx2.TransportError]) -> None:
    """DNS, proxies and pools fail before anything left."""
    transport = _Broken(error)
    provider = AnthropicProvider(ProviderSettings(base_url="https://x"), transport=transport, credentials=KEY)
    got = await provider.create(SizedBody(), HEADERS)
    await provider.aclose()
    assert isinstance(got, NotSent)
    assert not got.cut
    assert transport.tries == 1


# --- the body's own end -------------------------------------------------------------------------------------------


async def test_what_the_store_raises_inside_a_body_comes_out_as_itself() -> None:
    """A store error is not the network's: the engine decides, and the API cannot have a batch."""
    body = SizedBody(10 * CHUNK, breaks_at=3 * CHUNK)
    answer, server = await create_at(hang_after_the_body, body)
    assert isinstance(answer, StoreBroke)
    assert body.closed
    assert server.posts == 1
    assert len(server.visits[0].body) < body.size_bytes


@pytest.mark.parametrize("lies_by", [-1, 1])
async def test_a_body_that_is_not_as_long_as_it_says_is_a_bug_and_never_arrives_whole(lies_by: int) -> None:
    """A wrong Content-Length must not pass for a cut connection."""
    body = SizedBody(2 * CHUNK, lies_by=lies_by)
    answer, server = await create_at(hang_after_the_body, body)
    assert isinstance(answer, RuntimeError)
    assert len(server.visits[0].body) < body.size_bytes


async def test_a_cancelled_create_ends_as_cancelled_and_closes_its_connection_and_body() -> None:
    """CancelledError is never swallowed: the caller records the doubt."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def talk(visit: Visit) -> None:
        await visit.read_body()
        arrived.set()
        await visit.hang()
        gone.set()

    body = SizedBody()
    async with RawServer(talk) as server:
        provider = provider_at(server.url)
        task = asyncio.create_task(provider.create(body, HEADERS))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()
        await provider.aclose()
    assert body.closed
    assert server.posts == 1


async def test_no_more_creates_run_at_once_than_allowed() -> None:
    """Promise 5: concurrent uploads have a limit."""
    inside, most = 0, 0
    both = asyncio.Event()

    async def talk(visit: Visit) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if most == 2:
            both.set()
        await both.wait()
        await visit.read_body()
        inside -= 1
        await visit.answer(200, batch_json())

    async with RawServer(talk) as server:
        provider = provider_at(server.url, max_uploads=2)
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(provider.create(SizedBody(), HEADERS))
        await provider.aclose()
    assert (most, server.posts) == (2, 6)
