"""The kinds of value that a setting can have: how each is read, written in TOML, and explained.

A *reader* takes what a file, an environment variable or a flag holds and returns the value, or raises ValueError (that
of msgspec is one). The message that a person sees is `ValueKind.expected`, not the reader's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from orchestrator.domain.api_versions import API_VERSIONS
from orchestrator.domain.job_spec import OPTIONS
from orchestrator.domain.money import as_text, parse_amount, parse_cap
from orchestrator.domain.urls import check_database, is_host, is_like_an_address, split_address, without_password

_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION: Final = re.compile(
    rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m(?!s))?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?", re.ASCII
)
_SIZE: Final = re.compile(r"([0-9]+) ?([kmg]?b|[kmg]ib)", re.ASCII | re.IGNORECASE)
_ORIGIN: Final = re.compile(r"https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?/?", re.ASCII | re.IGNORECASE)
_URL: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", re.ASCII)
#: A name, an IPv4 address, or an IPv6 address with or without brackets.
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*)|\[?[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\]?", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,100}", re.ASCII)
_VERSION: Final = re.compile(OPTIONS["api_version"].schema["pattern"], re.ASCII)
_BYTES_IN: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_LEAST_FACTOR: Final = Decimal("0.000001")
_A_DATABASE: Final = (
    'an address such as "postgresql://orch@db.example.com/orch", or "" for none; what is special '
    "in a name or a password is written as in %40 for @"
)
_A_DATABASE_FILE: Final = (
    'the path of a file ("~" needs HOME to be set), or in --db and in [database] url the address of a database as '
    '"postgresql://orch@db.example.com/orch"'
)
#: Longer waits are slips of the pen, and far longer ones overflow the clock arithmetic of asyncio.
LONGEST_DURATION: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingOrigin:
    """Where a value stands, as far as its reader needs to know.

    label: "orchestrator.toml", "ORCHESTRATOR_LIMITS__POLL_INTERVAL", "flag": used by errors and `config show`. folder:
    what a relative path is relative to. home: what `~` stands for; None when it is not known. is_text: True where
    numbers arrive as text (environment, flags), so that "5" is a number. is_project: it is the project file, which
    comes with a folder that others may have made.
    """

    label: str
    folder: Path
    home: Path | None
    is_text: bool
    is_project: bool = False


Reader = Callable[[object, SettingOrigin], object]


def toml_text(value: object) -> str:
    """*value* in TOML."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case int():
            return str(value)
        case timedelta():
            return f'"{format_duration(value)}"'
        case tuple():
            return "[" + ", ".join(toml_text(item) for item in value) + "]"
        case _:
            return msgspec.json.encode(str(value)).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueKind:
    """A kind of value: its reader, its TOML form, and the text for what is `expected`.

    hide: takes out of a text what nobody may see of it, before an error quotes it.
    """

    expected: str
    read: Reader
    show: Callable[[Any], str] = toml_text
    hide: Callable[[str], str] = str


def parse_duration(text: str) -> timedelta:
    """The duration in *text*: "30s", "0.2s", "250ms", "10m", "1h30m", "2d"; units from the largest down.

    Raises ValueError for anything else, a number without a unit included, and for more than 366 days.
    """
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise ValueError(text)
    days, hours, minutes, seconds, millis = (float(part) if part is not None else 0.0 for part in found.groups())
    try:
        duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=millis)
    except OverflowError as exc:
        raise ValueError(text) from exc
    if duration > LONGEST_DURATION:
        raise ValueError(text)
    return duration


def format_duration(duration: timedelta) -> str:
    """*duration* (>= 0) as `parse_duration` reads it: "1h30m", "0.2s", "0s"; exact to the microsecond."""
    rest = duration // timedelta(microseconds=1)
    text = ""
    for unit, size in (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000)):
        whole, rest = divmod(rest, size)
        text += f"{whole}{unit}" if whole else ""
    if rest or not text:
        seconds = f"{rest // 1_000_000}.{rest % 1_000_000:06d}".rstrip("0").rstrip(".")
        text += f"{seconds}s"
    return text


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:8787", "localhost:0" or "[::1]:8787". Raises ValueError."""
    host, separator, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") and ":" in host else host
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not separator or not is_port or not is_host(host):
        raise ValueError(f"{text!r} is not an address")
    return host, int(port)


def parse_size(text: str) -> int:
    """The bytes in *text*: "250MB" and "64KB" are decimal, "64KiB" is binary, "1000" is bytes. Raises ValueError."""
    if text.isascii() and text.isdigit():
        return int(text)
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return int(found[1]) * _BYTES_IN[found[2].upper()]


def format_size(size_bytes: int) -> str:
    """*size_bytes* as `parse_size` reads it, exact, in the largest decimal unit that divides it: "256MB", "1500B"."""
    for unit in ("GB", "MB", "KB"):
        whole, rest = divmod(size_bytes, _BYTES_IN[unit])
        if whole and not rest:
            return f"{whole}{unit}"
    return f"{size_bytes}B"


def _plain(type_: object, expected: str) -> ValueKind:
    """A kind that msgspec converts by itself."""

    def read(value: object, source: SettingOrigin) -> object:
        return msgspec.convert(value, type_, strict=not source.is_text)

    return ValueKind(expected=expected, read=read)


def whole_number(least: int, most: int | None = None) -> ValueKind:
    """A whole number from *least* to *most*, both included."""
    expected = f"a whole number, at least {least}" if most is None else f"a whole number from {least} to {most:,}"
    return _plain(Annotated[int, msgspec.Meta(ge=least, le=most)], expected)


def positive_number(most: int) -> ValueKind:
    """A number over 0, up to *most*, fractions allowed."""
    return _plain(Annotated[float, msgspec.Meta(gt=0, le=most)], f"a number over 0, at most {most:,}")


def decimal_factor(most: int) -> ValueKind:
    """A number from a millionth up to *most*, exact to the digit: 0.1 is a tenth. A number of TOML or a text."""

    def read(value: object, _: SettingOrigin) -> object:
        if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
            raise ValueError(value)
        try:
            found = Decimal(str(value))  # the shortest text of a float is what was written
        except InvalidOperation:
            raise ValueError(value) from None
        if not (found.is_finite() and _LEAST_FACTOR <= found <= most):
            raise ValueError(value)
        return found

    expected = f"a decimal number with a point, from {_LEAST_FACTOR} to {most:,}"
    return ValueKind(expected=expected, read=read, show=lambda value: f"{value:f}")


def amount(*, is_cap: bool = False) -> ValueKind:
    """An amount of money in whole nano-dollars, written as dollars; none is "none", and in a file the empty text, too.

    In the environment the empty text is refused: it is what a shell makes of $5. is_cap: so is 0, as in commands.
    """

    def read(value: object, source: SettingOrigin) -> object:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(value)  # a float is no amount: 0.1 is not ten cents
        text = str(value)
        if text == "none" or not (text or source.is_text):
            return None
        return parse_cap(text) if is_cap else parse_amount(text)

    def show(nanos: int) -> str:
        return toml_text(f"${as_text(nanos).rstrip('0').rstrip('.')}")

    more = "more than 0 " if is_cap else ""
    return ValueKind(expected=f'{more}dollars in quotes such as "$5" or "10.50usd", or "none"', read=read, show=show)


def yes_or_no() -> ValueKind:
    """A boolean, written true or false."""
    return _plain(bool, "true or false")


def text(expected: str) -> ValueKind:
    """Any text, the empty one included."""
    return _plain(str, expected)


def duration(*, zero: bool = False, least_s: int = 0) -> ValueKind:
    """A duration with its unit; *zero*: whether 0 is allowed; *least_s*: seconds that it has at least."""

    def read(value: object, _: SettingOrigin) -> object:
        found = value if isinstance(value, timedelta) else parse_duration(msgspec.convert(value, str))
        if found < timedelta(seconds=least_s) or (not found and not zero):
            raise ValueError(value)
        return found

    least = f"{least_s}s or more" if zero or least_s else "more than 0s"
    return ValueKind(expected=f'a duration with its unit such as "30s", "0.2s", "10m" or "1h30m", {least}', read=read)


def size(most: int) -> ValueKind:
    """A number of bytes from 1 to *most*."""

    def read(value: object, _: SettingOrigin) -> object:
        found = parse_size(value) if isinstance(value, str) else msgspec.convert(value, int)
        if not 1 <= found <= most:
            raise ValueError(value)
        return found

    expected = f'a size such as "250MB" or a whole number of bytes, from 1 to {most:,}'
    return ValueKind(expected=expected, read=read, show=lambda value: f'"{format_size(value)}"')


def choice(*names: str) -> ValueKind:
    """One of *names*, in upper or lower case."""

    def read(value: object, _: SettingOrigin) -> object:
        name = msgspec.convert(value, str).lower()
        if name not in names:
            raise ValueError(value)
        return name

    return ValueKind(expected="one of " + ", ".join(f'"{name}"' for name in names), read=read)


def choices(*names: str) -> ValueKind:
    """A list of some of *names*, each once."""

    def read(value: object, _: SettingOrigin) -> object:
        found = msgspec.convert(value, tuple[str, ...])
        if not set(found) <= set(names) or len(set(found)) < len(found):
            raise ValueError(value)
        return found

    return ValueKind(expected="a list of some of " + ", ".join(f'"{name}"' for name in names), read=read)


def texts(expected: str) -> ValueKind:
    """A list of non-empty texts; in the environment they are separated by commas."""

    def read(value: object, source: SettingOrigin) -> object:
        if source.is_text and isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        return msgspec.convert(value, tuple[Annotated[str, msgspec.Meta(min_length=1)], ...])

    return ValueKind(expected=expected, read=read)


def hosts() -> ValueKind:
    """A list of host names and addresses, without scheme, port or path."""
    inner = texts('a list of hosts, without http:// and port, such as ["gateway", "10.1.2.3"]')

    def read(value: object, source: SettingOrigin) -> object:
        found = inner.read(value, source)
        if not isinstance(found, tuple) or not all(_HOST.fullmatch(host) for host in found):
            raise ValueError(value)
        return found

    return ValueKind(expected=inner.expected, read=read)


def address() -> ValueKind:
    """HOST:PORT, or the empty text for none."""

    def read(value: object, _: SettingOrigin) -> object:
        text_ = msgspec.convert(value, str)
        if text_:
            parse_address(text_)
        return text_

    return ValueKind(expected='an address such as "127.0.0.1:8787", or "" for none', read=read)


def url() -> ValueKind:
    """An http or https address without user, password, query or fragment: `config show` would print a password."""

    def read(value: object, _: SettingOrigin) -> object:
        found = msgspec.convert(value, str)
        if _URL.fullmatch(found) is None:
            raise ValueError(value)
        split_address(found)
        return found

    expected = 'an address such as "https://api.example.com", without a user name, password or query'
    return ValueKind(expected=expected, read=read)


def database_url() -> ValueKind:
    """The address of a PostgreSQL database; the empty text is none. Its password is never shown."""

    def read(value: object, _: SettingOrigin) -> object:
        if found := msgspec.convert(value, str):
            check_database(found)
        return found or None

    def show(value: str) -> str:
        return toml_text(without_password(value))

    return ValueKind(expected=_A_DATABASE, read=read, show=show, hide=without_password)


def name() -> ValueKind:
    """A short text without blanks, as people name a machine."""
    return _matching(_NAME, 'a name such as "worker-1" of up to 100 letters, digits and ._:-')


def origin() -> ValueKind:
    """An http or https address of only a host, and a port if need be; without a slash at its end."""

    def read(value: object, _: SettingOrigin) -> object:
        found = msgspec.convert(value, str)
        if _ORIGIN.fullmatch(found) is None:
            raise ValueError(value)
        split_address(found)
        return found.rstrip("/").lower()

    return ValueKind(
        expected='an address such as "https://batches.example.com", without a path: a host of its own', read=read
    )


def api_version() -> ValueKind:
    """The date that names a version of the API."""
    return _matching(_VERSION, f"a version of the API: {' or '.join(API_VERSIONS)}")


def _matching(pattern: re.Pattern[str], expected: str) -> ValueKind:
    def read(value: object, _: SettingOrigin) -> object:
        found = msgspec.convert(value, str)
        if pattern.fullmatch(found) is None:
            raise ValueError(value)
        return found

    return ValueKind(expected=expected, read=read)


def database_path() -> ValueKind:
    """A path as of `path`, and no address: a fleet whose URL is misspelt would else be as many files."""
    kind = path()

    def read(value: object, source: SettingOrigin) -> object:
        if isinstance(value, str) and is_like_an_address(value):
            raise ValueError("it is like an address")
        return kind.read(value, source)

    return ValueKind(expected=_A_DATABASE_FILE, read=read, hide=without_password)


def path() -> ValueKind:
    """A path, made absolute: relative to the folder of the file that names it, or to the working directory."""

    def read(value: object, source: SettingOrigin) -> object:
        found = value if isinstance(value, Path) else Path(msgspec.convert(value, str))
        if not found.name or "\0" in str(found):
            raise ValueError(value)
        if found.parts[0] == "~":
            if source.home is None:
                raise ValueError(value)
            found = source.home.joinpath(*found.parts[1:])
        return source.folder / found

    return ValueKind(expected='the path of a file ("~" needs HOME to be set)', read=read)
