"""How much of an answer is taken in, and which statuses are answers at all (promises 5 and 8)."""

from __future__ import annotations

import gzip
import importlib
import json
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable

import pytest
from provider.provider_world import REMOTE_ID, RawServer, Visit, batch_json, create_at, error_json, provider_at

from orchestrator.domain.api_answers import Blocked, Invalid, Unclear
from orchestrator.domain.errors import ProviderRefused, ProviderUnreachable
from orchestrator.provider.client import AnthropicProvider
from orchestrator.provider.response_limits import MAX_ERROR_BYTES, MAX_JSON_BYTES

pytestmark = pytest.mark.anyio
MB = 1 << 20
Call = Callable[[AnthropicProvider], Awaitable[object]]
PAGE = {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _results(provider: AnthropicProvider) -> object:
    async with provider.results(REMOTE_ID) as download:
        return [chunk async for chunk in download.chunks]


CALLS: dict[str, Call] = {
    "list": lambda provider: provider.page(after_id=None, limit=1000),
    "retrieve": lambda provider: provider.retrieve(REMOTE_ID),
    "cancel": lambda provider: provider.cancel(REMOTE_ID),
    "delete": lambda provider: provider.delete(REMOTE_ID),
    "results": _results,
}


def bomb(size_bytes: int) -> bytes:
    """So many spaces around an empty page, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join((*(packer.compress(b" " * MB) for _ in range(size_bytes // MB)), packer.flush()))


BOMB = bomb(64 * MB)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """The SDK's own memory is none of an answer's."""
    importlib.import_module("anthropic")


async def _asked(call: Call, status: int, body: object, headers: dict[str, str] | None = None) -> BaseException | None:
    """What *call* ends in where every request is answered like this."""

    async def talk(visit: Visit) -> None:
        await visit.read_body()
        await visit.answer(status, body, headers)

    async with RawServer(talk) as server:
        provider = provider_at(server.url)
        try:
            await call(provider)
        except Exception as exc:  # noqa: BLE001 - handed to the test
            return exc
        finally:
            await provider.aclose()
    return None


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
@pytest.mark.parametrize("name", [name for name in CALLS if name != "results"])
async def test_an_answer_that_is_too_large_is_no_answer_and_is_not_held(name: str, packed: bool) -> None:
    """M4: 4 MB of gzip were 8 GB in memory; now 16 MiB are read, after decompression as well, of every call."""
    body, headers = (BOMB, {"content-encoding": "gzip"}) if packed else (b" " * (MAX_JSON_BYTES + 1), {})
    tracemalloc.start()
    said = await _asked(CALLS[name], 200, body, headers)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(said, ProviderUnreachable)
    assert "answer too large" in said.message
    assert peak < 6 * MAX_JSON_BYTES


async def test_a_page_just_below_the_bound_is_read() -> None:
    """M4: the bound is ten times a page of a thousand batches."""
    body = json.dumps(PAGE).encode()
    assert await _asked(CALLS["list"], 200, body + b" " * (MAX_JSON_BYTES - len(body))) is None
    packed = gzip.compress(body[:40]) + gzip.compress(body[40:])
    assert await _asked(CALLS["list"], 200, packed, {"content-encoding": "gzip"}) is None


@pytest.mark.parametrize("name", CALLS)
async def test_the_words_of_a_refusal_are_read_to_64_kib(name: str) -> None:
    """M4: the SDK reads an error whole by itself; its status says what matters, so a part of the words will do."""
    tracemalloc.start()
    said = await _asked(CALLS[name], 400, BOMB, {"content-encoding": "gzip"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(said, ProviderRefused)
    assert (said.status, f"{MAX_ERROR_BYTES} bytes" in said.message or "no words" in said.message) == (400, True)
    assert peak < 64 * MB


@pytest.mark.parametrize("encoding", ["identity", "none", "Identity, identity", "identity,none,", "identity, gzip"])
async def test_an_answer_that_names_no_compression_is_read_as_it_is(encoding: str) -> None:
    """Promise 3: a proxy that lists `identity` (twice, with `none`) has changed nothing; results must come."""
    body = json.dumps(PAGE).encode()
    body = gzip.compress(body) if "gzip" in encoding else body
    assert await _asked(CALLS["list"], 200, body, {"content-encoding": encoding}) is None


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "made up"])
async def test_a_compression_that_was_not_asked_for_is_no_answer(encoding: str) -> None:
    """M4: only a decoder that can be told to stop is used."""
    said = await _asked(CALLS["list"], 200, b"anything", {"content-encoding": encoding})
    assert isinstance(said, ProviderUnreachable)
    assert "not asked for" in said.message
    refused = await _asked(CALLS["list"], 403, b"anything", {"content-encoding": encoding})
    assert isinstance(refused, ProviderRefused)


async def test_compression_that_ends_early_or_is_damaged_is_no_answer() -> None:
    """M4: half an answer is none."""
    packed = gzip.compress(json.dumps({**PAGE, "data": [batch_json() for _ in range(50)]}).encode())
    for body in (packed[:-5], packed[:-100], packed[:100] + b"x" * 50 + packed[150:], b"plain after all"):
        said = await _asked(CALLS["list"], 200, body, {"content-encoding": "gzip"})
        assert isinstance(said, ProviderUnreachable)


@pytest.mark.parametrize(
    "status", [101, 201, 202, 203, 204, 205, 206, 207, 226, 299, 300, 301, 302, 303, 304, 305, 307, 308]
)
@pytest.mark.parametrize("body", [b"", b"not ready yet"], ids=["empty", "words"])
async def test_a_download_with_a_status_that_is_no_plain_yes_is_a_failed_try(status: int, body: bytes) -> None:
    """F3: 202, 203, 204 and 206 ended the engine with "internal error: ResponseNotRead"."""
    words = b"" if status in {101, 204, 205, 304} else body
    said = await _asked(CALLS["results"], status, words)
    assert isinstance(said, ProviderUnreachable), said


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("status", [202, 203, 206, 302])
async def test_no_call_takes_such_a_status_for_an_answer_or_dies_of_it(name: str, status: int) -> None:
    """F3: the same for every call, however large what comes with it is."""
    assert isinstance(await _asked(CALLS[name], status, BOMB, {"content-encoding": "gzip"}), ProviderUnreachable)


@pytest.mark.parametrize(
    ("status", "body"), [(200, BOMB), (200, b"[" * 100_000), (200, b'{"id":' * 5000), (202, BOMB), (500, BOMB)]
)
async def test_a_create_whose_answer_cannot_be_read_is_doubt(status: int, body: bytes) -> None:
    """M4: whatever came, the batch may exist."""
    headers = {"content-encoding": "gzip"} if body is BOMB else {}

    async def talk(visit: Visit) -> None:
        await visit.read_body()
        await visit.answer(status, body, headers)

    said, server = await create_at(talk)
    assert isinstance(said, Unclear), said
    assert server.posts == 1


FLAT: list[object] = [
    {"error": {"type": "invalid_request_error", "message": "max_tokens: 99 > 64"}},
    {"type": "invalid_request_error", "message": "max_tokens: 99 > 64"},
    {"type": "error", "error": {"message": "max_tokens: 99 > 64"}},
    {"type": "error", "error": "max_tokens: 99 > 64"},
    {"error": {"error": {"message": "max_tokens: 99 > 64", "code": None}}},
    {"message": "max_tokens: 99 > 64", "request_id": 7},
    {"detail": "max_tokens: 99 > 64"},
    "max_tokens: 99 > 64",
]


@pytest.mark.parametrize("flat", FLAT, ids=str)
async def test_a_flat_error_keeps_its_words(flat: object) -> None:
    """F21: gateways do not nest errors as the API does; what they say is shown all the same."""
    body = json.dumps(flat)
    refused = await _asked(CALLS["list"], 400, body)
    assert isinstance(refused, ProviderRefused)
    assert refused.message == "400: max_tokens: 99 > 64"

    async def talk(visit: Visit) -> None:
        await visit.read_body()
        await visit.answer(422, body)

    said, _ = await create_at(talk)
    assert isinstance(said, Invalid)
    assert said.why == "max_tokens: 99 > 64"


async def test_a_flat_400_names_its_request_or_the_account() -> None:
    """F21: the words decide, in any shape: a request is singled out, an empty account pauses and fails nothing."""

    async def names(visit: Visit) -> None:
        await visit.read_body()
        await visit.answer(400, {"message": "requests.2.params: bad"})

    async def poor(visit: Visit) -> None:
        await visit.read_body()
        await visit.answer(400, {"error": {"message": "Your credit balance is too low to access the API."}})

    said, _ = await create_at(names)
    assert isinstance(said, Invalid)
    assert said.index == 2
    blocked, _ = await create_at(poor)
    assert isinstance(blocked, Blocked)
    assert blocked.code == "billing"


async def test_a_nested_error_is_read_as_ever() -> None:
    """F21: the API's own shape stays the one that says who speaks."""
    said = await _asked(CALLS["list"], 400, error_json("invalid_request_error", "no"))
    assert isinstance(said, ProviderRefused)
    assert said.message == "400: no"
