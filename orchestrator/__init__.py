"""A durable job orchestrator for the Message Batches API: kill it anywhere, lose nothing, pay once.

The public surface is `__all__`: these names with their public attributes. Every module below this package may change.
The names are loaded when they are first used: importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.version import VERSION

if TYPE_CHECKING:
    from orchestrator.client import *

__version__ = VERSION
__all__ = [
    "__version__",
    # Where work is handed in
    "Orchestrator",
    "SyncOrchestrator",
    "Submission",
    # Jobs
    "Job",
    "SyncJob",
    "OpenJob",
    "SyncOpenJob",
    # What they tell
    "Attempt",
    "EngineHealth",
    "ErrorGroup",
    "InputProblem",
    "JobSnapshot",
    "JobState",
    "JobStatus",
    "RequestCounts",
    "RequestDetails",
    "RequestState",
    "Result",
    # Errors
    "OrchestratorError",
    "BadCursor",
    "BodyTooLarge",
    "BodyTooSlow",
    "EngineSilent",
    "GuardRefused",
    "InputError",
    "InputRefused",
    "JobTimeout",
    "KeyReused",
    "NeedsPerson",
    "NoSuchThing",
    "OutOfMemory",
    "OutputError",
    "OutputNotWritten",
    "Purged",
    "ServerBusy",
    "ServerSilent",
    "ServerUnreadable",
    "StoreError",
    "StoreFull",
    "StoreLost",
    "StoreOwned",
    "UsageError",
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
