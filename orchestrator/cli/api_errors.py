"""Errors of the API as errors of a command, with something that a person can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.api_side import api_address
from orchestrator.cli.errors import ApiUnreachable
from orchestrator.cli.output import coloured, say
from orchestrator.domain.account import REMEDIES
from orchestrator.domain.errors import NeedsPerson, OrchestratorError, ProviderError, ProviderRefused
from orchestrator.domain.humanize import plain

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.config import Settings
    from orchestrator.ports.runtime import Provider


@contextmanager
def explaining_api_errors() -> Iterator[None]:
    """Turn the errors of a call to the API into errors of a command."""
    try:
        yield
    except ProviderError as exc:
        raise api_error(exc) from exc


def api_error(exc: ProviderError) -> OrchestratorError:
    """*exc* as an error of the command."""
    if isinstance(exc, ProviderRefused) and exc.blocked is not None:
        return NeedsPerson(
            "the API refuses this account", cause=exc.message, hint=without_resume(REMEDIES[exc.blocked])
        )
    if isinstance(exc, ProviderRefused):
        return OrchestratorError(
            "the API refused the call", cause=exc.message, hint="`orchestrator doctor` looks closer"
        )
    return ApiUnreachable(
        "the API cannot be reached", cause=exc.message, hint="check the network; `orchestrator doctor` looks closer"
    )


def without_resume(remedy: str) -> str:
    """*remedy* for a command that has no job to resume."""
    for ending in (", then resume the job", "; then resume the job"):
        remedy = remedy.removesuffix(ending)
    return remedy


def say_api_address(options: GlobalOptions, settings: Settings, *, sandbox: bool) -> str | None:
    """Say where keys and prompts go, if that is not the API's own address; returns that address, for JSON.

    To be called before anything is sent. Raises UsageError for an address that they may not be sent to.
    """
    if sandbox or options.server is not None:
        return None
    address = api_address(settings, with_profile=True)
    if address.is_usual:
        return None
    told = plain(address.words)
    say(options, coloured(told, "red") if address.is_readable else told)
    return address.shown


async def find_credentials(provider: Provider) -> None:
    """Find the credentials before the first call. Raises NeedsPerson, UsageError."""
    from orchestrator.provider.client import AnthropicProvider

    try:
        if isinstance(provider, AnthropicProvider):
            await provider.warm()
    except NeedsPerson as exc:
        hint = None if exc.hint is None else without_resume(exc.hint)
        raise NeedsPerson(exc.message, cause=exc.cause, hint=hint) from exc
