"""Checks of URLs and hosts: which a client can call, which are loopback, the only ones that get keys by http.

And of addresses of PostgreSQL databases, whose passwords nobody may see.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_LIKE_IPV4: Final = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_LIKE_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?")
_LONGEST_NAME: Final = 253  # RFC 1035, 2.3.4, without the length bytes at its ends
_DATABASE: Final = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)
#: No path of a file begins so, but what a slip of the pen makes of an address: postgress://, mysql:// or postgresql:x.
_LIKE_AN_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+:/|postgres(?:ql)?:", re.IGNORECASE)
#: Up to the last "@": a password may hold one that its author forgot to write as %40.
_PASSWORD: Final = re.compile(r":(?!//).*@", re.DOTALL)
#: A name that is written with %XX may be it, too.
_PASSWORD_PARAMETER: Final = re.compile(r"((?:^|[?&\s])(?:(?:ssl)?password|[^&=]*%[^&=]*)\s*=)[^&]*", re.IGNORECASE)
_PARAMETERS: Final = re.compile(r"[a-z_]+=[^&]*(?:&[a-z_]+=[^&]*)*")


def is_loopback(host: str) -> bool:
    """True for an address, or the name, that only this machine reaches; other names are not looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """True for a name or an address, IPv6 without brackets, that a resolver can be asked for; none is looked up."""
    if _LIKE_IPV4.fullmatch(text) is None and ":" not in text:
        return len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) is not None
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return ":" not in text or _LIKE_IPV6.fullmatch(text) is not None


def has_host(parts: SplitResult) -> bool:
    """True if an address has a host that can be asked for, and in brackets nothing but IPv6."""
    return parts.hostname is not None and is_host(parts.hostname) and ("[" in parts.netloc) == (":" in parts.hostname)


def split_address(url: str) -> SplitResult:
    """The parts of an http or https address that a client can ask.

    Raises ValueError with the reason, for people; it does not show *url*, which may hold a password.
    """
    if _VISIBLE.fullmatch(url) is None:
        raise ValueError("it has blanks, control or non-ASCII characters in it" if url else "it is empty")
    parts = _split(url)
    if parts is None:
        raise ValueError("it is not a URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it has a user name or password in it")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("it is not an http or https URL with a host")
    if not has_host(parts):
        raise ValueError("its host is neither a name nor an address")
    if not _has_usable_port(parts):
        raise ValueError("its port is not a number from 1 to 65535")
    return parts


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _has_usable_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def is_database(text: str) -> bool:
    """True for the address of a PostgreSQL database, as against the path of a file."""
    return _DATABASE.match(text) is not None


def is_like_an_address(text: str) -> bool:
    """True for what was meant to be the address of some database, whether or not it is one: no path of a file."""
    return _LIKE_AN_ADDRESS.match(text) is not None


def without_password(text: str) -> str:
    """*text*, which is meant to be the address of a database, for people: `***` stands for its password.

    It may be no address at all; what looks like a password is hidden then, too.
    """
    return _PASSWORD_PARAMETER.sub(r"\1***", _PASSWORD.sub(":***@", text))


def check_database(url: str) -> None:
    """Raise ValueError for what is no address of a PostgreSQL database, as libpq takes it; nothing is looked up.

    Several hosts are separated by commas; without one, the database is reached by this machine's own socket.
    """
    address, _, parameters = url.partition("?")
    if _VISIBLE.fullmatch(url) is None or not url.startswith(("postgresql://", "postgres://")) or "#" in url:
        raise ValueError("it is not an address of PostgreSQL")
    if parameters and _PARAMETERS.fullmatch(parameters) is None:
        raise ValueError("what follows its ? is not NAME=VALUE&NAME=VALUE")
    if address.count("@") > 1 or address.count("/") > 3:
        raise ValueError("in a name or a password, @ is written as %40, and / as %2F")


def database_identity(url: str) -> str:
    """What *url*, an address of a database, has in common with every other spelling of its password and its scheme."""
    address, _, parameters = url.partition("://")[2].partition("?")
    user, at, place = address.rpartition("@")
    known = sorted(each for each in parameters.split("&") if "password=" not in each)
    return f"{user.partition(':')[0]}{at}{place}?{'&'.join(known)}"
