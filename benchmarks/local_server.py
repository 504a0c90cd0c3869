"""The API for benchmarks: the sandbox on a port, in a process of its own; its batches end the moment they are made."""

from __future__ import annotations

import asyncio
import sys

from orchestrator.sandbox import MachineSettings, SandboxSettings, build_sandbox
from orchestrator.sandbox.server import serve


async def main() -> None:
    """Print the port, serve until killed."""
    sandbox = build_sandbox(
        SandboxSettings(machine=MachineSettings(instant=True, retry_after_in_progress=None), speed=1)
    )
    await serve(sandbox.app(), 0, ready=lambda port: print(port, flush=True))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
