"""`serve`: the daemon. The engine and its socket until somebody says stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial

import click

from orchestrator.cli.asking_api import say_address
from orchestrator.cli.asyncly import drive
from orchestrator.cli.errors import Stopped
from orchestrator.cli.group import TeachingCommand
from orchestrator.cli.options import Ask, common_but
from orchestrator.cli.out import say, say_banner, show_json
from orchestrator.cli.systemd import READY, STOPPING, notifier
from orchestrator.config import Settings
from orchestrator.domain.errors import StoreOwned

EXAMPLES = """
It works on every job of its store, takes new ones from `submit` and `run`, and obeys pause, resume, cancel and retry.
A job that was paused for the account's sake goes on by itself once the account works again.

It listens on [server] listen for the dashboard, the REST API (/api/v1) and the Message Batches API (/v1), and on a
socket beside the store for the commands of the same user. An address that others can reach needs a token.
SIGHUP reads the settings again: limits, retries, log, token and allowed_hosts change at once; the log says what waits.

Examples:
  orchestrator serve                         until Ctrl-C or SIGTERM; both end it with exit code 0
  orchestrator serve --sandbox --open        try it: no key, no cost; the dashboard opens in the browser
  orchestrator serve --listen 127.0.0.1:0    any free port; it is printed
  orchestrator serve --listen ""             not on TCP at all
  orchestrator serve 2>> orchestrator.log    the log goes to stderr, as JSON when that is no terminal
  orchestrator service print                 a unit file for systemd
"""


_HINT = "one engine is enough: `orchestrator submit` hands jobs to it, `orchestrator ls` shows them; or stop it first"


@click.command("serve", cls=TeachingCommand, examples=EXAMPLES, here="it runs an engine on this machine")
@click.option("--listen", metavar="HOST:PORT", help="Listen there.  [env: ORCHESTRATOR_SERVER__LISTEN]")
@click.option("--token-file", metavar="FILE", help="Ask for the token in FILE.  [env: ORCHESTRATOR_SERVER__TOKEN_FILE]")
@click.option("--open", "opens", is_flag=True, help="Open the dashboard in the browser.")
@common_but("--token-file")
@click.pass_obj
def serve(ask: Ask, listen: str | None, token_file: str | None, *, opens: bool) -> None:
    """Run the engine for every job until it is stopped."""
    load = partial(ask.settings, {"server.listen": listen, "server.token_file": token_file})
    settings = load()
    _log_as(ask, settings)
    say_banner(ask, sandbox=ask.sandbox)
    api = say_address(ask, settings, sandbox=ask.sandbox)
    try:
        drive(lambda: _serve(ask, settings, load, api=api, opens=opens))
    except StoreOwned as exc:
        raise StoreOwned(exc.message, cause=exc.cause, hint=_HINT) from exc
    except Stopped:
        say(ask, "the engine has stopped; everything is stored")


async def _serve(ask: Ask, settings: Settings, load: Callable[[], Settings], *, api: str | None, opens: bool) -> None:
    """The engine until this is cancelled; the error of a core task that fails rises out of here."""
    from orchestrator.cli.reloading import Reloader
    from orchestrator.daemon import running_engine
    from orchestrator.http_api.guard.files import raise_limit
    from orchestrator.http_api.tcp import listen

    raise_limit()
    systemd = notifier()
    tcp = listen(settings.server, is_chosen=settings.is_set("server.listen"))
    async with running_engine(settings, sandbox=ask.sandbox, keep_probing=True, tcp=tcp) as engine:
        reloader = Reloader(engine, tcp, load=load, logging=partial(_log_as, ask), systemd=systemd)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: it is meant to be left alone
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.reload)
        url = None if tcp is None else tcp.url
        say(ask, f"the engine runs on {engine.path}; Ctrl-C stops it")
        if tcp is not None and tcp.taken_port is not None:
            say(ask, f"port {tcp.taken_port} is taken by another program, so a free one stands in for it")
        if url is not None:
            say(ask, f"dashboard and API: {url}")
        if ask.as_json:
            show_json({"database": str(engine.path), "url": url, "api": api, "sandbox": ask.sandbox})
        systemd.tell(READY)
        if opens and url is not None:
            await asyncio.to_thread(_open, url)
        try:
            await systemd.stay_alive()
            await asyncio.Event().wait()
        finally:
            systemd.tell(STOPPING)


def _log_as(ask: Ask, settings: Settings) -> None:
    """Log as the settings say, unless the command line says otherwise."""
    from orchestrator.observability.logs import configure_logging

    level = "debug" if ask.verbose else "error" if ask.quiet else settings.log.level
    configure_logging(level=level, fmt=settings.log.format)  # type: ignore[arg-type]  # the setting is one of the three


def _open(url: str) -> None:
    """Show *url* in the browser, if there is one; its address was printed."""
    import webbrowser

    webbrowser.open(url)
