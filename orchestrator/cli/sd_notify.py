"""Telling systemd how we are: ready, alive, stopping. A few datagrams; without systemd nothing happens.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


class Notifier:
    """Sends states to the socket that NOTIFY_SOCKET names; silent if there is none or nobody listens."""

    def __init__(self, environ: Mapping[str, str], *, pid: int) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte of an abstract socket.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.alive_every = _watchdog(environ, pid)

    def tell(self, *states: str) -> None:
        """Send *states* as one message."""
        if not self._address.startswith(("\0", "/")):
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
        ):
            out.sendto("\n".join(states).encode(), self._address)

    async def stay_alive(self) -> None:
        """Tell the watchdog, twice as often as it asks for, until cancelled.

        Runs in the engine's own event loop: one that hangs says nothing any more, and systemd starts us again.
        """
        if self.alive_every is None:
            return
        while True:
            self.tell(ALIVE)
            await asyncio.sleep(self.alive_every.total_seconds())


def notifier() -> Notifier:
    """The notifier of this process."""
    return Notifier(os.environ, pid=os.getpid())


def _watchdog(environ: Mapping[str, str], pid: int) -> timedelta | None:
    """Half of WATCHDOG_USEC, if it is meant for the process *pid*."""
    text = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid) or not (text.isascii() and text.isdigit()) or int(text) == 0:
        return None
    return timedelta(microseconds=int(text)) / 2
