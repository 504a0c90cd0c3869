"""`serve`: the daemon. The engine and its socket until somebody says stop."""

from __future__ import annotations

import asyncio

import click

from orchestrator.cli.asyncly import drive
from orchestrator.cli.errors import Stopped
from orchestrator.cli.group import TeachingCommand
from orchestrator.cli.options import Ask, common
from orchestrator.cli.out import say, say_banner
from orchestrator.cli.systemd import READY, STOPPING, notifier
from orchestrator.config import Settings
from orchestrator.domain.errors import StoreOwned

EXAMPLES = """
It works on every job of its store, takes new ones from `submit` and `run`, and obeys pause, resume, cancel and retry.
A job that was paused for the account's sake goes on by itself once the account works again.

Examples:
  orchestrator serve                         until Ctrl-C or SIGTERM; both end it with exit code 0
  orchestrator serve 2>> orchestrator.log    the log goes to stderr, as JSON when that is no terminal
  systemd: Type=notify, WatchdogSec=60, ExecStart=/usr/local/bin/orchestrator serve, Restart=always
"""


_HINT = "one engine is enough: `orchestrator submit` hands jobs to it, `orchestrator ls` shows them; or stop it first"


@click.command("serve", cls=TeachingCommand, examples=EXAMPLES)
@common
@click.pass_obj
def serve(ask: Ask) -> None:
    """Run the engine for every job until it is stopped."""
    from orchestrator.observability.logs import configure_logging

    settings = ask.settings()
    level = "debug" if ask.verbose else "error" if ask.quiet else settings.log.level
    configure_logging(level=level, fmt=settings.log.format)  # type: ignore[arg-type]  # the setting is one of the three
    say_banner(ask, sandbox=ask.sandbox)
    try:
        drive(lambda: _serve(ask, settings))
    except StoreOwned as exc:
        raise StoreOwned(exc.message, cause=exc.cause, hint=_HINT) from exc
    except Stopped:
        say(ask, "the engine has stopped; everything is stored")


async def _serve(ask: Ask, settings: Settings) -> None:
    """The engine until this is cancelled; the error of a core task that fails rises out of here."""
    from orchestrator.daemon import running_engine

    systemd = notifier()
    async with running_engine(settings, sandbox=ask.sandbox, keep_probing=True) as engine:
        say(ask, f"the engine runs on {engine.path}; Ctrl-C stops it")
        systemd.tell(READY)
        try:
            await systemd.stay_alive()
            await asyncio.Event().wait()
        finally:
            systemd.tell(STOPPING)
