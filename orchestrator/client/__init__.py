"""The library: `async with Orchestrator() as orc: job = await orc.submit(requests); await job.wait(); …`.

Owns the way to an engine (in this process, or in the one that owns the store), and the handles that a program holds.
Decides nothing about jobs. Every error that rises out of it is an `OrchestratorError`; the tree is in `domain.errors`.
"""

from orchestrator.client.errors import InputRefused, JobTimeout
from orchestrator.client.job import Job, OpenJob
from orchestrator.client.job_options import Submission
from orchestrator.client.orchestrator import Orchestrator
from orchestrator.client.result import Result
from orchestrator.client.sync import SyncJob, SyncOpenJob, SyncOrchestrator
from orchestrator.client.transport import EngineSilent, ServerSilent, ServerUnreadable
from orchestrator.domain.errors import (
    BadCursor,
    BodyTooLarge,
    BodyTooSlow,
    GuardRefused,
    InputError,
    KeyReused,
    NeedsPerson,
    NoSuchThing,
    OrchestratorError,
    OutOfMemory,
    OutputError,
    OutputNotWritten,
    Purged,
    ServerBusy,
    StoreError,
    StoreFull,
    StoreLost,
    StoreOwned,
    UsageError,
)

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
]
