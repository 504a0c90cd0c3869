"""Reads settings from files, the environment and flags, and explains wrong ones. Does not decide precedence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from orchestrator.config.safe_files import UnusableFileError, read_regular_file, why_untrusted
from orchestrator.config.sections import KEYS, SECTIONS
from orchestrator.config.setting import INSIDE, REFUSED, Key
from orchestrator.config.token_section import TOKENS, tokens_key
from orchestrator.config.toml_text import parse_toml, too_deep
from orchestrator.config.values import SettingOrigin
from orchestrator.config.webhook_section import WEBHOOKS, webhooks_key
from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import nearest

ENV_PREFIX: Final = "ORCHESTRATOR_"
FLAG: Final = "flag"
ARGUMENT: Final = "argument"
_NOT_THE_FOLDERS: Final = (
    "it decides where keys, prompts or notices go, who may reach this program, or what is spent, paid twice or "
    "deleted; a file that comes with a folder may be somebody else's word"
)

_SECRET_VALUES: Final = ("sk-ant-", "whsec_")  # how secrets begin
_SECRET_NAME: Final = re.compile(r"key|secret|password|auth_?token", re.IGNORECASE)
#: Settings that are lists of tables.
_BLOCKS: Final = {WEBHOOKS: webhooks_key, TOKENS: tokens_key}
#: Settings that say where a secret is.
_NAMES: Final = frozenset({*KEYS, f"{WEBHOOKS}.secret_env", f"{WEBHOOKS}.secret_file"})
_USER_INFO: Final = re.compile(r"//[^/\s]*@")
#: Settings have three levels.
_DEEPEST: Final = 32
_WRITTEN: Final = 'see config.example.toml; texts and durations stand in quotes: poll_interval = "30s"'
_SHAPE: Final = "a setting stands directly below the line of its section; see config.example.toml"
_FOR_DATABASE: Final = (
    'put the password alone into a file of mode 0600 and name it: [database] password_file = "PATH"; or use PGPASSFILE'
)
_KEY_REMEDY: Final = (
    "set ANTHROPIC_API_KEY in the environment, or put the key alone into a file of mode 0600 and name it: "
    '[api] key_file = "PATH". If others could read this value, revoke the key'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingEntry:
    """One value as it was found, before it is read."""

    key: Key
    value: object
    source: SettingOrigin

    def read(self) -> object:
        """The value in its own type.

        Raises UsageError, which says where it stands, what is expected, and the remedy.
        """
        kind = self.key.meaning.kind
        if self.source.is_project and self.key.meaning.project is REFUSED:
            self._refuse_here(_NOT_THE_FOLDERS)
        raw = self.value.strip() if self.source.is_text and isinstance(self.value, str) else self.value
        try:
            value = kind.read(raw, self.source)
        except ValueError:
            pass  # what is raised below must not carry the reader's error along: it holds the value as it was written
        else:
            if self.source.is_project and self.key.meaning.project is INSIDE:
                self._check_inside(value)
            return value
        raise UsageError(
            f"{self.source.label}: [{self.key.section}] {self.key.key}: expected {kind.expected}",
            cause=f"it is {_quoted(kind.hide(self.value) if isinstance(self.value, str) else self.value)}",
            hint=f"write for instance: {self._sample()}",
        )

    def _check_inside(self, value: object) -> None:
        """Refuse a path that leaves the folder of the project file, also by a link."""
        folder = os.path.realpath(self.source.folder)
        if os.path.commonpath([folder, os.path.realpath(str(value))]) != folder:
            self._refuse_here("a file that comes with a folder may name a place in that folder only")

    def _refuse_here(self, cause: str) -> NoReturn:
        """Refuse a setting that the project file may not set."""
        name, variable = f"[[{self.key.section}]]", ""
        if self.key.key:
            name = f"[{self.key.section}] {self.key.key}"
            variable = f", set {ENV_PREFIX}{self.key.section.upper()}__{self.key.key.upper()}"
        raise UsageError(
            f"{self.source.label}: {name} cannot be set here",
            cause=cause,
            hint=f"put it into your own file (~/.config/orchestrator/config.toml){variable}, "
            f"or name this file if you trust it: --config {self.source.label}",
        )

    def _sample(self) -> str:
        """A right value, spelled as in the place where the wrong one stands."""
        meaning = self.key.meaning
        toml = meaning.example or meaning.kind.show(self.key.default)
        if not self.source.is_text:
            return f"{self.key.key} = {toml}"
        if self.source.label == ARGUMENT:
            return f"{self.key.section}__{self.key.key}={toml}"
        plain = toml.strip('[]"')
        plain = f"'{plain}'" if "$" in plain else plain  # a shell would put something else in its place
        return plain if self.source.label == FLAG else f"{self.source.label}={plain}"


def from_file(
    file: Path, label: str, *, home: Path | None, is_named: bool = False, is_project: bool = False
) -> Iterator[SettingEntry]:
    """The settings in the TOML file at *file* (absolute). Raises UsageError.

    is_named: the user asked for this very file, so it must exist, and is trusted. Any other may be missing, and only
    root and we may be able to write it. is_project: it lies in the working directory, and may hold no setting that is
    `REFUSED` there.
    """
    table = _load(file, label, is_named=is_named)
    source = SettingOrigin(label=label, folder=file.parent, home=home, is_text=False, is_project=is_project)
    _refuse_secrets_in(table, "", label)
    for section, content in table.items():
        if section in _BLOCKS:
            yield SettingEntry(key=_BLOCKS[section](), value=content, source=source)
            continue
        if not isinstance(content, Mapping) or section not in SECTIONS:
            _refuse_section(section, content, label)
        for key, value in content.items():
            yield SettingEntry(key=_known(section, key, label), value=value, source=source)


def from_env(env: Mapping[str, str], cwd: Path, home: Path | None) -> Iterator[SettingEntry]:
    """The settings in `ORCHESTRATOR_SECTION__KEY`. Raises UsageError.

    Other names that start with `ORCHESTRATOR_` are left alone: the command line has variables of its own.
    """
    for variable, value in env.items():
        if not variable.startswith(ENV_PREFIX):
            continue
        section, separator, key = variable.removeprefix(ENV_PREFIX).lower().partition("__")
        if not separator:
            _refuse_single_underscore(variable)
            continue
        if section not in SECTIONS:
            _refuse_section(section, None, variable)
        _refuse_secret_value(value, f"[{section}] {key}", variable)
        source = SettingOrigin(label=variable, folder=cwd, home=home, is_text=True)
        yield SettingEntry(key=_known(section, key, variable), value=value, source=source)


def from_flags(flags: Mapping[str, object], cwd: Path, home: Path | None, label: str = FLAG) -> Iterator[SettingEntry]:
    """The settings of the command line or of a program, by name ("limits.poll_interval"); None is not given.

    label: `FLAG` or `ARGUMENT`. Raises UsageError.
    """
    source = SettingOrigin(label=label, folder=cwd, home=home, is_text=True)
    for name, value in flags.items():
        section, _, key = name.partition(".")
        if section not in SECTIONS:
            _refuse_section(section, None, label)
        if value is not None:
            _refuse_secret_value(value, f"[{section}] {key}", label)
            yield SettingEntry(key=_known(section, key, label), value=value, source=source)


def _load(file: Path, label: str, *, is_named: bool) -> Mapping[str, object]:
    try:
        content, found = read_regular_file(file)
        foreign = None if is_named else why_untrusted(file, found)
    except (FileNotFoundError, NotADirectoryError) as exc:
        if not is_named:
            return {}
        raise UsageError(
            f"no such configuration file: {label}", hint="`orchestrator config init` writes one to start from"
        ) from exc
    except (OSError, UnusableFileError) as exc:
        cause = exc.strerror if isinstance(exc, OSError) else str(exc)
        hint = "make it a file that you can read, or name another with --config"
        raise UsageError(f"the configuration file cannot be read: {label}", cause=cause, hint=hint) from exc
    if foreign is not None:
        hint = f"look into it; if you trust it, name it: --config {label}, or make it yours alone: chown, chmod 644"
        raise UsageError(f"the settings in {label} are not taken", cause=foreign, hint=hint)
    return parse_toml(content, label, hint=_WRITTEN, shape=_SHAPE)


def _known(section: str, key: str, label: str) -> Key:
    """The setting of that name. Raises UsageError with the nearest name."""
    found = KEYS.get(f"{section}.{key}")
    if found is not None:
        return found
    if _SECRET_NAME.search(key):
        _refuse_secret(f"[{section}] {key}", label)
    names = [each.key for each in KEYS.values() if each.section == section]
    elsewhere = [each.section for each in KEYS.values() if each.key == key]
    hint = f"it belongs to [{elsewhere[0]}]" if elsewhere else _nearest(key, names, f"the settings of [{section}] are")
    raise UsageError(f"{label}: unknown setting [{section}] {key}", hint=hint)


def _refuse_section(section: str, content: object, label: str) -> NoReturn:
    """Explain why *section*, at the top level of a file or in a variable's name, is not one."""
    if section in SECTIONS:
        raise UsageError(
            f"{label}: {section} is a section, not a setting", hint=f"write [{section}] on a line of its own"
        )
    home = next((key.section for key in KEYS.values() if key.key == section), None)
    if home is not None and not isinstance(content, Mapping):
        hint = f"put it below a line [{home}]"
        raise UsageError(f"{label}: {section} stands outside of a section", hint=hint)
    raise UsageError(
        f"{label}: unknown section [{section}]", hint=_nearest(section, list(SECTIONS), "the sections are")
    )


def _refuse_single_underscore(variable: str) -> None:
    """Refuse ORCHESTRATOR_LIMITS_POLL_INTERVAL, which would be ignored silently; its author means a setting."""
    name = variable.removeprefix(ENV_PREFIX).lower()
    meant = next((key for key in KEYS.values() if f"{key.section}_{key.key}" == name), None)
    if meant is not None:
        right = f"{ENV_PREFIX}{meant.section}__{meant.key}".upper()
        raise UsageError(f"{variable}: not the name of a setting", hint=f'did you mean "{right}"? (two underscores)')


def _nearest(name: str, valid: list[str], otherwise: str) -> str:
    return nearest(name, valid) or f"{otherwise}: {', '.join(valid)}"


def _quoted(value: object) -> str:
    """*value* for an error message: short, and without the user and password of an address."""
    text = _USER_INFO.sub("//***@", repr(value))
    return text if len(text) <= 100 else f"{text[:100]}…"


def _refuse_secrets_in(value: object, name: str, label: str, depth: int = 0) -> None:
    """Check all of a file for secrets before any other error, so that no message can quote one."""
    if depth > _DEEPEST:
        raise too_deep(label, _SHAPE)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            path = f"{name}.{key}" if name else str(key)
            if _SECRET_NAME.search(str(key)) and not isinstance(inner, Mapping) and path not in _NAMES:
                _refuse_secret(path, label)
            _refuse_secrets_in(inner, path, label, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _refuse_secrets_in(inner, name, label, depth + 1)
    else:
        _refuse_secret_value(value, name, label)


def _refuse_secret_value(value: object, name: str, label: str) -> None:
    if isinstance(value, str) and any(start in value.lower() for start in _SECRET_VALUES):
        _refuse_secret(name, label)


def _refuse_secret(name: str, label: str) -> NoReturn:
    if name.startswith(f"{WEBHOOKS}."):
        raise UsageError(
            f"{label}: {name} looks like a secret, and settings do not hold secrets",
            cause="configuration files are copied, committed and shown by `config show`",
            hint='secret_env = "NAME-OF-A-VARIABLE", or secret_file = "PATH" of a file that holds it alone, mode 0600',
        )
    is_database = name.startswith(("database.", "[database]"))
    raise UsageError(
        f"{label}: {name} looks like {'a password' if is_database else 'an API key'}, and settings do not hold secrets",
        cause="configuration files are copied, committed and shown by `config show`",
        hint=_FOR_DATABASE if is_database else _KEY_REMEDY,
    )
