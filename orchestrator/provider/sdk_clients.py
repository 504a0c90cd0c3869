"""The SDK's clients, made once: one for creates, one for everything else; and the SDK's loggers, silenced."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.config.network import client_errors_hidden, client_options
from orchestrator.domain import account, errors
from orchestrator.observability.heavy_imports import gc_paused
from orchestrator.provider import credentials as keys
from orchestrator.provider.credentials import Credentials
from orchestrator.provider.settings import ADDRESS_HINT, ApiAddress, ProviderSettings, find_address

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic


#: At DEBUG the SDK logs whole request bodies (prompts) and httpcore2 every header, the key among them (measured with
#: SDK 2.12). `ANTHROPIC_LOG=debug` switches that on when the SDK is imported: they are silenced after the import.
LOGGERS: Final = ("anthropic", "httpx2", "httpcore2", "httpx", "httpcore", "h11", "hpack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The SDK's clients. *creates* opens a connection for each call, *reads* reuses them.

    A reset of a reused connection would look like a lost answer.
    """

    creates: AsyncAnthropic
    reads: AsyncAnthropic
    credentials: Credentials
    address: ApiAddress | None = None  #: None: there is a transport in place of the network

    def using(self, credentials: Credentials) -> Clients:
        """The same clients with another key: calls under way go on, and every later one is sent with it."""
        for client in (self.creates, self.reads):
            client.api_key = None if credentials.api_key is None else credentials.api_key.reveal()
        return replace(self, credentials=credentials)

    async def aclose(self) -> None:
        """Close both with their connections; the credentials' own connection closes with *reads*."""
        await self.creates.close()
        await self.reads.close()


async def load_sdk() -> None:
    """Import the SDK in a thread if nobody has yet: it takes about a second, and the event loop goes on meanwhile."""
    if "anthropic" not in sys.modules:
        await asyncio.to_thread(_import_sdk)
    silence_libraries()


def _import_sdk() -> None:
    """Three thousand modules."""
    with gc_paused():
        importlib.import_module("anthropic")


def open_clients(
    settings: ProviderSettings, *, transport: httpx2.AsyncBaseTransport | None, credentials: Credentials | None
) -> Clients:
    """Clients that never retry and never follow a redirect. Opens no connection.

    transport: in place of the network, for both. credentials: None looks them up in the environment. Raises NeedsPerson
    without usable credentials, UsageError for a base URL, headers, a proxy or certificates that cannot be used.
    """
    from orchestrator.provider.response_limits import limit_responses

    found = keys.find(os.environ) if credentials is None else credentials
    keys.custom_headers(os.environ)
    address = None if transport is not None else address_of(settings, found)
    how = {} if address is None else client_options(address.url, os.environ)
    http_client = limit_responses(_http_client(settings, transport, how, keep_alive=True))
    reads = _sdk_client(settings, found, address, http_client)
    http_client = limit_responses(_http_client(settings, transport, how, keep_alive=False))
    creates = reads.with_options(http_client=http_client, max_retries=0)
    return Clients(creates=creates, reads=reads, credentials=found, address=address)


def _sdk_client(
    settings: ProviderSettings, found: Credentials, address: ApiAddress | None, http_client: httpx2.AsyncClient
) -> AsyncAnthropic:
    import anthropic
    import httpx2

    try:
        return anthropic.AsyncAnthropic(
            api_key=None if found.api_key is None else found.api_key.reveal(),
            auth_token=None if found.auth_token is None else found.auth_token.reveal(),
            base_url=settings.base_url if address is None else address.url,
            max_retries=0,
            default_headers=None if settings.api_version is None else {"anthropic-version": settings.api_version},
            http_client=http_client,
        )
    except httpx2.InvalidURL:  # its words quote the address
        source = "the API's address" if address is None else address.source
        problem: errors.OrchestratorError = errors.UsageError(
            f"{source} cannot be used", cause="it is not a URL", hint=ADDRESS_HINT
        )
    except anthropic.AnthropicError as exc:
        problem = errors.NeedsPerson(
            "the SDK's credentials cannot be read", cause=str(exc), hint=account.REMEDIES[account.CREDENTIALS]
        )
    raise problem


def address_of(settings: ProviderSettings, credentials: Credentials | None = None) -> ApiAddress:
    """Where the API is for *settings*; without *credentials* as far as it is known before they are looked up."""
    return find_address(
        settings.base_url, os.environ, plain_http_hosts=settings.plain_http_hosts, credentials=credentials
    )


def _http_client(
    settings: ProviderSettings, transport: httpx2.AsyncBaseTransport | None, how: Mapping[str, Any], *, keep_alive: bool
) -> httpx2.AsyncClient:
    """An httpx2 client as the SDK makes it (TCP keep-alive), but without redirects.

    how: proxies and certificates. keep_alive: else it is for creates, each on a bounded connection of its own.
    """
    import anthropic
    import httpx2

    timeout = httpx2.Timeout(settings.timeout.total_seconds(), connect=settings.connect_timeout.total_seconds())
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=8 if keep_alive else 0)
    if transport is not None:
        return httpx2.AsyncClient(transport=transport, timeout=timeout, limits=limits, follow_redirects=False)
    with client_errors_hidden():
        client = anthropic.DefaultAsyncHttpxClient(timeout=timeout, limits=limits, follow_redirects=False, **how)
    if not keep_alive:
        client.event_hooks = {"request": [bound]}
    return client


def silence_libraries() -> None:
    """Let the HTTP libraries and the SDK log warnings and errors only."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


#: Linux doubles it, for its own bookkeeping.
SEND_BUFFER_BYTES: Final = 1 << 20
#: How long written bytes may wait for their acknowledgement. Shorter would cut an API that does not read for a while.
_UNACKNOWLEDGED_MS: Final = 5 * 60 * 1000
_CONNECTED: Final = ".connect_tcp.complete"


async def bound(request: httpx2.Request) -> None:
    """A hook of creates: what a kernel holds of a body, and sends when its process is stopped or dead, is bounded.

    Unbounded, that is up to 4 MB (Linux), and more bytes than a wait of ours for what left must outlast.
    By the library's trace of a request and not by its own socket options, which it sets on no way to a proxy (2.16).
    """
    request.extensions["trace"] = _traced


async def _traced(event: str, info: dict[str, Any]) -> None:
    if event.endswith(_CONNECTED):
        opened = info["return_value"].get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
