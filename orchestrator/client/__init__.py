"""The library: `async with Orchestrator() as orc: job = await orc.submit(requests); await job.wait(); …`.

Owns the way to an engine (in this process, or in the one that owns the store), and the handles that a program holds.
Decides nothing about jobs.
"""

from orchestrator.client.errors import InputRefused, JobTimeout
from orchestrator.client.job import Job
from orchestrator.client.open_job import OpenJob
from orchestrator.client.orchestrator import Orchestrator
from orchestrator.client.result import Result
from orchestrator.client.submission import Submission
from orchestrator.client.sync import SyncJob, SyncOpenJob, SyncOrchestrator

__all__ = [
    "InputRefused",
    "Job",
    "JobTimeout",
    "OpenJob",
    "Orchestrator",
    "Result",
    "Submission",
    "SyncJob",
    "SyncOpenJob",
    "SyncOrchestrator",
]
