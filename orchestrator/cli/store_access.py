"""Access to what a command works on: the store of this machine, whoever owns it, or a server (`--server`).

Reading needs nobody. A command goes to the process that may write: the running engine, or this one if there is none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from orchestrator.cli.console import say
from orchestrator.client.errors import RouteUnknown
from orchestrator.domain import errors, humanize, ids, model
from orchestrator.store.location import DirectReader, location_of
from orchestrator.views.fleet_views import FleetAnswerView

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.cli.signals import DescribeStop
    from orchestrator.client.remote_reads import HttpReader
    from orchestrator.client.server_address import Server
    from orchestrator.client.session import EngineHandle, Session
    from orchestrator.config import Settings
    from orchestrator.ports.engine import Commands, NoticeCommands
    from orchestrator.ports.reads import RemoteReader, RemoteReads, StoreLocation

T = TypeVar("T")
Act = Callable[["Commands", "RemoteReader"], Awaitable[T]]


@contextmanager
def open_reads(options: GlobalOptions, settings: Settings | None = None) -> Iterator[RemoteReads]:
    """Read the store, in one snapshot, or the server of this command. Raises NoSuchThing if there is no store."""
    server = options.remote()
    if server is not None:
        with server_reads(options, server) as reads:
            yield reads
        return
    location = location_of(options.settings() if settings is None else settings)
    with ExitStack() as stack:
        try:
            reads = stack.enter_context(location.open_reader())
        except errors.NoSuchThing as exc:
            raise _with_sandbox_store(options, exc) from None
        yield reads


def reader_for(options: GlobalOptions, settings: Settings) -> RemoteReader:
    """A reader for repeated snapshots, of a store or server that has been read before."""
    server = options.remote()
    if server is None:
        return DirectReader(location_of(settings))
    return server_reader(options, server, has_answered=True)


def server_reader(options: GlobalOptions, server: Server, *, has_answered: bool = False) -> HttpReader:
    """A reader of *server*. One that has answered is waited for when it falls silent, and that is said."""
    from orchestrator.client.remote_reads import HttpReader  # brings an HTTP client
    from orchestrator.client.transport import ServerTransport

    return HttpReader(
        ServerTransport(server), has_answered=has_answered, say=lambda words: say(options, humanize.plain(words))
    )


@contextmanager
def server_reads(options: GlobalOptions, server: Server) -> Iterator[RemoteReads]:
    """Read *server*. Raises UsageError for --sandbox if its work is real."""
    from orchestrator.client.session import not_a_sandbox

    with server_reader(options, server) as reader, reader.snapshot() as reads:
        if options.sandbox and not reads.meta().sandbox:
            raise not_a_sandbox(server)
        yield reads


def is_sandbox_store(options: GlobalOptions) -> bool:
    """Whether this command does sandbox work, by --sandbox or the server. Raises UsageError if they differ."""
    if options.remote() is None:
        return options.sandbox
    with open_reads(options) as reads:
        return reads.meta().sandbox


def _with_sandbox_store(options: GlobalOptions, exc: errors.NoSuchThing) -> errors.NoSuchThing:
    """*exc*: there is no store. Where the sandbox has one, it may be what is meant."""
    from dataclasses import replace

    if options.sandbox or options.db is not None:
        return exc
    other = location_of(replace(options, sandbox=True).settings())
    if other.is_shared or not other.exists:
        return exc
    return errors.NoSuchThing(exc.message, hint=f"your sandbox jobs are in {other}: add --sandbox")


def status_of(job: ids.JobId) -> Callable[[RemoteReads], model.JobStatus]:
    """Reads the status of *job*."""
    return lambda reads: reads.status(reads.get(job))


def job_or_newest(reads: RemoteReads, ref: str | None) -> model.JobSnapshot:
    """The job that *ref* means; without one, the newest that is not over, else the newest. Raises NoSuchThing."""
    if ref is not None:
        return reads.find(ref)
    unfinished = reads.unfinished()
    return unfinished[-1] if unfinished else reads.find("@last")


def view_fleet(options: GlobalOptions, settings: Settings) -> FleetAnswerView:
    """The daemons on this store, or on the server's; none where the server is of a version before fleets."""
    server = options.remote()
    if server is not None:
        with suppress(RouteUnknown), server_reader(options, server) as reader, reader.snapshot():
            return reader.ask(FleetAnswerView, "fleet", {})
    if server is not None or settings.database.url is None:
        return FleetAnswerView.of(None)
    import asyncio  # `status` of a file starts without it

    from orchestrator import assembly

    return FleetAnswerView.of(asyncio.run(assembly.view_fleet(settings)))


def engine_is_running(options: GlobalOptions, settings: Settings) -> bool:
    """True if an engine works on this store, as far as can be told from here, or a server was named."""
    return options.remote() is not None or location_of(settings).has_engine


def is_done_elsewhere(options: GlobalOptions, settings: Settings) -> bool:
    """True if another process does what this command asks for: the engine that owns the store, or a server."""
    return options.remote() is not None or _is_owned(location_of(settings))


def _is_owned(location: StoreLocation) -> bool:
    return not location.is_shared and location.has_engine


def configure_log(options: GlobalOptions, settings: Settings) -> None:
    """Set up the log of a command that is no daemon: errors only, unless `-v` or the settings ask for more."""
    from orchestrator.observability.logs import configure_logging

    chosen = settings.log.level if settings.is_set("log.level") and not options.quiet else "error"
    level = {0: chosen, 1: "info"}.get(options.verbose, "debug")
    configure_logging(level=level, fmt=settings.log.format)  # type: ignore[arg-type]  # the setting is one of the three


def open_session(options: GlobalOptions, settings: Settings) -> AbstractAsyncContextManager[Session]:
    """A session with the engine: one in this process, that of the store's owner, or a server's."""
    from orchestrator.client.session import local_session, remote_session

    server = options.remote()
    if server is None:
        return local_session(settings, sandbox=options.sandbox)

    return remote_session(server, sandbox=options.sandbox, say=lambda words: say(options, humanize.plain(words)))


def run_command(
    options: GlobalOptions, settings: Settings, act: Act[T], describe_stop: DescribeStop | None = None
) -> tuple[T, bool]:
    """Run *act* in the process that may write to the store; its result, and whether an engine runs there.

    A shared store, or one without an engine, is opened for this one command, and no stage runs. Raises GuardRefused if
    another process owns the store and does not answer. describe_stop: as for `run_async`.
    """
    return _run_here(options, settings, lambda handle: act(handle.commands, handle.reader), describe_stop)


def run_notice_command(
    options: GlobalOptions, settings: Settings, act: Callable[[NoticeCommands], Awaitable[T]]
) -> tuple[T, bool]:
    """Run *act* on the notices, as `run_command` does."""
    return _run_here(options, settings, lambda handle: act(handle.notices))


def _run_here(
    options: GlobalOptions,
    settings: Settings,
    act: Callable[[EngineHandle], Awaitable[T]],
    describe_stop: DescribeStop | None = None,
) -> tuple[T, bool]:
    from orchestrator.cli.signals import run_async  # `status` starts without an event loop

    configure_log(options, settings)
    return run_async(lambda: _run(options, settings, act), describe_stop)


async def _run(
    options: GlobalOptions, settings: Settings, act: Callable[[EngineHandle], Awaitable[T]]
) -> tuple[T, bool]:
    from orchestrator.client.session import local_handle
    from orchestrator.daemon import open_commands

    if not is_done_elsewhere(options, settings):
        try:
            async with open_commands(settings, sandbox=options.sandbox) as engine:
                return await act(local_handle(engine)), engine.location.is_shared and engine.location.has_engine
        except errors.StoreOwned:
            pass  # by a process that has just begun, or that does not listen: ask it
    async with open_session(options, settings) as session:
        return await act(session.handle), True
