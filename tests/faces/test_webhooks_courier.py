"""The courier: signed as the standard says, bounded in time and size, and only to addresses that may be asked."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from support.receiver import receiving
from support.tools import needed_tool

from orchestrator.domain.errors import UsageError
from orchestrator.domain.notices import DeliveryResult, Notice
from orchestrator.webhooks.courier import HttpCourier, Target, secret_from

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
TARGET = Target(secret=secret_from("S", None, {"S": SECRET}), allow_private=True)
PUBLIC_ONLY = Target(secret=TARGET.secret)
PAYLOAD = b'{"type":"webhook.test","timestamp":"2026-11-26T00:00:00.000000+00:00","data":{}}'


def notice(url: str) -> Notice:
    return Notice(delivery_id=1, message_id="msg_x_1", url=url, payload=PAYLOAD, tries=0)


async def carried(url: str, target: Target = TARGET, **how: Any) -> DeliveryResult:
    courier = HttpCourier({url: target}, **how)
    try:
        return await courier.carry(notice(url), datetime.now(UTC))
    finally:
        await courier.aclose()


class Names:
    """A resolver that says one thing the first time and another later, and counts how often it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, _host: str, _port: int) -> list[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def test_the_signature_is_the_standards() -> None:
    """The reference library verifies it, and refuses a body that was changed or a secret that is another."""

    async def check() -> None:
        async with receiving() as receiver:
            assert await carried(receiver.url) == DeliveryResult(status=200, error=None)
            (got,) = receiver.got
        assert Webhook(SECRET).verify(got.body, got.headers) == json.loads(PAYLOAD)
        assert got.headers["content-type"] == "application/json"
        another = base64.b64encode(b"x" * 32).decode()
        for secret, body in ((another, got.body), (SECRET, b" " + got.body)):
            with pytest.raises(WebhookVerificationError):
                Webhook(secret).verify(body, got.headers)

    asyncio.run(check())


def test_no_proxy_and_no_certificates_of_the_environment_stand_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """M6, F4: a notice goes to the address that was checked; wrong variables do not matter to it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "socks4://127.0.0.1:9")
    monkeypatch.setenv("SSL_CERT_FILE", "/does/not/exist")

    async def check() -> None:
        async with receiving() as receiver:
            assert await carried(receiver.url) == DeliveryResult(status=200, error=None)

    asyncio.run(check())


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410, 429, 500, 503])
def test_only_a_2xx_is_a_yes(status: int) -> None:
    """A redirect is not followed: it could lead to where nothing may be sent."""

    async def check() -> None:
        to = b"HTTP/1.1 %d Moved\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n" % status
        async with receiving(to) as receiver:
            outcome = await carried(receiver.url)
            assert (outcome.status, outcome.is_final) == (status, status == 410)
            assert outcome.error is not None
            assert len(receiver.got) == 1

    asyncio.run(check())


def test_an_endless_answer_is_left_and_only_its_first_words_are_kept() -> None:
    """At most 64 KiB are read, and at most 1 kB is stored."""

    async def check() -> None:
        async with receiving(b"HTTP/1.1 500 No\r\ncontent-length: 100000000\r\n\r\n" + b"x" * 300_000) as receiver:
            outcome = await carried(receiver.url)
        assert outcome.status == 500
        assert outcome.error is not None
        assert len(outcome.error) <= 1000

    asyncio.run(check())


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"])
def test_a_broken_answer_is_no_answer(said: bytes) -> None:
    """And it is an outcome, not an error that ends the engine."""

    async def check() -> None:
        async with receiving(said) as receiver:
            outcome = await carried(receiver.url)
        assert outcome.error is not None
        assert not outcome.is_final

    asyncio.run(check())


def test_nobody_there_is_an_outcome_too() -> None:
    """A port where nothing listens; a name that nobody knows."""

    async def no_name(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    async def check() -> None:
        async with receiving() as receiver:
            url = receiver.url
        assert (await carried(url)).error is not None
        unknown = await carried("https://nowhere.example/", resolve=no_name)
        assert unknown.error == "the name nowhere.example is not known: Name or service not known"

    asyncio.run(check())


@pytest.mark.parametrize("host", ["a..example.com", f"{'x' * 64}.example.com"])
def test_a_host_that_can_be_no_name_is_an_outcome_too(host: str) -> None:
    """The system's own resolver raises UnicodeError for these; a notice to one must not end the engine."""
    outcome = asyncio.run(carried(f"https://{host}/hook"))
    assert outcome.status is None
    assert outcome.error is not None
    assert "can be no host's name" in outcome.error


def test_a_private_address_is_never_asked() -> None:
    """Whatever the name says, and whatever else it stands for beside: nothing is sent."""

    async def check() -> None:
        async with receiving() as receiver:
            for addresses in (["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:127.0.0.1"]):
                url = f"http://hook.example:{receiver.port}/hook"
                outcome = await carried(url, PUBLIC_ONLY, resolve=Names(addresses))
                assert outcome.error is not None
                assert "not on the public internet" in outcome.error
            assert (await carried(receiver.url, PUBLIC_ONLY)).status is None
            assert receiver.got == []

    asyncio.run(check())


def test_a_name_that_changes_after_the_look_changes_nothing() -> None:
    """DNS rebinding: it is resolved once, and the connection goes to the address that was looked at."""

    async def check() -> None:
        async with receiving() as receiver:
            names = Names(["127.0.0.1"], ["127.0.0.99"])
            url = f"http://hook.example:{receiver.port}/hook"
            assert (await carried(url, resolve=names)).status == 200
            assert names.asked == 1
            assert receiver.got[0].headers["host"] == f"hook.example:{receiver.port}"

    asyncio.run(check())


def test_the_next_address_is_tried_where_the_first_takes_no_connection() -> None:
    """A name often has an IPv6 address that does not work from here."""

    async def check() -> None:
        async with receiving() as receiver:
            url = f"http://hook.example:{receiver.port}/hook"
            assert (await carried(url, resolve=Names(["127.0.0.77", "127.0.0.1"]))).status == 200

    asyncio.run(check())


def test_the_certificate_must_be_that_of_the_name(tmp_path: Path) -> None:
    """Although an address is connected to: TLS asks for the name and checks the name."""
    openssl = needed_tool("openssl", package="openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hook.example"]
    command += ["-addext", "subjectAltName=DNS:hook.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    server, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=certificate)
    server.load_cert_chain(certificate, key)

    async def check() -> None:
        names = Names(["127.0.0.1"])
        async with receiving(tls=server) as receiver:
            right = await carried(f"https://hook.example:{receiver.port}/", resolve=names, trust=trust)
            wrong = await carried(f"https://other.example:{receiver.port}/", resolve=names, trust=trust)
            strangers = await carried(f"https://hook.example:{receiver.port}/", resolve=names)
        assert right == DeliveryResult(status=200, error=None)
        assert (wrong.status, strangers.status) == (None, None)
        assert len(receiver.got) == 1

    asyncio.run(check())


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "not base64 at all !", "whsec_" + "A" * 200])
def test_a_secret_that_cannot_be_one_is_refused_without_being_shown(text: str, tmp_path: Path) -> None:
    """At the start of the engine, with the way to make one."""
    file = tmp_path / "secret"
    file.write_text(text)
    for variable, path in (("HOOK", None), (None, file)):
        with pytest.raises(UsageError) as refused:
            secret_from(variable, path, {"HOOK": text})
        told = f"{refused.value.message} {refused.value.cause}"
        assert text == "" or text not in told.replace("whsec_ and", "")
    assert repr(TARGET.secret) == "***"
