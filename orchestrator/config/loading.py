"""Merges the settings: flag > environment > `./orchestrator.toml` > user's file > default; keeps their origins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from orchestrator.config import money_sections, sections, store_sections, table_sections
from orchestrator.config.paths import PROJECT_FILE, data_folder, home_of, user_config_file
from orchestrator.config.setting import Key
from orchestrator.config.sources import FLAG, SettingEntry, from_env, from_file, from_flags
from orchestrator.config.token_section import TOKENS, TokenSection, token_table
from orchestrator.config.values import format_duration
from orchestrator.config.webhook_section import WEBHOOKS, WebhookSection, inline_table
from orchestrator.domain.errors import UsageError
from orchestrator.domain.urls import is_database

DEFAULT: Final = "default"
SANDBOX_DEFAULT: Final = "sandbox default"
_UNSET: Final = frozenset({DEFAULT, SANDBOX_DEFAULT})

#: Sandbox time runs 360 times faster, so looks are closer together. `doubt_wait` stays: it is also measured by the
#: `Date` of the API's answers, which is sandbox time there, and 20 minutes of that are over in seconds.
_SANDBOX_POLL: Final = timedelta(milliseconds=200)
#: With several daemons: a kernel sends the 2 MiB that it holds of a create without its process within it at 3.5 kB/s.
_LEAST_DOUBT_WAIT: Final = timedelta(minutes=10)
_SANDBOX_POLL_MAX: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, read and checked; each part of the program receives its section.

    origins: for every name of `KEYS`, and for "webhooks" and "tokens", where its value comes from.
    """

    api: sections.ApiSection
    database: store_sections.DatabaseSection
    fleet: store_sections.FleetSection
    batching: sections.BatchingSection
    limits: sections.LimitsSection
    retry: sections.RetrySection
    prices: money_sections.PricesSection
    budget: money_sections.BudgetSection
    cache: money_sections.CacheSection
    defaults: table_sections.DefaultsSection
    server: sections.ServerSection
    sandbox: sections.SandboxSection
    log: sections.LogSection
    telemetry: sections.TelemetrySection
    webhooks: tuple[WebhookSection, ...]
    tokens: tuple[TokenSection, ...] = ()
    origins: Mapping[str, str]

    def origin(self, name: str) -> str:
        """Where the value of *name* ("limits.poll_interval") comes from.

        "default", "sandbox default", "flag", "argument" (of the library), the name of a file, or that of an environment
        variable.
        """
        return self.origins[name]

    def is_set(self, name: str) -> bool:
        """True when the value of *name* was set somewhere, if only to the default."""
        return self.origins[name] not in _UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One setting as it is shown, without any password.

    text: the value as TOML; None when it is not set: then *unset* says what applies. is_set: it was set somewhere, if
    only to the default. means: what it is, in lines.
    """

    name: str
    text: str | None
    unset: str
    origin: str
    is_set: bool
    means: str


def load_settings(
    *,
    flags: Mapping[str, object],
    env: Mapping[str, str],
    cwd: Path,
    config_file: Path | None = None,
    sandbox: bool = False,
    called: str = FLAG,
) -> Settings:
    """The settings of a process started in *cwd* (absolute) with *env* and *flags*.

    flags: by name ("limits.poll_interval"), as text or in the setting's own type; None is not given.
    called: what errors and `origin` call them: `FLAG` or `ARGUMENT`.
    config_file: replaces both files, and must exist. sandbox: fill in what is not set as `--sandbox` wants it.
    A wrong value is refused even where a stronger one would hide it. Raises UsageError.
    """
    chosen: dict[str, object] = {}
    origins = dict.fromkeys([*sections.KEYS, WEBHOOKS, TOKENS], DEFAULT)
    for entry in _entries(flags, env, cwd, config_file, called):
        chosen[entry.key.name] = entry.read()  # the blocks of a stronger file stand for all
        origins[entry.key.name] = entry.source.label
    if (
        chosen.get("database.url") is None
    ):  # a --db that is a file says only that an address from elsewhere is not meant
        origins["database.url"] = DEFAULT
    if origins["database.path"] == DEFAULT:
        chosen["database.path"] = _default_database(env)
    return effective(_built(chosen, origins), sandbox=sandbox)


def database_flags(db: str | None) -> Mapping[str, object]:
    """The settings of `--db`: an address of PostgreSQL, or a file, which beats an address from elsewhere."""
    if db is None or is_database(db):
        return {"database.url": db}
    return {"database.path": db, "database.url": ""}


def effective(settings: Settings, *, sandbox: bool) -> Settings:
    """*settings* with the defaults of sandbox mode or of the real API for what is not set. Idempotent.

    A database path that was set, however, is used as it is: the store itself refuses to mix sandbox and real jobs.
    Raises UsageError for settings that do not go together.
    """
    if sandbox:
        settings = _for_sandbox(settings)
    else:
        _check_doubt_wait(settings)
    limits = settings.limits
    if limits.poll_interval > limits.poll_interval_max:
        origins = (settings.origin("limits.poll_interval"), settings.origin("limits.poll_interval_max"))
        raise UsageError(
            f"[limits] poll_interval = {format_duration(limits.poll_interval)} ({origins[0]}) is longer than "
            f"poll_interval_max = {format_duration(limits.poll_interval_max)} ({origins[1]})",
            hint="set both, poll_interval_max to at least poll_interval",
        )
    return settings


def _check_doubt_wait(settings: Settings) -> None:
    """Refuse a wait that a daemon which was taken over could outlast (promise 2)."""
    wait = settings.limits.doubt_wait
    if settings.database.url is not None and wait < _LEAST_DOUBT_WAIT:
        raise UsageError(
            f"[limits] doubt_wait = {format_duration(wait)} ({settings.origin('limits.doubt_wait')}) is too short with "
            f"[database] url ({settings.origin('database.url')})",
            cause="what a daemon that was taken over had half sent may still arrive at the API, and be paid for twice",
            hint=f"set it to at least {format_duration(_LEAST_DOUBT_WAIT)}, or leave it out",
        )


def setting_rows(settings: Settings) -> Iterator[SettingRow]:
    """Every setting with its value and its origin, in the order of the example file."""
    for key in sections.KEYS.values():
        value = getattr(getattr(settings, key.section), key.key)
        yield SettingRow(
            name=key.name,
            text=None if value is None else key.meaning.kind.show(value),
            unset=key.meaning.unset,
            origin=settings.origin(key.name),
            is_set=settings.is_set(key.name),
            means=key.meaning.means,
        )
    for number, webhook in enumerate(settings.webhooks, start=1):
        yield _block_row(settings, WEBHOOKS, number, inline_table(webhook), WebhookSection.__doc__)
    for number, token in enumerate(settings.tokens, start=1):
        yield _block_row(settings, TOKENS, number, token_table(token), TokenSection.__doc__)


def _block_row(settings: Settings, section: str, number: int, text: str, means: str | None) -> SettingRow:
    return SettingRow(
        name=f"{section}.{number}",
        text=text,
        unset="",
        origin=settings.origin(section),
        is_set=True,
        means=means or "",
    )


def _entries(
    flags: Mapping[str, object], env: Mapping[str, str], cwd: Path, config_file: Path | None, called: str
) -> Iterator[SettingEntry]:
    """All values found, the weakest source first."""
    home = home_of(env)
    if config_file is not None:
        yield from from_file(cwd / config_file, str(config_file), home=home, is_named=True)
    else:
        user_file = user_config_file(env)
        if user_file is not None:
            yield from from_file(user_file, str(user_file), home=home)
        yield from from_file(cwd / PROJECT_FILE, PROJECT_FILE, home=home, is_project=True)
    yield from from_env(env, cwd, home)
    yield from from_flags(flags, cwd, home, called)


def _default_database(env: Mapping[str, str]) -> Path:
    folder = data_folder(env)
    if folder is None:
        hint = "name the database: --db PATH, or [database] path"
        raise UsageError("there is no place for the database", cause="neither HOME nor XDG_DATA_HOME is set", hint=hint)
    return folder / store_sections.DEFAULT_DATABASE


def _built(chosen: Mapping[str, object], origins: Mapping[str, str]) -> Settings:
    built: dict[str, Any] = {
        section: cls(**{key.key: _value(key, chosen) for key in sections.KEYS.values() if key.section == section})
        for section, cls in sections.SECTIONS.items()
    }
    built.update({name: chosen.get(name, ()) for name in (WEBHOOKS, TOKENS)})
    return Settings(**built, origins=MappingProxyType(dict(origins)))


def _value(key: Key, chosen: Mapping[str, object]) -> object:
    return chosen[key.name] if key.name in chosen else key.default  # noqa: SIM401 - None is a value


def _for_sandbox(settings: Settings) -> Settings:
    origins = dict(settings.origins)
    limits, database = settings.limits, settings.database
    if not settings.is_set("limits.poll_interval"):
        longest = limits.poll_interval_max if settings.is_set("limits.poll_interval_max") else _SANDBOX_POLL_MAX
        limits = replace(limits, poll_interval=min(_SANDBOX_POLL, longest))
        origins["limits.poll_interval"] = SANDBOX_DEFAULT
    if not settings.is_set("limits.poll_interval_max"):
        limits = replace(limits, poll_interval_max=max(_SANDBOX_POLL_MAX, limits.poll_interval))
        origins["limits.poll_interval_max"] = SANDBOX_DEFAULT
    if not settings.is_set("database.path"):
        database = replace(database, path=database.path.with_name(store_sections.SANDBOX_DATABASE.name))
        origins["database.path"] = SANDBOX_DEFAULT
    return replace(settings, limits=limits, database=database, origins=MappingProxyType(origins))
