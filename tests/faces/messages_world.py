"""What the tests of the Messages face share: an engine on a loopback port, the sandbox on another, SDK clients."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import anthropic
from anthropic.types.messages import MessageBatch
from anthropic.types.messages.batch_create_params import Request
from faces.client_world import requests as plain_requests
from faces.client_world import settings, short_runtime_folder
from starlette.applications import Starlette

from orchestrator.assembly import Engine
from orchestrator.daemon import running_engine
from orchestrator.domain.model import JobRow
from orchestrator.http_api.app import build_app
from orchestrator.http_api.listen import listen
from orchestrator.sandbox import MachineSettings, SandboxSettings, build_sandbox
from orchestrator.serving import services_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running engine and where it answers. sandbox_url: an API of its own to compare with; app: without the guard."""

    url: str
    sandbox_url: str
    engine: Engine
    app: Starlette
    loop: asyncio.AbstractEventLoop

    def wait_for(self, make: Callable[[], Any]) -> Any:
        """What the coroutine that *make* makes gives, in the engine's own loop."""
        return asyncio.run_coroutine_threadsafe(make(), self.loop).result(60)

    def jobs(self) -> list[JobRow]:
        """Every job of the store, the newest first."""
        found: list[JobRow] = self.wait_for(lambda: self.engine.read(lambda reads: reads.jobs(limit=1000)))
        return found


def requests(count: int, *, said: str = "hello") -> list[Request]:
    """*count* requests whose answers tell them apart, as the SDK wants them."""
    return cast("list[Request]", plain_requests(count, said=said))


@contextmanager
def served(folder: Path, **overrides: object) -> Iterator[Served]:
    """An engine with its store in *folder*, over the sandbox, in a thread of its own."""
    ready: list[Served | BaseException] = []
    is_ready, stop = threading.Event(), asyncio.Event()

    def tell(one: Served) -> None:
        ready.append(one)
        is_ready.set()

    async def run() -> None:
        try:
            await _serve(folder, overrides, tell, stop)
        except BaseException as exc:
            ready.append(exc)
            raise
        finally:
            is_ready.set()

    with short_runtime_folder():
        thread = threading.Thread(target=asyncio.run, args=(run(),))
        thread.start()
        assert is_ready.wait(30)
        if isinstance(ready[0], BaseException):
            thread.join()
            raise ready[0]
        try:
            yield ready[0]
        finally:
            ready[0].loop.call_soon_threadsafe(stop.set)
            thread.join()
    assert not isinstance(ready[-1], BaseException), ready[-1]


async def _serve(
    folder: Path, overrides: dict[str, object], tell: Callable[[Served], object], stop: asyncio.Event
) -> None:
    beside = build_sandbox(SandboxSettings(machine=MachineSettings(), speed=1))
    chosen = settings(folder / "x.db", server__listen="127.0.0.1:0", **overrides)
    tcp = listen(chosen.server)
    assert tcp is not None
    async with running_engine(chosen, sandbox=True, tcp=tcp) as engine, beside.serving(port=0) as sandbox_port:
        one = Served(
            url=tcp.url,
            sandbox_url=f"http://127.0.0.1:{sandbox_port}",
            engine=engine,
            app=build_app(await services_of(engine, stop)),
            loop=asyncio.get_running_loop(),
        )
        tell(one)
        await stop.wait()


def ended(client: anthropic.Anthropic, batch_id: str, *, within_s: float = 60) -> MessageBatch:
    """The batch, once it has ended."""
    batches = client.messages.batches
    return polled(lambda: batches.retrieve(batch_id), lambda one: one.processing_status == "ended", within_s=within_s)


def polled(look: Callable[[], T], holds: Callable[[T], bool], *, within_s: float = 60) -> T:
    """What *look* gives once it *holds*."""
    until = time.monotonic() + within_s
    while not holds(seen := look()):
        assert time.monotonic() < until, seen
        time.sleep(0.02)
    return seen
