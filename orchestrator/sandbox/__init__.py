"""A local Message Batches API. It behaves like the real one, gives canned answers, and fails on request.

    sandbox = build_sandbox(SandboxSettings(speed=360, faults="error=.05,429=.05"))
    client = httpx2.AsyncClient(transport=sandbox.transport())      # in this process
    async with sandbox.serving(port=0) as port: ...                  # or on 127.0.0.1

Public names: `Sandbox`, `build_sandbox`, `SandboxSettings`, `MachineSettings`, `ScaledClock`, `Machine`, `Caller`,
`ApiError`, `LedgerRow`, `Bill`, `BilledRow`, `FaultPlan`, `parse_faults`, `CrashPoint`. The machine (`machine.py`) is a
plain object with an injected clock and no I/O; `router.py` puts HTTP in front of it; `in_process.py` and `server.py`
carry the requests. Importing this package loads neither httpx2 nor uvicorn.
"""

from orchestrator.domain.batches_api import ApiError
from orchestrator.sandbox.bill import Bill, BilledRow
from orchestrator.sandbox.build import Sandbox, build_sandbox
from orchestrator.sandbox.crash_points import CrashPoint
from orchestrator.sandbox.faults import FaultPlan, parse_faults
from orchestrator.sandbox.ledger import LedgerRow
from orchestrator.sandbox.machine import Machine
from orchestrator.sandbox.sandbox_settings import Caller, MachineSettings, SandboxSettings
from orchestrator.sandbox.seeded import ScaledClock

__all__ = [
    "ApiError",
    "Bill",
    "BilledRow",
    "Caller",
    "CrashPoint",
    "FaultPlan",
    "LedgerRow",
    "Machine",
    "MachineSettings",
    "Sandbox",
    "SandboxSettings",
    "ScaledClock",
    "build_sandbox",
    "parse_faults",
]
