"""What the tests of the library and of the socket share: a store with a quick sandbox, requests, a raw client."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
from support.forked import PIPE, Process, start_script

from orchestrator.config import Settings, default_socket_path, load_settings

#: A batch of the sandbox takes minutes of its own time; at this speed that is milliseconds.
QUICK: Final[dict[str, Any]] = {"sandbox__speed": 36_000, "limits__poll_interval": "0.05s"}
#: At this speed a batch does not end while a test looks.
SLOW: Final[dict[str, Any]] = {"sandbox__speed": 0.01, "limits__poll_interval": "0.05s"}


def requests(count: int, *, first: int = 0, said: str = "hello") -> list[dict[str, Any]]:
    """*count* requests whose answers tell them apart."""
    return [
        {
            "custom_id": f"r{number}",
            "params": {
                "model": "claude-haiku-4-5",
                "max_tokens": 32,
                "messages": [{"role": "user", "content": f"{said} {number}"}],
            },
        }
        for number in range(first, first + count)
    ]


@contextmanager
def short_runtime_folder() -> Iterator[Path]:
    """XDG_RUNTIME_DIR in a folder of its own, whose path leaves room for a socket's name."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(prefix="orc", ignore_cleanup_errors=True) as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before


def settings(database: Path, **overrides: object) -> Settings:
    """The settings of a sandbox with its store at *database*, and nothing of the user's."""
    flags = {key.replace("__", ".", 1): str(value) for key, value in {**QUICK, **overrides}.items()}
    return load_settings(
        flags={**flags, "database.path": str(database)}, env={}, cwd=database.parent, config_file=None, sandbox=True
    )


@asynccontextmanager
async def talking_to(database: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A plain HTTP client on the socket of the engine that owns *database*."""
    socket = default_socket_path(database, os.environ)
    transport = httpx2.AsyncHTTPTransport(uds=str(socket))
    async with httpx2.AsyncClient(transport=transport, base_url="http://engine/api/v1/", timeout=20) as client:
        yield client


async def until(holds: Callable[[], Any], *, within_s: float = 20) -> None:
    """Look again and again until the coroutine that *holds* makes gives something true."""
    async with asyncio.timeout(within_s):
        while not await holds():  # noqa: ASYNC110 - what it waits for is in a database, which sets no Event
            await asyncio.sleep(0.01)


#: A process that owns a store until it is killed: database, speed, and whether it leaves an open job behind.
OWNER: Final = """
import asyncio, sys
from orchestrator import Orchestrator

async def main():
    database, speed = sys.argv[1:]
    async with Orchestrator(database, sandbox=True, sandbox__speed=speed, limits__poll_interval="0.05s"):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def running(script: str, *arguments: object) -> Iterator[Process]:
    """A Python process of its own, killed at the end if it still runs."""
    with start_script(script, *map(str, arguments), env=os.environ, stdout=PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: Process) -> str:
    """The next line that *process* says; "" if it ended."""
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()
