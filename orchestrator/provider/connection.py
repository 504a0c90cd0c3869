"""The SDK's clients, made once: one for creates, one for everything else."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.domain.account import CREDENTIALS, REMEDIES
from orchestrator.domain.errors import NeedsPerson
from orchestrator.observability.heavy import loading
from orchestrator.provider import credentials as keys
from orchestrator.provider.credentials import Credentials
from orchestrator.provider.quiet import silence_libraries
from orchestrator.provider.settings import ProviderSettings

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """*creates* opens a connection for each call: a reset of a reused one looks like a lost answer. *reads* reuses."""

    creates: AsyncAnthropic
    reads: AsyncAnthropic
    credentials: Credentials

    async def aclose(self) -> None:
        """Close both with their connections; the credentials' own connection closes with *reads*."""
        await self.creates.close()
        await self.reads.close()


async def load_sdk() -> None:
    """Import the SDK in a thread, if nobody has yet: it takes about a second, and the event loop goes on meanwhile."""
    if "anthropic" not in sys.modules:
        await asyncio.to_thread(_import_sdk)
    silence_libraries()


def _import_sdk() -> None:
    """Three thousand modules."""
    with loading():
        importlib.import_module("anthropic")


def open_clients(
    settings: ProviderSettings, *, transport: httpx2.AsyncBaseTransport | None, credentials: Credentials | None
) -> Clients:
    """Clients that never retry and never follow a redirect. Opens no connection.

    *transport*: in place of the network, for both. *credentials*: None looks them up in the environment.
    Raises NeedsPerson without usable credentials, UsageError for a base URL or headers that cannot be used.
    """
    import anthropic

    found = keys.find(os.environ) if credentials is None else credentials
    keys.custom_headers(os.environ)
    try:
        reads = anthropic.AsyncAnthropic(
            api_key=None if found.api_key is None else found.api_key.reveal(),
            auth_token=None if found.auth_token is None else found.auth_token.reveal(),
            base_url=_base_url(settings, checked=transport is None),
            max_retries=0,
            default_headers=None if settings.api_version is None else {"anthropic-version": settings.api_version},
            http_client=_http_client(settings, transport, keep_alive=True),
        )
    except anthropic.AnthropicError as exc:
        problem = NeedsPerson("the SDK's credentials cannot be read", cause=str(exc), hint=REMEDIES[CREDENTIALS])
    else:
        if transport is None:
            keys.checked_base_url(str(reads.base_url), "the base URL of the profile")
        creates = reads.with_options(http_client=_http_client(settings, transport, keep_alive=False), max_retries=0)
        return Clients(creates=creates, reads=reads, credentials=found)
    raise problem


def _base_url(settings: ProviderSettings, *, checked: bool) -> str | None:
    """The base URL that is asked for, or None for the SDK's own (or a profile's)."""
    if settings.base_url is not None:
        return keys.checked_base_url(settings.base_url, "[api] base_url") if checked else settings.base_url
    named = os.environ.get(keys.BASE_URL)
    if named is None or named == "":
        return None
    return keys.checked_base_url(named, keys.BASE_URL) if checked else named


def _http_client(
    settings: ProviderSettings, transport: httpx2.AsyncBaseTransport | None, *, keep_alive: bool
) -> httpx2.AsyncClient:
    """An httpx2 client as the SDK makes it (TCP keep-alive, proxies from the environment), but without redirects."""
    import anthropic
    import httpx2

    timeout = httpx2.Timeout(settings.timeout.total_seconds(), connect=settings.connect_timeout.total_seconds())
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=8 if keep_alive else 0)
    if transport is not None:
        return httpx2.AsyncClient(transport=transport, timeout=timeout, limits=limits, follow_redirects=False)
    return anthropic.DefaultAsyncHttpxClient(timeout=timeout, limits=limits, follow_redirects=False)
