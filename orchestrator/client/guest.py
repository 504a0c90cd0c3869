"""Work through a server for as long as a block lasts. It runs its own engine; this process never takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from orchestrator.client.http_reader import HttpReader
from orchestrator.client.remote import RemoteEngine
from orchestrator.client.way import ServerWay
from orchestrator.daemon import first_error
from orchestrator.domain.errors import OrchestratorError, UsageError

if TYPE_CHECKING:
    from orchestrator.client.link import Link
    from orchestrator.client.server import Server

#: How often we ask what the server knows of the API.
_LOOK_EVERY_S: Final = 2.0


class Guest:
    """Made by `visiting`. link: the way to the server."""

    def __init__(self, link: Link) -> None:
        self.link = link


@asynccontextmanager
async def visiting(server: Server, *, sandbox: bool, say: Callable[[str], None] | None = None) -> AsyncIterator[Guest]:
    """A guest of *server*, which answers. sandbox: it must be one.

    say: is told when the server falls silent, while a look waits for it. Raises ServerSilent, NeedsPerson, UsageError.
    """
    way = ServerWay(server)
    with HttpReader(way, say=say) as reader:
        async with RemoteEngine(way, reader) as engine:
            identity = await engine.identity()
            if sandbox and identity.get("sandbox") is not True:
                raise not_a_sandbox(server)
            await engine.look()
            async with _asking_again(engine):
                yield Guest(engine.link)


@asynccontextmanager
async def _asking_again(engine: RemoteEngine) -> AsyncIterator[None]:
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_ask_again(engine), name="client.guest")
            try:
                yield
            finally:
                task.cancel()
    except BaseExceptionGroup as exc:
        raise first_error(exc) from None


def not_a_sandbox(server: Server) -> UsageError:
    """The refusal of real work that somebody takes for play."""
    return UsageError(
        f"{server.url} is not a sandbox: what it sends is paid for", hint="leave --sandbox out, or name another server"
    )


async def _ask_again(engine: RemoteEngine) -> None:
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        with suppress(OrchestratorError):  # whoever looks at a job meets it as well, and waits for it or raises it
            await engine.look()
