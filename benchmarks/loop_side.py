"""How long the event loop is held up while an engine uploads and downloads, in a process of its own.

Usage: python -m benchmarks.loop_side, on the newest job of the store that the environment names; prints JSON.

A timer asks to be called every 5 ms; how much later it is called is the stall. The batches at the API end when all are
there, so that uploads and downloads do not mix. What passes before the first create (the SDK is loaded) is a phase of
its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.measure import calls, end_batches
from orchestrator.assembly import Engine
from orchestrator.config import load_settings
from orchestrator.daemon import running_engine
from orchestrator.domain.model import JobStatus
from orchestrator.domain.states import BatchState

_STEP_S: Final = 0.005
_LOOK_S: Final = 0.02
_CREATE: Final = "POST /v1/messages/batches"


class Stalls:
    """How late a timer was, by phase."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._figures: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()
        self._began = time.perf_counter()
        self._again()

    def _again(self) -> None:
        self._due = time.perf_counter() + _STEP_S
        self._timer = self._loop.call_later(_STEP_S, self._rings)

    def _rings(self) -> None:
        self._late.append(max(0.0, time.perf_counter() - self._due))
        self._again()

    def close(self, phase: str) -> None:
        """What came since the last phase was *phase*."""
        late = sorted(self._late) or [0.0]
        self._figures |= {
            f"{phase}_p99_ms": late[int(0.99 * (len(late) - 1))] * 1e3,
            f"{phase}_max_ms": late[-1] * 1e3,
            f"{phase}_s": time.perf_counter() - self._began,
        }
        self._late, self._began = [], time.perf_counter()

    def end(self) -> dict[str, float]:
        """Stop; the figures of every phase."""
        self._timer.cancel()
        return self._figures


async def main(base_url: str) -> dict[str, float]:
    """Run the engine until the job is over."""
    settings = load_settings(flags={}, env=os.environ, cwd=Path.cwd())
    stalls = Stalls()
    async with running_engine(settings, sandbox=False) as engine:
        await _until(partial(_is_sending, base_url))
        stalls.close("start")
        await _until(partial(_is_sent, engine))
        stalls.close("upload")
        await asyncio.to_thread(end_batches, base_url)
        await _until(partial(_is_over, engine))
        stalls.close("download")
    return stalls.end()


async def _until(is_true: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again; nothing here tells us."""
    while True:
        if await is_true():
            return
        await asyncio.sleep(_LOOK_S)


async def _is_sending(base_url: str) -> bool:
    return _CREATE in (await asyncio.to_thread(calls, base_url)).count


async def _is_sent(engine: Engine) -> bool:
    status = await _status(engine)
    sent = status.batches[BatchState.IN_PROGRESS]
    return status.job.requests.queued == 0 and sent > 0 and sum(status.batches.values()) == sent


async def _is_over(engine: Engine) -> bool:
    return (await _status(engine)).job.finished_at is not None


async def _status(engine: Engine) -> JobStatus:
    return await engine.read(lambda reads: reads.status(reads.find("@last")))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(os.environ["ANTHROPIC_BASE_URL"]))))
