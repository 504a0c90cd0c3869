"""Reload on SIGHUP: settings are read again, and those that can change in a running daemon do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.systemd import READY, Notifier
from orchestrator.config import KEYS, Settings
from orchestrator.domain.errors import NeedsPerson, StoreError, UsageError
from orchestrator.observability.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

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
        _TOKEN,
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
                renewed.add(_TOKEN)
        except (UsageError, NeedsPerson, StoreError) as exc:
            log.error("config.refused", why=exc.message, cause=exc.cause)
        else:
            from orchestrator.engine.context import engine_settings

            self.settings = merged(self.settings, found)
            self._engine.commands.retune(engine_settings(self.settings))
            self._logging(self.settings)
            live = (changed & RELOADABLE) | renewed
            log.info("config.reloaded", changed=sorted(live), needs_restart=sorted(changed - RELOADABLE))
        finally:
            self._systemd.tell(READY)

    def _renewed(self, found: Settings) -> bool:
        if self._tcp is None:
            return False
        from orchestrator.http_api.listen import reload_access

        return reload_access(self._tcp, found.server)


def differing(old: Settings, new: Settings) -> Iterator[str]:
    """The names of the settings whose values differ."""
    for key in KEYS.values():
        if _value(old, key.section, key.key) != _value(new, key.section, key.key):
            yield key.name
    if old.webhooks != new.webhooks:
        yield "webhooks"


def merged(old: Settings, new: Settings) -> Settings:
    """*old* with the reloadable settings of *new*: those in force from now on."""
    sections: dict[str, Any] = {}
    for key in KEYS.values():
        if key.name in RELOADABLE:
            section = sections.get(key.section, getattr(old, key.section))
            sections[key.section] = replace(section, **{key.key: _value(new, key.section, key.key)})
    origins = {**old.origins, **{name: new.origins[name] for name in RELOADABLE}}
    return replace(old, **sections, origins=origins)


def _value(settings: Settings, section: str, key: str) -> object:
    value: object = getattr(getattr(settings, section), key)
    return value
