"""The way to who may change the store: the engine that runs on it, or this process, with or without an engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from orchestrator.cli.reading import engine_runs
from orchestrator.cli.run_async import Part, drive
from orchestrator.domain.errors import StoreOwned

if TYPE_CHECKING:
    from orchestrator.cli.options import Ask
    from orchestrator.client import Orchestrator
    from orchestrator.client.session import EngineHandle
    from orchestrator.config import Settings
    from orchestrator.ports.engine import Commands, NoticeCommands
    from orchestrator.ports.reads import RemoteReader

T = TypeVar("T")
Act = Callable[["Commands", "RemoteReader"], Awaitable[T]]


def show_log(ask: Ask, settings: Settings) -> None:
    """The log of a command that is not a daemon: only errors, unless `-v` or the settings ask for more."""
    from orchestrator.observability.logs import configure_logging

    chosen = settings.log.level if settings.is_set("log.level") and not ask.quiet else "error"
    level = {0: chosen, 1: "info"}.get(ask.verbose, "debug")
    configure_logging(level=level, fmt=settings.log.format)  # type: ignore[arg-type]  # the setting is one of the three


def orchestrator_for(ask: Ask) -> Orchestrator:
    """The engine of this command: in this process, the one that owns the store, or a server's."""
    from orchestrator.client import Orchestrator

    server = ask.remote()
    if server is None:
        return Orchestrator(ask.db, sandbox=ask.sandbox, config=ask.config)
    from orchestrator.cli.out import say
    from orchestrator.cli.words import plain

    orc = Orchestrator(sandbox=ask.sandbox, config=ask.config, server=server)
    orc.say = lambda words: say(ask, plain(words))
    return orc


def steer(ask: Ask, settings: Settings, act: Act[T], part: Part | None = None) -> tuple[T, bool]:
    """What *act* gives, and whether an engine runs, so that it has an effect at once.

    Without an engine the store is opened for this one command, and no stage runs. Raises GuardRefused if another
    process owns the store and does not answer. part: see `drive`.
    """
    show_log(ask, settings)
    return drive(lambda: _steer(ask, settings, lambda link: act(link.commands, link.reader)), part)


def steer_notices(ask: Ask, settings: Settings, act: Callable[[NoticeCommands], Awaitable[T]]) -> tuple[T, bool]:
    """The same for what is asked of notices."""
    show_log(ask, settings)
    return drive(lambda: _steer(ask, settings, lambda link: act(link.noticing)))


async def _steer(ask: Ask, settings: Settings, act: Callable[[EngineHandle], Awaitable[T]]) -> tuple[T, bool]:
    from orchestrator.client.session import local_handle
    from orchestrator.daemon import open_commands

    if not engine_runs(ask, settings):
        try:
            async with open_commands(settings, sandbox=ask.sandbox) as engine:
                return await act(local_handle(engine)), False
        except StoreOwned:
            pass  # by a process that has just begun, or that does not listen: ask it
    async with orchestrator_for(ask) as orc:
        return await act(orc.handle), True
