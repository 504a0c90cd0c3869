"""What a program hands to the library by name: settings and options; a name that nobody knows is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NoReturn

from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import nearest

_OWN: Final = ("db", "sandbox", "config", "server", "token")
_KEY: Final = re.compile(r"(anthropic_?)?(api_?key|auth_?token|key)", re.IGNORECASE)


def as_flags(overrides: Mapping[str, object]) -> dict[str, object]:
    """The settings in `limits__poll_interval="10s"` by their names ("limits.poll_interval"). Raises UsageError.

    The message never has a value: somebody may have put a key there.
    """
    flags = {}
    for argument, value in overrides.items():
        section, separator, key = argument.partition("__")
        name = f"{section}.{key}"
        if not separator or name not in _settings():
            _refuse(argument)
        flags[name] = value
    return flags


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise UsageError for the first option of a submission in *given* that is not one of *known*."""
    names = list(known)
    for option in given:
        if option not in names:
            raise UsageError(
                f"there is no option {option!r}", hint=nearest(option, names) or f"the options are: {', '.join(names)}"
            )


def _refuse(argument: str) -> NoReturn:
    if _KEY.fullmatch(argument.rpartition("__")[2]):
        hint = 'set ANTHROPIC_API_KEY, or name a file that holds the key alone: api__key_file="PATH"'
        raise UsageError(f"an API key is not taken as an argument ({argument})", hint=hint)
    settings = [name.replace(".", "__", 1) for name in _settings()]
    section = argument.partition("__")[0]
    if argument == section and any(name.startswith(f"{section}__") for name in settings):
        one = next(name for name in settings if name.startswith(f"{section}__"))
        raise UsageError(f"{argument} is a section, not a setting", hint=f"name a setting of it, such as {one}=…")
    raise UsageError(
        f"there is no argument {argument!r}",
        hint=nearest(argument, [*_OWN, *settings])
        or 'config.example.toml has the settings; [limits] poll_interval is limits__poll_interval="10s"',
    )


def _settings() -> Iterable[str]:
    from orchestrator.config.sections import KEYS  # late: most programs name no setting

    return KEYS
