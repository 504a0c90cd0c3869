"""Sends one notice by HTTP: one POST, ten seconds, no redirect, no proxy, and never to an unchecked address."""

from __future__ import annotations

import asyncio
import importlib
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from orchestrator.config import WebhookSection
from orchestrator.domain.notices import DeliveryResult, EndpointSpec, Notice
from orchestrator.ports.runtime import Courier
from orchestrator.version import VERSION
from orchestrator.webhooks.addresses import AddressRefusedError, Resolve, checked_addresses, resolve
from orchestrator.webhooks.signing import SigningSecret, secret_from

if TYPE_CHECKING:
    import httpx2

_WITHIN_S: Final = 10.0
_READ_BYTES: Final = 64 * 1024
_SHOWN_BYTES: Final = 800
_GONE: Final = 410


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
    async def carry(self, notice: Notice, now: datetime) -> DeliveryResult:
        target = self._targets.get(notice.url)
        if target is None:
            return DeliveryResult(status=None, error="the endpoint is not in the settings", is_final=True)
        client = await self._opened()
        import httpx2

        try:
            async with asyncio.timeout(_WITHIN_S):
                return await self._post(client, notice, target, now)
        except TimeoutError:
            return DeliveryResult(status=None, error=f"no answer within {_WITHIN_S:g} s")
        except AddressRefusedError as exc:
            return DeliveryResult(status=None, error=str(exc))
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            return DeliveryResult(status=None, error=f"{type(exc).__name__}: {exc}"[:_SHOWN_BYTES])

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

    async def _post(self, client: httpx2.AsyncClient, notice: Notice, target: Target, now: datetime) -> DeliveryResult:
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


async def _answered(client: httpx2.AsyncClient, request: httpx2.Request) -> DeliveryResult:
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
        return DeliveryResult(status=response.status_code, error=None)
    words = bytes(body[:_SHOWN_BYTES]).decode("utf-8", "replace")
    return DeliveryResult(
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


def specs_of(webhooks: Sequence[WebhookSection]) -> list[EndpointSpec]:
    """The endpoints in the store's form."""
    return [EndpointSpec(url=webhook.url, events=webhook.events) for webhook in webhooks]
