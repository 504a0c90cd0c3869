"""The sandbox on a port, in a process of its own: the API of process-level tests. Prints its port.

It can be told to kill its client at an exact point (`support.windows`).

Usage: python -m support.api_server '{"speed": 3600, "faults": "", "batch_seconds": [60, 600]}'
"""

from __future__ import annotations

import asyncio
import json
import sys

from orchestrator.sandbox import MachineSettings, SandboxSettings, build_sandbox
from orchestrator.sandbox.server import serve
from support.windows import Windows


def _say(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


async def main(options: dict[str, object]) -> None:
    """Serve until killed."""
    low, high = json.loads(json.dumps(options.get("batch_seconds", [60, 600])))
    settings = SandboxSettings(
        machine=MachineSettings(batch_seconds=(low, high), retry_after_in_progress=None),
        speed=float(str(options.get("speed", 3600))),
        faults=str(options.get("faults", "")),
        seed=int(str(options.get("seed", 0))),
    )
    app = Windows(build_sandbox(settings).app(), latency_s=float(str(options.get("latency_s", 0))))
    await serve(app, 0, ready=_say)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
