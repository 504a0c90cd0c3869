"""A durable job orchestrator for the Message Batches API: kill it anywhere, lose nothing, pay once.

The public surface is `__all__`: these names with their public attributes. Every module below this package may change.
The names are loaded when they are first used: importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from orchestrator.version import VERSION

if TYPE_CHECKING:
    from orchestrator.client.errors import (
        EngineSilent,
        InputRefused,
        JobTimeout,
        RouteUnknown,
        ServerSilent,
        ServerUnreadable,
    )
    from orchestrator.client.job import ExportShape, Job, OpenJob
    from orchestrator.client.orchestrator import Orchestrator
    from orchestrator.client.result import Result
    from orchestrator.client.submission import RowSubmission, Submission
    from orchestrator.client.sync import SyncJob, SyncOpenJob, SyncOrchestrator
    from orchestrator.domain.errors import *
    from orchestrator.domain.model import JobSnapshot, JobStatus, RequestCounts
    from orchestrator.domain.queries import Attempt, ErrorGroup, RequestDetails
    from orchestrator.domain.states import JobState, RequestState
    from orchestrator.ports.engine import EngineHealth
    from orchestrator.ports.estimates import CostEstimate, Estimate, ModelCount, PriceUsed, TokenEstimate
    from orchestrator.ports.streams import InputProblem
    from orchestrator.views.fleet_views import FleetAnswerView, FleetDaemonView, HeldUnitView, UnitsWaitingView

__version__ = VERSION
__all__ = [
    "__version__",
    # Where work is handed in
    "Orchestrator",
    "SyncOrchestrator",
    "ExportShape",
    "RowSubmission",
    "Submission",
    # Jobs
    "Job",
    "SyncJob",
    "OpenJob",
    "SyncOpenJob",
    # What they tell
    "Attempt",
    "CostEstimate",
    "EngineHealth",
    "ErrorGroup",
    "Estimate",
    "FleetAnswerView",
    "FleetDaemonView",
    "HeldUnitView",
    "InputProblem",
    "JobSnapshot",
    "JobState",
    "JobStatus",
    "ModelCount",
    "PriceUsed",
    "RequestCounts",
    "RequestDetails",
    "RequestState",
    "Result",
    "TokenEstimate",
    "UnitsWaitingView",
    # Errors
    "OrchestratorError",
    "BadCursor",
    "BodyTooLarge",
    "BodyTooSlow",
    "BudgetExceeded",
    "BudgetRefused",
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
    "RoleRefused",
    "RouteUnknown",
    "ServerBusy",
    "ServerSilent",
    "ServerUnreadable",
    "StoreError",
    "StoreFull",
    "StoreUnreachable",
    "StoreLost",
    "StoreOwned",
    "UnknownPrice",
    "UsageError",
]
#: The modules that define these names, the light ones first.
_HOMES: Final = (
    *("domain.errors", "domain.states", "domain.model", "domain.queries", "ports.streams", "ports.engine"),
    "ports.estimates",
    "views.fleet_views",
    *("client.errors", "client.result", "client.job", "client.submission", "client.orchestrator", "client.sync"),
)


def __dir__() -> list[str]:
    """The names above beside what is loaded: for `dir` and for the completion of a notebook."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:  # noqa: ANN401 - stands for each name above
    """Load the module of *name* with its first use."""
    if name in __all__:
        homes = (import_module(f"{__name__}.{home}") for home in _HOMES)
        return next(getattr(home, name) for home in homes if hasattr(home, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
