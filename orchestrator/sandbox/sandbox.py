"""Puts a sandbox together: machine, clock, faults, journal, routes; and gives its two faces."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.sandbox.clock import ScaledClock
from orchestrator.sandbox.faults import FaultPlan, parse_faults
from orchestrator.sandbox.journal import JournalFile
from orchestrator.sandbox.machine import Machine
from orchestrator.sandbox.records import Replayed, replay
from orchestrator.sandbox.settings import SandboxSettings

if TYPE_CHECKING:
    from orchestrator.sandbox.routes import Router
    from orchestrator.sandbox.server import AsgiApp
    from orchestrator.sandbox.transport import SandboxTransport


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A running sandbox. `close` it when it has a journal."""

    machine: Machine
    clock: ScaledClock
    router: Router
    journal: JournalFile | None

    def transport(self) -> SandboxTransport:
        """A transport for `httpx2.AsyncClient`, in this process. All transports share the one machine."""
        from orchestrator.sandbox.transport import SandboxTransport

        return SandboxTransport(self.router)

    def app(self) -> AsgiApp:
        """The sandbox as an ASGI application."""
        from orchestrator.sandbox.server import asgi_app

        return asgi_app(self.router)

    def serving(self, port: int = 0) -> AbstractAsyncContextManager[int]:
        """Serve on 127.0.0.1 while the context lasts; gives the port. Raises OSError when it is taken."""
        from orchestrator.sandbox.server import serving

        return serving(self.app(), port)

    def close(self) -> None:
        """Give the journal's file back."""
        if self.journal is not None:
            self.journal.close()


def build_sandbox(settings: SandboxSettings | None = None, *, clock: ScaledClock | None = None) -> Sandbox:
    """A sandbox as *settings* say. With a journal, its batches and its time go on where they were.

    *clock* replaces the one that the settings describe. Raises ValueError for an unknown fault, OSError for the
    journal.
    """
    chosen = SandboxSettings() if settings is None else settings
    plan = FaultPlan(seed=chosen.seed, options=parse_faults(chosen.faults))
    journal = None if chosen.journal is None else JournalFile(chosen.journal)
    held = Replayed() if journal is None else replay(journal.lines())
    if journal is not None:
        journal.keep(held.whole_bytes)
    running = ScaledClock(chosen.speed, start=held.last_at) if clock is None else clock
    machine = Machine(
        now=running.now,
        seed=chosen.seed,
        settings=chosen.machine,
        plan=plan,
        journal=None if journal is None else journal.append,
    )
    machine.restore(held)
    from orchestrator.sandbox.routes import Router

    return Sandbox(machine=machine, clock=running, router=Router(machine, running), journal=journal)
