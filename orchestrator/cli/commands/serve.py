"""`orchestrator serve`, and its reload on SIGHUP: those settings that can change in a running daemon do."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from orchestrator.cli import command_errors, signals
from orchestrator.cli.console import coloured, say, say_api_address, say_banner, say_unused_path, show_json
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.options import GlobalOptions
from orchestrator.cli.stdio import ignoring_closed_stdout
from orchestrator.cli.systemd import READY, STOPPING, Notifier, notifier
from orchestrator.config import KEYS, Settings
from orchestrator.config.token_section import TOKENS
from orchestrator.config.webhook_section import WEBHOOKS
from orchestrator.domain.access import DEFAULT_NAME
from orchestrator.domain.errors import NeedsPerson, StoreError, StoreOwned, UsageError
from orchestrator.observability.logs import configure_logging, get_logger
from orchestrator.provider.settings import SETTING, ApiAddress

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.assembly import Engine
    from orchestrator.http_api.listen import TcpListener

log = get_logger(__name__)

_KEY: Final = "api.key_file"
_TOKEN: Final = "server.token_file"  # noqa: S105 - the name of a setting
#: Settings that are read whenever they are needed. All others are fixed at the start.
RELOADABLE: Final = frozenset(
    {
        "api.delete_after_collect",
        "batching.linger",
        "limits.max_in_flight_requests",
        "limits.max_in_flight_batches",
        "limits.poll_interval",
        "limits.poll_interval_max",
        "limits.doubt_wait",
        "retry.max_attempts",
        "cache.mode",
        "prices.file",
        "prices.factor",
        "prices.max_age",
        _TOKEN,
        TOKENS,
        "server.allowed_hosts",
        "server.public_url",
        "log.level",
        "log.format",
    }
)


class Reloader:
    """Loads the settings again and applies the reloadable ones to *engine*, to *tcp* and to the log."""

    def __init__(
        self,
        engine: Engine,
        tcp: TcpListener | None,
        *,
        load: Callable[[], Settings],
        logging: Callable[[Settings], None],
        systemd: Notifier,
    ) -> None:
        self._engine = engine
        self._tcp = tcp
        self._load = load
        self._logging = logging
        self._systemd = systemd
        self.settings = engine.settings

    def reload(self) -> None:
        """Reload. Settings, a key or a token that cannot be used change nothing, and are logged."""
        self._systemd.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            found = self._load()
            changed = set(differing(self.settings, found))
            renewed = {_KEY} if self._engine.provider.renew() else set()
            if self._renewed(found):
                renewed.add(_TOKEN if self.settings.tokens == found.tokens else TOKENS)
            self._engine.prices.reload(found.prices)
        except (UsageError, NeedsPerson, StoreError) as exc:
            log.error("config.refused", why=exc.message, cause=exc.cause)
        else:
            self.settings = merged(self.settings, found)
            self._engine.retune(self.settings)
            self._logging(self.settings)
            live = (changed & RELOADABLE) | renewed
            log.info("config.reloaded", changed=sorted(live), needs_restart=sorted(changed - RELOADABLE))
        finally:
            self._systemd.tell(READY)

    def _renewed(self, found: Settings) -> bool:
        if self._tcp is None:
            return False
        from orchestrator.http_api.listen import reload_access

        return reload_access(self._tcp, found.server, found.tokens)


def differing(old: Settings, new: Settings) -> Iterator[str]:
    """The names of the settings whose values differ."""
    for key in KEYS.values():
        if _value(old, key.section, key.key) != _value(new, key.section, key.key):
            yield key.name
    if old.webhooks != new.webhooks:
        yield WEBHOOKS
    if old.tokens != new.tokens:
        yield TOKENS


def merged(old: Settings, new: Settings) -> Settings:
    """*old* with the reloadable settings of *new*: those in force from now on."""
    sections: dict[str, Any] = {}
    for key in KEYS.values():
        if key.name in RELOADABLE:
            section = sections.get(key.section, getattr(old, key.section))
            sections[key.section] = replace(section, **{key.key: _value(new, key.section, key.key)})
    origins = {**old.origins, **{name: new.origins[name] for name in RELOADABLE}}
    return replace(old, **sections, tokens=new.tokens, origins=origins)


def _value(settings: Settings, section: str, key: str) -> object:
    value: object = getattr(getattr(settings, section), key)
    return value


EXAMPLES = """
It works on every job of its store, takes new ones from `submit` and `run`, and obeys pause, resume, cancel and retry.
A job that was paused for the account's sake goes on by itself once the account works again.

It listens on [server] listen for the dashboard, the REST API (/api/v1) and the Message Batches API (/v1), and on a
socket beside the store for the commands of the same user. On TCP it asks for a token: that of [server] token_file, else
its own, in DATABASE.token beside the store (of a database on a server: below ~/.local/state/orchestrator), made at the
first start. An address that others can reach needs a
token_file. With --sandbox nobody needs one, unless a token_file is set.
SIGHUP reads the settings again: limits, retries, log, tokens, key_file and allowed_hosts change at once; the log says
what waits.

Examples:
  orchestrator serve                         until Ctrl-C or SIGTERM; both end it with exit code 0
  orchestrator serve --sandbox --open        try it: no key, no cost; the dashboard opens in the browser
  orchestrator serve --listen 127.0.0.1:0    any free port; it is printed
  orchestrator serve --listen ""             not on TCP at all
  orchestrator login                         meanwhile: a new link that opens the dashboard
  orchestrator serve 2>> orchestrator.log    the log goes to stderr, as JSON when that is no terminal
  orchestrator service print                 a unit file for systemd
"""


_HINT = "one engine is enough: `orchestrator submit` hands jobs to it, `orchestrator ls` shows them; or stop it first"


@command(EXAMPLES)
@click.option("--listen", metavar="HOST:PORT", help="Listen there.  [env: ORCHESTRATOR_SERVER__LISTEN]")
@click.option("--token-file", metavar="FILE", help="Ask for the token in FILE.  [env: ORCHESTRATOR_SERVER__TOKEN_FILE]")
@click.option("--no-token", is_flag=True, help="Ask nobody for a token: every user of this machine is let in.")
@click.option("--open", "opens", is_flag=True, help="Open the dashboard in the browser.")
def serve(options: GlobalOptions, listen: str | None, token_file: str | None, *, no_token: bool, opens: bool) -> None:
    if no_token and token_file is not None:
        raise HintedUsageError("--token-file and --no-token exclude each other", hint="leave one of them out")
    load = partial(_settings, options, {"server.listen": listen, "server.token_file": token_file}, no_token=no_token)
    settings = load()
    asks = not (no_token or options.sandbox)
    _log_as(options, settings)
    say_banner(options, sandbox=options.sandbox)
    say_unused_path(options, settings)
    api = say_api_address(options, settings, sandbox=options.sandbox)
    try:
        signals.run_async(lambda: _serve(options, settings, load, api=api, asks_anyway=asks, opens=opens))
    except StoreOwned as exc:
        raise StoreOwned(exc.message, cause=exc.cause, hint=_HINT) from exc
    except command_errors.Stopped:
        say(options, "the engine has stopped; everything is stored")


def _settings(options: GlobalOptions, flags: Mapping[str, object], *, no_token: bool) -> Settings:
    """The settings in force; --no-token overrides a token_file of a file or a variable, and [[tokens]]."""
    settings = options.settings(flags)
    if not no_token:
        return settings
    return replace(settings, server=replace(settings.server, token_file=None), tokens=())


async def _serve(
    options: GlobalOptions,
    settings: Settings,
    load: Callable[[], Settings],
    *,
    api: str | None,
    asks_anyway: bool,
    opens: bool,
) -> None:
    """Run the engine until this is cancelled. Raises the error of a core task that fails.

    api: the address of the Message Batches API, if it is not the usual one. asks_anyway: ask for a token of our own
    making where the settings name none.
    """
    from orchestrator.api_side import api_address
    from orchestrator.daemon import running_engine
    from orchestrator.http_api.guard.connection_limits import raise_open_files_limit

    raise_open_files_limit()
    systemd = notifier()
    tcp = _bound(settings, asks_anyway=asks_anyway)
    if tcp is not None and not options.sandbox:
        refuse_own_address(api_address(settings, with_profile=True), tcp)
    async with running_engine(settings, sandbox=options.sandbox, keep_probing=True, tcp=tcp) as engine:
        reloader = Reloader(engine, tcp, load=load, logging=partial(_log_as, options), systemd=systemd)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: it is meant to be left alone
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.reload)
        _greet(options, engine, tcp, api)
        systemd.tell(READY)
        if opens and tcp is not None:
            await asyncio.to_thread(_open, tcp)
        try:
            await systemd.stay_alive()
            await asyncio.Event().wait()
        finally:
            systemd.tell(STOPPING)


def refuse_own_address(api: ApiAddress, at: TcpListener) -> None:
    """Raise UsageError if the Message Batches API that a daemon is told to use is its own."""
    from orchestrator.http_api.listen import is_own_address

    if not is_own_address(at, api.url):
        return
    remedy = "set it to where the API is" if api.source == SETTING else "unset it where the daemon is started"
    raise UsageError(
        f"{api.source} is the address of this very daemon: {api.shown}",
        cause="it would send every batch to itself, without end",
        hint=f"{remedy}: clients alone use the daemon's address",
    )


def _bound(settings: Settings, *, asks_anyway: bool) -> TcpListener | None:
    """The bound address of the settings, with its token. Raises what `listen` raises."""
    from orchestrator.http_api.listen import listen
    from orchestrator.store.location import location_of
    from orchestrator.store.ownership import make_private_folder

    own = location_of(settings).token_file if asks_anyway else None
    if own is not None:
        make_private_folder(own.parent)
    return listen(settings.server, settings.tokens, is_chosen=settings.is_set("server.listen"), own_token=own)


def _greet(options: GlobalOptions, engine: Engine, tcp: TcpListener | None, api: str | None) -> None:
    """Say what runs, and where it is reached."""
    say(options, f"the engine runs on {engine.location}; Ctrl-C stops it")
    token_file = None
    if tcp is not None:
        token_file = _token_file(tcp, engine.settings)
        for line in () if options.quiet else _address_lines(tcp, token_file, sandbox=options.sandbox):
            say(options, line)
    if options.as_json:
        url, token = None if tcp is None else tcp.url, None if token_file is None else str(token_file)
        facts = {
            "database": str(engine.location),
            "url": url,
            "token_file": token,
            "api": api,
            "sandbox": options.sandbox,
        }
        with ignoring_closed_stdout():
            show_json(facts)


def _token_file(tcp: TcpListener, settings: Settings) -> Path | None:
    """The file of the daemon's own token; None: only those of a team let in, or nobody needs one."""
    if not any(each.bearer.name == DEFAULT_NAME for each in tcp.access.tokens):
        return None
    return tcp.own_token if settings.server.token_file is None else settings.server.token_file


def _address_lines(tcp: TcpListener, token_file: Path | None, *, sandbox: bool) -> Iterator[str]:
    """The address, how to log in, and the environment for an SDK. The only secret is a code that is good once,
    and it is left out where the output goes to a log that others read.
    """
    from orchestrator.http_api.guard.access_tokens import CODE_S

    if tcp.taken_port is not None:
        yield f"port {tcp.taken_port} is taken by another program, so a free one stands in for it"
    yield f"dashboard and API: {tcp.url}"
    if not tcp.access.tokens:
        if not sandbox:
            told = "NO TOKEN is asked for: everybody with a login on this machine can read and spend here"
            yield coloured(told, "red", bold=True)
        yield from _for_the_sdk(tcp.url, "sandbox" if sandbox else "none")
        return
    minutes = CODE_S // 60
    if _goes_to_a_journal(os.environ):
        yield f"log in: `orchestrator login` prints a link that is good once, for {minutes} minutes"
    else:
        base, path = tcp.dashboard_link()
        yield f"log in: {base}{path}"
        yield f"  (good once, for {minutes} minutes; `orchestrator login` prints another)"
    shown = "TOKEN-FILE" if token_file is None else shlex.quote(str(token_file))
    yield from _for_the_sdk(tcp.url, f'"$(cat {shown})"')


def _for_the_sdk(url: str, key: str) -> Iterator[str]:
    yield "for the SDK, in the shell of the program that uses it:"
    yield f"  export ANTHROPIC_BASE_URL={url}"
    yield f"  export ANTHROPIC_API_KEY={key}"


def _goes_to_a_journal(environ: Mapping[str, str]) -> bool:
    """True under systemd: people who may read its journal may not be meant to log in.

    A terminal may have the variables from the service that it is.
    """
    if sys.stderr.isatty():
        return False
    return environ.get("JOURNAL_STREAM", "") != "" or environ.get("NOTIFY_SOCKET", "") != ""


def _log_as(options: GlobalOptions, settings: Settings) -> None:
    level = "debug" if options.verbose else "error" if options.quiet else settings.log.level
    configure_logging(level=level, fmt=settings.log.format)  # type: ignore[arg-type]  # the setting is one of the three


def _open(tcp: TcpListener) -> None:
    from orchestrator.cli.commands.service import open_in_browser

    url, path = tcp.dashboard_link()
    open_in_browser(f"{url}{path}", is_secret=tcp.access.tokens != ())
