"""The key is found up front, checked before an HTTP library sees it, and never shown (promise 9)."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import httpx2
import pytest
from provider.provider_world import CANARY, HEADERS, REMOTE_ID, SizedBody, error_json

from orchestrator.domain.api_answers import Blocked
from orchestrator.domain.errors import NeedsPerson, ProviderRefused, ProviderUnreachable, UsageError
from orchestrator.provider.client import AnthropicProvider
from orchestrator.provider.credentials import Secret, custom_headers, find
from orchestrator.provider.settings import ProviderSettings, checked_base_url

pytestmark = pytest.mark.anyio
VARIABLES = ("API_KEY", "AUTH_TOKEN", "BASE_URL", "CUSTOM_HEADERS", "PROFILE", "FEDERATION_RULE_ID", "LOG")
BAD_KEYS = [
    f"{CANARY}\nsecond-line",
    f"{CANARY} {CANARY}",
    f"{CANARY}\x00",
    f"{CANARY}\x7f",
    f"{CANARY}\r\nx-evil: 1",
    f"{CANARY}é",
    f"“{CANARY}”",
    f"{CANARY}\u2028x",
    "   ",
    "\n",
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials from the machine that runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def _provider(transport: httpx2.AsyncBaseTransport | None = None, **settings: str) -> AnthropicProvider:
    return AnthropicProvider(ProviderSettings(**settings), transport=transport)  # type: ignore[arg-type] # only texts


def _unasked(request: httpx2.Request) -> httpx2.Response:
    raise AssertionError(f"nothing may be sent: {request.url}")


# --- where keys come from -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize("around", ["{}", "{}\n", " {} ", "\r\n{}\r\n", "\t{}"])
def test_a_key_is_stripped_and_described_by_its_source_alone(name: str, around: str) -> None:
    """`echo key > file` leaves a newline: it must not matter (T91)."""
    found = find({name: around.format(CANARY)})
    secrets = [secret for secret in (found.api_key, found.auth_token) if secret is not None]
    assert [secret.reveal() for secret in secrets] == [CANARY]
    assert name in found.describe()
    assert CANARY not in f"{found!r} {found} {found.describe()}"


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize("value", BAD_KEYS)
def test_a_bad_key_is_refused_by_the_name_of_its_source_never_by_its_value(name: str, value: str) -> None:
    """T91: httpx2 would print the whole key."""
    with pytest.raises(NeedsPerson) as caught:
        find({name: value})
    said = f"{caught.value} {caught.value.cause} {caught.value.hint}"
    assert name in said
    assert CANARY not in said


def test_the_api_key_goes_before_the_token_and_an_empty_variable_counts_as_unset() -> None:
    """The order of SDK 2.12."""
    both = find({"ANTHROPIC_API_KEY": "a", "ANTHROPIC_AUTH_TOKEN": "b"})
    assert (both.api_key is not None, both.auth_token) == (True, None)
    token = find({"ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "b"})
    assert (token.api_key, token.auth_token is not None) == (None, True)


async def test_no_key_at_all_asks_for_a_person_up_front() -> None:
    """The SDK would raise a bare TypeError at the first call; `warm` says what was looked at."""
    with pytest.raises(NeedsPerson) as caught:
        await _provider(httpx2.MockTransport(_unasked)).warm()
    assert "ANTHROPIC_API_KEY is not set" in str(caught.value.cause)
    assert "ANTHROPIC_API_KEY" in str(caught.value.hint)


async def test_without_a_key_a_create_is_blocked_and_a_read_refused() -> None:
    """The port's own errors, whatever is missing."""
    provider = _provider(httpx2.MockTransport(_unasked))
    answer = await provider.create(SizedBody(), HEADERS)
    assert isinstance(answer, Blocked)
    assert answer.code == "credentials"
    assert answer.why.startswith("no API key found (ANTHROPIC_API_KEY is not set, ")
    assert answer.why.endswith("that the SDK can use)")  # the remedy stands beside the code
    with pytest.raises(ProviderRefused) as caught:
        await provider.retrieve(REMOTE_ID)
    assert caught.value.blocked == "credentials"


@pytest.mark.parametrize(
    ("key", "cause"),
    [("a b", "it has spaces, line breaks, control or non-ASCII characters inside"), (" ", "it is blank")],
)
async def test_a_key_that_cannot_be_one_says_why_wherever_it_is_told(
    key: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused job's reason is all that a person has the next day: what is wrong with the key, and how to set it."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    provider = _provider(httpx2.MockTransport(_unasked))
    source = "the environment variable ANTHROPIC_API_KEY"
    remedy = "set ANTHROPIC_API_KEY to the key alone, exactly as the Console shows it"
    why = f"the key in {source} cannot be a key ({cause}); {remedy}"
    assert await provider.create(SizedBody(), HEADERS) == Blocked(code="credentials", why=why)
    with pytest.raises(ProviderRefused) as caught:
        await provider.retrieve(REMOTE_ID)
    assert (caught.value.message, caught.value.blocked) == (why, "credentials")


async def test_a_profile_is_found_by_the_sdk_and_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What SDK 2.12 supports is supported here."""
    sent: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers["authorization"])
        return httpx2.Response(401, json=error_json("authentication_error", "no"))

    for folder, content in [
        ("configs", {"authentication": {"type": "user_oauth"}}),
        ("credentials", {"access_token": "from-a-profile", "expires_at": 4_000_000_000}),
    ]:
        path = tmp_path / "anthropic" / folder / "work.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
        path.chmod(0o600)
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path / "anthropic"))
    monkeypatch.setenv("ANTHROPIC_PROFILE", "work")
    provider = _provider(httpx2.MockTransport(answer), base_url="https://api.test")
    assert "profile" in (await provider.warm()).describe()
    got = await provider.create(SizedBody(), HEADERS)
    await provider.aclose()
    assert isinstance(got, Blocked)
    assert sent == ["Bearer from-a-profile"]  # once: the SDK sends a 401 again when it may


async def test_a_profile_that_does_not_exist_asks_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """A named profile is meant."""
    monkeypatch.setenv("ANTHROPIC_PROFILE", "nobody")
    with pytest.raises(NeedsPerson):
        await _provider().warm()


async def test_custom_headers_are_sent_and_may_hold_a_gateways_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ANTHROPIC_CUSTOM_HEADERS` means what it means to the SDK."""
    seen: list[httpx2.Headers] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers)
        return httpx2.Response(404, text="no")

    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Api-Key: gateway\nx-team: blue")
    provider = _provider(httpx2.MockTransport(answer), base_url="https://api.test")
    await provider.create(SizedBody(), HEADERS)
    assert (seen[0]["x-api-key"], seen[0]["x-team"]) == ("gateway", "blue")


@pytest.mark.parametrize("line", [f"x-a: {CANARY}\x00", f"x-a: {CANARY}é", f"bad name: {CANARY}", f": {CANARY}"])
def test_a_custom_header_that_cannot_be_sent_is_refused_without_its_value(line: str) -> None:
    """httpx2 would print it."""
    with pytest.raises(UsageError) as caught:
        custom_headers({"ANTHROPIC_CUSTOM_HEADERS": f"x-good: 1\n{line}"})
    assert "line 2 of ANTHROPIC_CUSTOM_HEADERS" in caught.value.message
    assert CANARY not in f"{caught.value.message}{caught.value.cause}{caught.value.hint}"


# --- where they go ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["https://api.test", "http://localhost:1", "http://127.0.0.1:8080/x", "http://127.9.9.9", "http://[::1]:3"],
)
def test_https_and_this_machine_may_get_the_key(url: str) -> None:
    """The sandbox on a port is plain http."""
    assert checked_base_url(url, "it") == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.test",
        "http://10.0.0.1",
        "http://localhost.evil.test",
        "http://127.0.0.1.evil.test",
        "http://0.0.0.0",
        "ftp://api.test",
        "api.test",
        "https://",
        f"https://user:{CANARY}@api.test",
        f"http://[{CANARY}",
    ],
)
async def test_nothing_else_gets_the_key(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """T92: over plain http the key could be read on the way; the message never shows the URL's own password."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
    with pytest.raises(UsageError) as caught:
        await _provider().warm()
    said = f"{caught.value.message} {caught.value.cause} {caught.value.hint}"
    assert "ANTHROPIC_BASE_URL" in said
    assert CANARY not in said
    assert isinstance(await _provider().create(SizedBody(), HEADERS), Blocked)


# --- what shows them ----------------------------------------------------------------------------------------------


def test_a_secret_shows_as_stars_and_cannot_be_written() -> None:
    """Logs, tracebacks and crash dumps print objects by their repr."""
    secret = Secret(CANARY)
    assert f"{secret} {secret!r} {[secret]}" == "*** *** [***]"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize("said", [401, 500, "broken"])
async def test_no_traceback_of_ours_holds_the_key_even_with_local_variables(
    said: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A logger that prints locals prints those of every frame: structlog and Rich do, for every error of the chain."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if isinstance(said, str):
            raise httpx2.LocalProtocolError(f"Illegal header value {request.headers['authorization']!r}")
        return httpx2.Response(said, json=error_json("x_error", "no"))

    async def instantly(_: float) -> None:
        pass

    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    settings = ProviderSettings(base_url="https://api.test")
    provider = AnthropicProvider(settings, transport=httpx2.MockTransport(answer), sleep=instantly)
    with pytest.raises((ProviderRefused, ProviderUnreachable)) as caught:
        await provider.retrieve(REMOTE_ID)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "with_retries" in shown
    assert CANARY not in shown
    got = await provider.create(SizedBody(), HEADERS)
    assert CANARY not in repr(got)


async def test_the_libraries_below_log_no_key_and_no_body(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At DEBUG the SDK logs request bodies; `ANTHROPIC_LOG=debug` asks it to."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    caplog.set_level(logging.DEBUG)
    for name in ("anthropic", "httpx2", "httpcore2"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={})

    provider = _provider(httpx2.MockTransport(answer), base_url="https://api.test")
    await provider.create(SizedBody(), HEADERS)
    names = {record.name.split(".")[0] for record in caplog.records}
    assert names.isdisjoint({"anthropic", "httpx2", "httpcore2"})
    assert CANARY not in caplog.text


def test_importing_the_provider_does_not_import_the_sdk() -> None:
    """Importing the SDK takes 1.2 s: `--help` and `status` must not pay for it."""
    code = (
        "import sys; import orchestrator.provider.client, orchestrator.provider.credentials as c;"
        "c.find({'ANTHROPIC_API_KEY': 'k'}); print({'anthropic', 'httpx2', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
