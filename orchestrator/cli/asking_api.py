"""Asking the API something from a command: what goes wrong becomes an error that a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.domain.account import REMEDIES
from orchestrator.domain.errors import NeedsPerson, OrchestratorError, ProviderError, ProviderRefused


class ApiSilent(OrchestratorError):
    """No call to the API worked; what is stored is safe."""

    exit_code = 6


@contextmanager
def for_a_person() -> Iterator[None]:
    """Turn the errors of a call to the API into errors of a command."""
    try:
        yield
    except ProviderError as exc:
        raise explained(exc) from exc


def explained(exc: ProviderError) -> OrchestratorError:
    """What *exc* means for who gave the command."""
    if isinstance(exc, ProviderRefused) and exc.blocked is not None:
        return NeedsPerson("the API refuses this account", cause=exc.message, hint=REMEDIES[exc.blocked])
    if isinstance(exc, ProviderRefused):
        return OrchestratorError("the API refused the call", cause=exc.message, hint="orchestrator doctor looks closer")
    return ApiSilent(
        "the API cannot be reached", cause=exc.message, hint="check the network; `orchestrator doctor` looks closer"
    )
