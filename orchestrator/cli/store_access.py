"""The way to who may change the store: the engine that runs on it, or this process, with or without an engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from orchestrator.cli.reading import engine_is_running
from orchestrator.cli.run_async import DescribeStop, run_async
from orchestrator.domain.errors import StoreOwned

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from orchestrator.cli.options import GlobalOptions
    from orchestrator.client.session import EngineHandle, Session
    from orchestrator.config import Settings
    from orchestrator.ports.engine import Commands, NoticeCommands
    from orchestrator.ports.reads import RemoteReader

T = TypeVar("T")
Act = Callable[["Commands", "RemoteReader"], Awaitable[T]]


def configure_log(options: GlobalOptions, settings: Settings) -> None:
    """The log of a command that is not a daemon: only errors, unless `-v` or the settings ask for more."""
    from orchestrator.observability.logs import configure_logging

    chosen = settings.log.level if settings.is_set("log.level") and not options.quiet else "error"
    level = {0: chosen, 1: "info"}.get(options.verbose, "debug")
    configure_logging(level=level, fmt=settings.log.format)  # type: ignore[arg-type]  # the setting is one of the three


def open_session(options: GlobalOptions, settings: Settings) -> AbstractAsyncContextManager[Session]:
    """The engine that this command works through: in this process, that of the store's owner, or a server's."""
    from orchestrator.client.session import local_session, remote_session

    server = options.remote()
    if server is None:
        return local_session(settings, sandbox=options.sandbox)
    from orchestrator.cli.out import say
    from orchestrator.cli.words import plain

    return remote_session(server, sandbox=options.sandbox, say=lambda words: say(options, plain(words)))


def run_command(
    options: GlobalOptions, settings: Settings, act: Act[T], describe_stop: DescribeStop | None = None
) -> tuple[T, bool]:
    """What *act* gives, and whether an engine runs, so that it has an effect at once.

    Without an engine the store is opened for this one command, and no stage runs. Raises GuardRefused if another
    process owns the store and does not answer. part: see `drive`.
    """
    configure_log(options, settings)
    return run_async(lambda: _steer(options, settings, lambda link: act(link.commands, link.reader)), describe_stop)


def run_notice_command(
    options: GlobalOptions, settings: Settings, act: Callable[[NoticeCommands], Awaitable[T]]
) -> tuple[T, bool]:
    """The same for what is asked of notices."""
    configure_log(options, settings)
    return run_async(lambda: _steer(options, settings, lambda link: act(link.noticing)))


async def _steer(
    options: GlobalOptions, settings: Settings, act: Callable[[EngineHandle], Awaitable[T]]
) -> tuple[T, bool]:
    from orchestrator.client.session import local_handle
    from orchestrator.daemon import open_commands

    if not engine_is_running(options, settings):
        try:
            async with open_commands(settings, sandbox=options.sandbox) as engine:
                return await act(local_handle(engine)), False
        except StoreOwned:
            pass  # by a process that has just begun, or that does not listen: ask it
    async with open_session(options, settings) as session:
        return await act(session.handle), True
