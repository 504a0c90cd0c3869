"""A durable job orchestrator for the Message Batches API: kill it anywhere, lose nothing, pay once.

The library's names are loaded when they are first used: importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.version import VERSION

if TYPE_CHECKING:
    from orchestrator.client import (
        BadCursor,
        BodyTooLarge,
        BodyTooSlow,
        EngineSilent,
        GuardRefused,
        InputError,
        InputRefused,
        Job,
        JobTimeout,
        KeyReused,
        NeedsPerson,
        NoSuchThing,
        OpenJob,
        Orchestrator,
        OrchestratorError,
        OutOfMemory,
        OutputError,
        OutputNotWritten,
        Purged,
        Result,
        ServerBusy,
        ServerSilent,
        ServerUnreadable,
        StoreError,
        StoreFull,
        StoreLost,
        StoreOwned,
        Submission,
        SyncJob,
        SyncOpenJob,
        SyncOrchestrator,
        UsageError,
    )

__version__ = VERSION
__all__ = [
    "BadCursor",
    "BodyTooLarge",
    "BodyTooSlow",
    "EngineSilent",
    "GuardRefused",
    "InputError",
    "InputRefused",
    "Job",
    "JobTimeout",
    "KeyReused",
    "NeedsPerson",
    "NoSuchThing",
    "OpenJob",
    "Orchestrator",
    "OrchestratorError",
    "OutOfMemory",
    "OutputError",
    "OutputNotWritten",
    "Purged",
    "Result",
    "ServerBusy",
    "ServerSilent",
    "ServerUnreadable",
    "StoreError",
    "StoreFull",
    "StoreLost",
    "StoreOwned",
    "Submission",
    "SyncJob",
    "SyncOpenJob",
    "SyncOrchestrator",
    "UsageError",
    "__version__",
]


def __dir__() -> list[str]:
    """The names above beside what is loaded: for `dir` and for the completion of a notebook."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:  # noqa: ANN401 - stands for each name above
    """Load the library with the first use of one of its names."""
    if name in __all__:
        from orchestrator import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
