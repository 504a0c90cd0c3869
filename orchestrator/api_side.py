"""The API that an engine works with: the real one, or the sandbox in this process."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.config import Settings
from orchestrator.config.network import client_options
from orchestrator.domain.batches_api import SANDBOX_ORGANIZATION
from orchestrator.domain.errors import NeedsPerson, ProviderError, StoreError, UsageError
from orchestrator.ports.estimates import History
from orchestrator.ports.runtime import Meter, Prices, Provider
from orchestrator.system_clock import SystemClock

if TYPE_CHECKING:
    import httpx2

    from orchestrator.domain.batches_api import LoopGuard
    from orchestrator.estimate.survey import SurveyingEstimator
    from orchestrator.provider.credentials import Credentials
    from orchestrator.provider.settings import ApiAddress, ProviderSettings
    from orchestrator.sandbox import Sandbox

#: What to do where a sandbox server is wanted and there is none.
START_SANDBOX: Final = "`orchestrator sandbox` starts one, in a terminal of its own; then here: export ANTHROPIC_BASE_URL=http://127.0.0.1:8788"
#: Names the crash point (`sandbox/crash_points.py`) at which the sandbox of this process kills it. Private to
#: `run --crash-test`, which sets it for its children; without a journal, as for `doctor`, it means nothing.
CRASH_VARIABLE: Final = "_ORCHESTRATOR_CRASH_POINT"


async def provider_of(
    stack: AsyncExitStack,
    settings: Settings,
    network: httpx2.AsyncBaseTransport | None,
    *,
    sandbox: Sandbox | SandboxServer | None,
    meter: Meter,
    passed: LoopGuard | None = None,
) -> Provider:
    """The real API, a sandbox in this process, or a sandbox server. The SDK itself is loaded by the first call.

    passed: the stores that creates come through, to be named to an API that may be another daemon.
    """
    from orchestrator.provider.client import AnthropicProvider

    local = None if isinstance(sandbox, SandboxServer) else sandbox
    if local is not None:
        stack.callback(local.close)
    provider = AnthropicProvider(
        _provider_settings(settings, settings.api.base_url if local is None else "https://sandbox.invalid"),
        transport=network if local is None else local.transport(),
        credentials=credentials_for(settings) if sandbox is None else _sandbox_credentials(),
        meter=meter,
        passed=passed,
    )
    stack.push_async_callback(provider.aclose)
    return provider


def _sandbox_credentials() -> Credentials:
    """What a sandbox is shown: no real key may go there."""
    from orchestrator.provider.credentials import Credentials, Secret

    return Credentials(source="the sandbox", api_key=Secret("sandbox"))


def _provider_settings(settings: Settings, base_url: str | None) -> ProviderSettings:
    from orchestrator.provider.settings import ProviderSettings

    return ProviderSettings(
        base_url=base_url,
        plain_http_hosts=settings.api.plain_http_hosts,
        api_version=settings.api.version,
        timeout=settings.api.timeout,
        max_uploads=settings.limits.max_uploads,
        max_downloads=settings.limits.max_downloads,
    )


def api_address(settings: Settings, *, with_profile: bool = False) -> ApiAddress:
    """Where the real API is, by the settings and the environment. Raises UsageError if no key may be sent there.

    with_profile: also by the SDK's profile, if that is what holds the key; then the SDK is loaded (1.2 s).
    """
    from orchestrator.provider.credentials import find
    from orchestrator.provider.settings import find_address

    found = None
    if with_profile and settings.api.key_file is None:
        with suppress(NeedsPerson):  # that there is no key is told when one is needed
            found = find(os.environ)
    hosts = settings.api.plain_http_hosts
    return find_address(settings.api.base_url, os.environ, plain_http_hosts=hosts, credentials=found)


def estimator_of(
    settings: Settings, provider: Provider | None, prices: Prices | None = None, history: History | None = None
) -> SurveyingEstimator:
    """Estimates by the prices of *settings*, unless *prices* are there already. provider: None: nothing is asked.

    Raises UsageError for a price file that cannot be used.
    """
    from orchestrator.estimate.survey import SurveyingEstimator
    from orchestrator.prices.price_book import PriceBook

    return SurveyingEstimator(
        PriceBook(settings.prices) if prices is None else prices,
        provider,
        SystemClock(),
        history,
        cache=settings.cache.mode,
        max_job=settings.budget.max_job,
    )


def check_network(settings: Settings) -> None:
    """Raise UsageError, at the start, for an address, a proxy or certificates that cannot be used for the API."""
    client_options(api_address(settings).url, os.environ)


def credentials_for(settings: Settings) -> Credentials | None:
    """The key in `[api] key_file`, if that is set; None: use what the environment has, at the first call."""
    from orchestrator.provider.credentials import from_file

    return None if settings.api.key_file is None else from_file(settings.api.key_file)


@dataclass(frozen=True, slots=True)
class SandboxServer:
    """A sandbox that several daemons share: `orchestrator sandbox` at the address of the API."""

    address: ApiAddress

    async def check(self, provider: Provider) -> None:
        """Raise UsageError, before anything is sent there, if it is none: it could be an API that costs money."""
        try:
            page = await provider.page(after_id=None, limit=1)
        except ProviderError as exc:
            message = f"the sandbox server does not answer at {self.address.shown} ({self.address.source})"
            raise UsageError(message, cause=exc.message, hint=START_SANDBOX) from exc
        if page.meta.organization != SANDBOX_ORGANIZATION:
            message = f"there is no sandbox at {self.address.shown} ({self.address.source})"
            raise UsageError(message, cause="what is sent there may be paid for", hint=START_SANDBOX)


def sandbox_server(settings: Settings) -> SandboxServer:
    """The sandbox server that the settings or the environment name. Raises UsageError where none is named."""
    address = api_address(settings)
    if address.is_usual:
        why = "several daemons may work on such a store, and the sandbox of one process is not there for the others"
        raise UsageError("--sandbox with [database] url needs a sandbox server", cause=why, hint=START_SANDBOX)
    return SandboxServer(address)


def sandbox_of(settings: Settings, *, keeps: bool) -> Sandbox | SandboxServer:
    """The sandbox in this process. keeps: its journal lies beside the store, so that its batches survive a kill.

    Only the owner of the store may keep one: two processes would write over each other. A store that has no owner needs
    a sandbox server.
    """
    from orchestrator.sandbox import CrashPoint, SandboxSettings, build_sandbox
    from orchestrator.store.location import file_location_of

    if settings.database.url is not None:
        return sandbox_server(settings)
    journal = file_location_of(settings).sandbox_journal if keeps else None
    point = os.environ.get(CRASH_VARIABLE) if keeps else None
    try:
        chosen = SandboxSettings(
            seed=settings.sandbox.seed,
            speed=settings.sandbox.speed,
            faults=settings.sandbox.faults,
            journal=journal,
            crash_at=None if point is None else CrashPoint(point),
        )
        return build_sandbox(chosen)
    except ValueError as exc:
        hint = "`orchestrator config show` tells where [sandbox] is set"
        raise UsageError(f"the sandbox cannot be as it is set: {exc}", hint=hint) from exc
    except OSError as exc:
        raise StoreError(f"the sandbox's journal {journal} cannot be opened", cause=exc.strerror) from exc
