"""uvicorn that ends when it is told to.

Its own `Server` looks ten times a second whether it is to end, and then waits a tenth more: 0.15 s of every command
that has one, and ten turns a second of an idle daemon.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn
from typing_extensions import override

#: The `date` header is made anew so often.
_TICK_S: Final = 1.0
#: From one look to the next whether what is open has ended. The first is also for a connection that was just accepted.
_SHORTEST_S: Final = 0.005
_LONGEST_S: Final = 0.05


class PromptServer(uvicorn.Server):
    """Without uvicorn's signal handlers: signals stay with the caller. `lifespan` is to be off."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def stop(self) -> None:
        """Accept nothing more, and end when what is being answered has ended, or its grace is over."""
        self.should_exit = True
        self._told.set()

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @override
    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _TICK_S)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in self.servers:
            listening.close()
        for sock in sockets or ():
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            await asyncio.wait_for(self._ended(), self.config.timeout_graceful_shutdown)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()

    async def _ended(self) -> None:
        """Return once nothing is open and nothing is being answered."""
        pause_s = _SHORTEST_S
        while True:
            await asyncio.sleep(pause_s)
            if not self.server_state.connections and not self.server_state.tasks:
                break
            pause_s = min(pause_s * 2, _LONGEST_S)
        for listening in self.servers:
            await listening.wait_closed()
