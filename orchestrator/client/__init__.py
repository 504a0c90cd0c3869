"""The library, and what the commands stand on: the way to an engine, here or elsewhere, and the handles on its jobs.

`async with Orchestrator() as orc: job = await orc.submit(requests); await job.wait(); …`. Decides nothing about jobs.
Every error that rises out of it is an `OrchestratorError`; `domain.errors` has the tree. Public is what
`orchestrator.__all__` names, and it is imported here; the modules of this package may change.
"""

from orchestrator.client.errors import EngineSilent as EngineSilent
from orchestrator.client.errors import InputRefused as InputRefused
from orchestrator.client.errors import JobTimeout as JobTimeout
from orchestrator.client.errors import ServerSilent as ServerSilent
from orchestrator.client.errors import ServerUnreadable as ServerUnreadable
from orchestrator.client.job import Job as Job
from orchestrator.client.job import OpenJob as OpenJob
from orchestrator.client.job_options import Submission as Submission
from orchestrator.client.orchestrator import Orchestrator as Orchestrator
from orchestrator.client.result import Result as Result
from orchestrator.client.sync import SyncJob as SyncJob
from orchestrator.client.sync import SyncOpenJob as SyncOpenJob
from orchestrator.client.sync import SyncOrchestrator as SyncOrchestrator
from orchestrator.domain.errors import BadCursor as BadCursor
from orchestrator.domain.errors import BodyTooLarge as BodyTooLarge
from orchestrator.domain.errors import BodyTooSlow as BodyTooSlow
from orchestrator.domain.errors import GuardRefused as GuardRefused
from orchestrator.domain.errors import InputError as InputError
from orchestrator.domain.errors import KeyReused as KeyReused
from orchestrator.domain.errors import NeedsPerson as NeedsPerson
from orchestrator.domain.errors import NoSuchThing as NoSuchThing
from orchestrator.domain.errors import OrchestratorError as OrchestratorError
from orchestrator.domain.errors import OutOfMemory as OutOfMemory
from orchestrator.domain.errors import OutputError as OutputError
from orchestrator.domain.errors import OutputNotWritten as OutputNotWritten
from orchestrator.domain.errors import Purged as Purged
from orchestrator.domain.errors import ServerBusy as ServerBusy
from orchestrator.domain.errors import StoreError as StoreError
from orchestrator.domain.errors import StoreFull as StoreFull
from orchestrator.domain.errors import StoreLost as StoreLost
from orchestrator.domain.errors import StoreOwned as StoreOwned
from orchestrator.domain.errors import UsageError as UsageError
from orchestrator.domain.model import JobSnapshot as JobSnapshot
from orchestrator.domain.model import JobStatus as JobStatus
from orchestrator.domain.model import RequestCounts as RequestCounts
from orchestrator.domain.queries import Attempt as Attempt
from orchestrator.domain.queries import ErrorGroup as ErrorGroup
from orchestrator.domain.queries import RequestDetails as RequestDetails
from orchestrator.domain.states import JobState as JobState
from orchestrator.domain.states import RequestState as RequestState
from orchestrator.ports.engine import EngineHealth as EngineHealth
from orchestrator.ports.streams import InputProblem as InputProblem
