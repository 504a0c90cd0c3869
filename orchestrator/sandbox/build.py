"""Builds a sandbox from its settings: machine, clock, faults, journal, router."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.sandbox.crash_points import CrashInjector, CrashPoint, kill_this_process
from orchestrator.sandbox.faults import FaultPlan, parse_faults
from orchestrator.sandbox.journal import JournalFile, Replayed, replay
from orchestrator.sandbox.machine import Machine
from orchestrator.sandbox.sandbox_settings import SandboxSettings
from orchestrator.sandbox.seeded import ScaledClock

if TYPE_CHECKING:
    from orchestrator.sandbox.in_process import SandboxTransport
    from orchestrator.sandbox.router import Router
    from orchestrator.sandbox.server import AsgiApp


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A running sandbox, used through a transport or on a port. `close` it if it has a journal."""

    machine: Machine
    clock: ScaledClock
    router: Router
    journal: JournalFile | None
    crash_at: CrashPoint | None = None

    def transport(self) -> SandboxTransport:
        """A transport for `httpx2.AsyncClient`, in this process. All transports share the one machine."""
        from orchestrator.sandbox.in_process import SandboxTransport

        point = self.crash_at
        return SandboxTransport(self.router if point is None else CrashInjector(self.router, point, self._die))

    def app(self) -> AsgiApp:
        """The sandbox as an ASGI application."""
        from orchestrator.sandbox.server import asgi_app

        return asgi_app(self.router)

    def serving(self, port: int = 0) -> AbstractAsyncContextManager[int]:
        """Serve on 127.0.0.1 while the context lasts; gives the port. Raises OSError when it is taken."""
        from orchestrator.sandbox.server import serving

        return serving(self.app(), port)

    def close(self) -> None:
        """Close the journal's file."""
        if self.journal is not None:
            self.journal.close()

    def _die(self) -> None:
        """Record the kill in the journal, so that an audit can tell it from others, and kill this process."""
        self.machine.record_kill(str(self.crash_at))
        kill_this_process()


def build_sandbox(settings: SandboxSettings | None = None, *, clock: ScaledClock | None = None) -> Sandbox:
    """The sandbox that *settings* describe. With a journal, its batches and its time continue where they were.

    *clock* replaces the one of the settings. Raises ValueError for an unknown fault, or a crash point without a
    journal; JournalError.
    """
    chosen = SandboxSettings() if settings is None else settings
    if chosen.crash_at is not None and chosen.journal is None:
        raise ValueError("a crash point needs a journal: the batches would die with the process")
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
    from orchestrator.sandbox.router import Router

    router = Router(machine, running)
    return Sandbox(machine=machine, clock=running, router=router, journal=journal, crash_at=chosen.crash_at)
