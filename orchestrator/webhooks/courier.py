"""Sends one notice by HTTP: one POST, ten seconds, no redirect, no proxy, and never to an unchecked address.

It is signed by the Standard Webhooks scheme, which libraries in every language can verify.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import importlib
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from orchestrator.config import WebhookSection
from orchestrator.config.safe_files import read_secret
from orchestrator.domain import errors, notices
from orchestrator.ports.runtime import Courier
from orchestrator.version import VERSION
from orchestrator.webhooks.addresses import AddressRefusedError, Resolve, checked_addresses, resolve

if TYPE_CHECKING:
    import httpx2

_WITHIN_S: Final = 10.0
_READ_BYTES: Final = 64 * 1024
_SHOWN_BYTES: Final = 800
_GONE: Final = 410
_PREFIX: Final = "whsec_"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
#: Source: Standard Webhooks 1.0.0, "Signature scheme": a symmetric secret has 24 to 64 bytes.
_SHORTEST, _LONGEST = 24, 64
_REMEDY: Final = (
    "make one: python3 -c 'import base64,secrets; print(\"whsec_\"+base64.b64encode(secrets.token_bytes(32)).decode())'"
)


class SigningSecret:
    """The bytes that sign; shown as `***` wherever it is printed."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "***"

    def headers(self, message_id: str, at: datetime, payload: bytes) -> dict[str, str]:
        """The three headers of a message sent *at*."""
        stamp = str(int(at.timestamp()))
        signed = b".".join((message_id.encode(), stamp.encode(), payload))
        digest = base64.b64encode(hmac.digest(self._key, signed, "sha256")).decode()
        return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": f"v1,{digest}"}


def secret_from(variable: str | None, file: Path | None, environ: Mapping[str, str]) -> SigningSecret:
    """The secret in the environment *variable*, or alone in *file*. Raises UsageError, which never shows it."""
    if variable is not None:
        text = environ.get(variable, "")
        return _secret(text, f"the environment variable {variable}")
    if file is None:
        raise errors.UsageError("a webhook has no secret", hint="[[webhooks]] takes secret_env or secret_file")
    text = read_secret(file, called="the secret file", hint=_REMEDY, error=errors.UsageError)
    return _secret(text, f"the file {file}")


def _secret(text: str, source: str) -> SigningSecret:
    plain = text.strip().removeprefix(_PREFIX)
    key = _decoded(plain)
    if key is None or not _SHORTEST <= len(key) <= _LONGEST:
        cause = "there is none" if plain == "" else "it is not whsec_ and the base64 of 24 to 64 bytes"
        raise errors.UsageError(f"{source} holds no secret for a webhook", cause=cause, hint=_REMEDY)
    return SigningSecret(key)


def _decoded(text: str) -> bytes | None:
    if _BASE64.fullmatch(text) is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The settings of an endpoint beside its URL.

    allow_private: it may be in a private network, and speak plain http.
    """

    secret: SigningSecret
    allow_private: bool = False


class HttpCourier(Courier):
    """Sends notices to *targets*, by URL. *resolve*, *trust*: the system's own by default."""

    def __init__(
        self, targets: Mapping[str, Target], *, resolve: Resolve = resolve, trust: ssl.SSLContext | None = None
    ) -> None:
        self._targets = targets
        self._resolve = resolve
        self._trust = trust
        self._client: httpx2.AsyncClient | None = None

    @override
    async def carry(self, notice: notices.Notice, now: datetime) -> notices.DeliveryResult:
        target = self._targets.get(notice.url)
        if target is None:
            return notices.DeliveryResult(status=None, error="the endpoint is not in the settings", is_final=True)
        client = await self._opened()
        import httpx2

        try:
            async with asyncio.timeout(_WITHIN_S):
                return await self._post(client, notice, target, now)
        except TimeoutError:
            return notices.DeliveryResult(status=None, error=f"no answer within {_WITHIN_S:g} s")
        except AddressRefusedError as exc:
            return notices.DeliveryResult(status=None, error=str(exc))
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            return notices.DeliveryResult(status=None, error=f"{type(exc).__name__}: {exc}"[:_SHOWN_BYTES])

    @override
    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _opened(self) -> httpx2.AsyncClient:
        """The client; the first notice loads its library, in a thread."""
        module = await asyncio.to_thread(importlib.import_module, "httpx2")
        if self._client is None:
            # A connection that is kept belongs to an address; the next notice may be for another name there.
            limits = module.Limits(max_keepalive_connections=0)
            verify = True if self._trust is None else self._trust
            self._client = module.AsyncClient(
                verify=verify, trust_env=False, follow_redirects=False, limits=limits, timeout=_WITHIN_S
            )
        return self._client

    async def _post(
        self, client: httpx2.AsyncClient, notice: notices.Notice, target: Target, now: datetime
    ) -> notices.DeliveryResult:
        """POST to the first address that accepts a connection."""
        import httpx2

        url = httpx2.URL(notice.url)
        port = url.port if url.port is not None else 443 if url.scheme == "https" else 80
        host = url.raw_host.decode("ascii").strip("[]")
        addresses = await checked_addresses(host, port, allow_private=target.allow_private, resolve=self._resolve)
        headers = {
            **target.secret.headers(notice.message_id, now, notice.payload),
            "content-type": "application/json",
            "user-agent": f"orchestrator/{VERSION}",
            "host": url.netloc.decode("ascii"),
        }
        for left, address in enumerate(addresses, start=1 - len(addresses)):
            there = client.build_request(
                "POST",
                url.copy_with(host=address),
                content=notice.payload,
                headers=headers,
                extensions={"sni_hostname": host},
            )
            try:
                return await _answered(client, there)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if left == 0:
                    raise
        raise AddressRefusedError(f"the name {host} has no address")


async def _answered(client: httpx2.AsyncClient, request: httpx2.Request) -> notices.DeliveryResult:
    """The response as a result. At most 64 KiB of it are read; its beginning is kept if it is an error."""
    response = await client.send(request, stream=True)
    try:
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) >= _READ_BYTES:
                break
    finally:
        await response.aclose()
    if response.is_success:
        return notices.DeliveryResult(status=response.status_code, error=None)
    words = bytes(body[:_SHOWN_BYTES]).decode("utf-8", "replace")
    return notices.DeliveryResult(
        status=response.status_code,
        error=f"{response.status_code} {words}".strip(),
        is_final=response.status_code == _GONE,
    )


def courier_for(webhooks: Sequence[WebhookSection], environ: Mapping[str, str] | None = None) -> HttpCourier | None:
    """The courier for *webhooks*; None without any. Raises UsageError if a secret is missing: better now than later."""
    if not webhooks:
        return None
    env = os.environ if environ is None else environ
    return HttpCourier(
        {
            webhook.url: Target(
                secret=secret_from(webhook.secret_env, webhook.secret_file, env), allow_private=webhook.allow_private
            )
            for webhook in webhooks
        }
    )


def specs_of(webhooks: Sequence[WebhookSection]) -> list[notices.EndpointSpec]:
    """The endpoints in the store's form."""
    return [notices.EndpointSpec(url=webhook.url, events=webhook.events) for webhook in webhooks]
