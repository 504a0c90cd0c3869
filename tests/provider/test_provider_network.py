"""Where the API is, and what stands between it and us (F4, F23, H1, M6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from provider.provider_world import HEADERS, KEY, RawServer, SizedBody, Visit, provider_at

from orchestrator.client.server_address import Server, server_at
from orchestrator.client.transport import ServerTransport
from orchestrator.config import load_settings
from orchestrator.domain.batches_api import LoopGuard
from orchestrator.domain.errors import UsageError
from orchestrator.observability.telemetry import Meters, open_tracing
from orchestrator.provider.client import AnthropicProvider
from orchestrator.provider.settings import SDK_BASE_URL, ProviderSettings, checked_base_url, find_address

pytestmark = pytest.mark.anyio
PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine that runs the tests."""
    for name in [*PROXIES, "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "ANTHROPIC_BASE_URL"]:
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def proxied(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RawServer]:
    """Every variable names this server, which only counts who comes."""

    async def refuse(visit: Visit) -> None:
        await visit.answer(502, "a proxy")

    async with RawServer(refuse) as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name, proxy.url)
        yield proxy


async def empty_page(visit: Visit) -> None:
    """A list with nothing in it; whatever else is asked, too."""
    await visit.read_body()
    await visit.answer(200, {"data": [], "has_more": False, "first_id": None, "last_id": None})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_no_proxy_gets_the_key_that_is_for_this_machine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """M6: the key went to it in clear text."""
    async with RawServer(empty_page) as api, proxied(monkeypatch) as proxy:
        provider = provider_at(api.url.replace("127.0.0.1", host))
        assert (await provider.page(after_id=None, limit=1)).batches == ()
        await provider.aclose()
        assert (api.connections > 0, proxy.connections) == (True, 0)


async def test_no_proxy_gets_the_token_that_is_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """M6: `--server http://127.0.0.1`, for the loop and for threads; https there as well."""
    async with RawServer(empty_page) as api, proxied(monkeypatch) as proxy:
        transport = ServerTransport(Server(url=api.url, token="t", token_from="the test"))  # noqa: S106 - no secret
        async with transport.client() as client:
            await client.get("jobs")
        other = ServerTransport(Server(url="https://127.0.0.1:9", token="t", token_from="x"))  # noqa: S106 - no secret
        async with other.client() as client:
            with pytest.raises(Exception, match="connect"):
                await client.get("jobs")
        with transport.blocking_client() as looking:
            assert not looking.trust_env
        assert (api.connections, proxy.connections) == (1, 0)


async def test_no_proxy_gets_the_traces_that_are_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """M6: the exporter's library asks one for localhost, too."""
    async with RawServer(empty_page) as collector, proxied(monkeypatch) as proxy:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        tracing = open_tracing(Meters(), lineage="store", ask_no_proxy=True)
        tracing.worked("plan", 1, timedelta(seconds=1))
        await tracing.aclose()
        assert (collector.connections > 0, proxy.connections) == (True, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "s3cr3t"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "9999999"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "s3cr3t"),
        ("OTEL_PYTHON_METER_PROVIDER", "s3cr3t"),
    ],
)
async def test_a_variable_that_ends_the_exporter_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """F4: whatever the library raises on it; `serve` ended with 70."""
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=name) as caught:
        open_tracing(Meters(), lineage="store", ask_no_proxy=True)
    assert "s3cr3t" not in f"{caught.value} {caught.value.cause} {caught.value.hint} {caught.value.__context__!r}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "ftp://s3cr3t"), ("https_proxy", "http://u:s3cr3t#x@h:1"), ("SSL_CERT_FILE", "/s3cr3t")],
)
async def test_a_wrong_variable_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """F4: by the provider, and by the way to a server: the library and the commands stand on both."""
    monkeypatch.setenv(name, value)
    provider = AnthropicProvider(ProviderSettings(base_url="https://api.test"), credentials=KEY)
    transport = ServerTransport(Server(url="https://jobs.test", token=None, token_from="nowhere"))  # noqa: S106 - no secret
    with pytest.raises(UsageError, match=name) as first:
        await provider.warm()
    with pytest.raises(UsageError, match=name) as second:
        transport.client()
    with pytest.raises(UsageError, match=name):
        transport.blocking_client()
    for error in (first.value, second.value):
        assert "s3cr3t" not in f"{error} {error.cause} {error.hint} {error.__context__!r}"


#: Addresses that no client can ask, for whatever reason.
ADDRESSES = [
    "https://s3cr3t:abc",
    "http://127.0.0.1:abc",
    "https://s3cr3t:0",
    "https://s3cr3t:99999",
    "https://s3cr3t:-1",
    "https://s3cr3t:" + "9" * 5000,
    "https://[v1.s3cr3t]",
    "https://[::1",
    "https://[::g]",
    "https://256.1.1.1",
    "https://s3cr3t..test",
    "https://" + "a" * 64 + ".test",
    "https://" + "a." * 200 + "test",
    "https://s3cr3t\t.test",
    "https://s3cr3t\n.test",
    "https://s3cr3t .test",
    "https://s3cr3t.test/a b",
    "https://s3cr3t.test/\x7f",
    "https://s3cr3té.test",
    "https://s3cr3t%20.test",
    "https://*",
    "https://",
    "https://user:s3cr3t@h",
    "ftp://s3cr3t",
    "s3cr3t",
]


@pytest.mark.parametrize("url", ADDRESSES)
async def test_an_address_that_no_client_can_ask_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """F4: of the API by each way to name it, of a server, of a webhook, of a proxy's front; it was a bug of ours."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
    provider = AnthropicProvider(ProviderSettings(), credentials=KEY)
    with pytest.raises(UsageError, match="ANTHROPIC_BASE_URL cannot be used") as by_variable:
        await provider.warm()
    with pytest.raises(UsageError, match=r"\[api\] base_url cannot be used") as by_setting:
        find_address(url, {})
    with pytest.raises(UsageError, match="address of the server") as by_flag:
        server_at(url)
    for caught in (by_variable, by_setting, by_flag):
        error = caught.value
        assert error.exit_code == 2
        assert error.cause is not None
        assert error.hint is not None
        assert "s3cr3t" not in f"{error.message} {error.cause} {error.hint}"
        assert "PROXY" not in error.hint
    here: dict[str, Any] = {"cwd": Path("/nowhere"), "env": {"HOME": "/nowhere"}}
    for name in ("api.base_url", "server.public_url"):
        with pytest.raises(UsageError, match="expected an address"):
            load_settings(flags={name: url}, **here)


@pytest.mark.parametrize(
    "url",
    ["https://h", "https://h:", "https://h.:1", "https://h_x.test/a/", "https://[fd00::1]:65535", "https://10.0.0.1"],
)
def test_an_address_that_a_client_can_ask_is_taken(url: str) -> None:
    """F4: as it is."""
    assert find_address(url, {}).url == url
    assert httpx2.URL(url).host


def test_the_usual_address_is_the_one_of_the_sdk() -> None:
    """H1: a new SDK with another one must be noticed; nobody is told of the usual one."""
    assert str(anthropic.Anthropic(api_key="k").base_url).rstrip("/") == SDK_BASE_URL
    assert find_address(None, {}).is_usual
    assert find_address(f"{SDK_BASE_URL}/", {}).is_usual


def test_the_address_is_told_with_who_says_so() -> None:
    """H1: the setting before the variable before the profile, which comes with the credentials."""
    variable = {"ANTHROPIC_BASE_URL": "https://two.test"}
    assert find_address("https://one.test", variable).words == "the API is at https://one.test ([api] base_url)"
    assert find_address(None, variable).words == "the API is at https://two.test (ANTHROPIC_BASE_URL)"
    assert find_address(None, {"ANTHROPIC_BASE_URL": ""}).is_usual
    assert "s3cr3t" not in find_address(None, {"ANTHROPIC_BASE_URL": "https://gw.test/v1?key=s3cr3t"}).words


@pytest.mark.parametrize("host", ["litellm", "LiteLLM", "10.1.2.3", "host.docker.internal", "localhost.", "[fd00::1]"])
def test_a_gateway_without_tls_must_be_named(host: str) -> None:
    """F23: then it is taken, and said to be readable; a host that is not named, or only looks alike, is refused."""
    url = f"http://{host}:4000"
    with pytest.raises(UsageError, match="it cannot be used") as caught:
        checked_base_url(url, "it")
    assert "[api] plain_http_hosts" in str(caught.value.hint)
    found = find_address(url, {}, plain_http_hosts=(host.lower().strip("[]").rstrip("."),))
    assert found.url == url
    assert "can be read on the way" in found.words
    for other in ("litell", "litellm.evil.test", "evil.test", "110.1.2.3"):
        with pytest.raises(UsageError):
            checked_base_url(f"http://{other}", "it", (host,))


async def test_a_create_names_the_stores_that_it_came_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """F4: to an address that may be another daemon; the API itself is not told."""
    seen: list[str | None] = []

    async def note(visit: Visit) -> None:
        await visit.read_body()
        seen.append(dict(visit.headers).get("orchestrator-lineage"))
        await visit.answer(404, {"type": "error", "error": {"type": "not_found_error", "message": "no"}})

    async with RawServer(note) as api:
        passed = LoopGuard("mine")
        assert passed.take("theirs")
        provider = AnthropicProvider(ProviderSettings(base_url=api.url), credentials=KEY, passed=passed)
        await provider.create(SizedBody(), HEADERS)
        await provider.aclose()
    assert seen == ["mine,theirs"]
