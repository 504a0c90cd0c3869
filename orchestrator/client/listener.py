"""Whose program listens at an address of this machine: a port is anybody's while the daemon is down.

Linux says so in /proc/net/tcp and tcp6. Elsewhere nothing is known, and nothing refused.
"""

from __future__ import annotations

import os
import pwd
import sys
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from orchestrator.domain.errors import UsageError
from orchestrator.domain.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.client.server import Server

#: The user that the daemon runs as, where it is neither you nor root.
USER_VARIABLE: Final = "ORCHESTRATOR_SERVER_USER"
_TABLES: Final = Path("/proc/net")
_LISTENING: Final = "0A"
_ROOT: Final = 0
_LOCALHOST: Final = ("127.0.0.1", "::1")

_Ip = IPv4Address | IPv6Address


def check_listener(server: Server, environ: Mapping[str, str], *, tables: Path = _TABLES) -> None:
    """Raise UsageError if *server*'s token would go to a program of another user on this machine.

    Asked before every request, because a daemon may end meanwhile. Root may be trusted: it reads the token anyway.
    """
    parts = urlsplit(server.url)
    host = str(parts.hostname)
    if server.token is None or server.socket is not None or parts.scheme != "http" or not is_loopback(host):
        return
    hosts = _LOCALHOST if host == "localhost" else (host,)
    port = 80 if parts.port is None else parts.port
    trusted = {os.geteuid(), _ROOT, *_named(environ)}
    strangers = {uid for each in hosts for uid in owners(ip_address(each), port, tables=tables)} - trusted
    if strangers:
        raise UsageError(
            f"the token (from {server.token_from}) is not sent to {server.url}",
            cause=f"a program of another user listens there ({', '.join(map(_called, sorted(strangers)))})",
            hint=f"if the daemon runs as that user, name it: {USER_VARIABLE}=USER; else start yours",
        )


def owners(address: _Ip, port: int, *, tables: Path = _TABLES) -> set[int]:
    """The users of the programs that may get a connection to *address* and *port*; none where that is not known."""
    return {
        uid
        for name in ("tcp", "tcp6")
        for at, its_port, uid in _listeners(tables / name)
        if its_port == port and _takes(at, address)
    }


def _listeners(table: Path) -> Iterator[tuple[_Ip, int, int]]:
    """Address, port and user of every socket that listens. Source: Linux, Documentation/networking/proc_net_tcp.rst."""
    with suppress(OSError):
        for line in table.read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 7 and fields[3] == _LISTENING:
                host, _, port = fields[1].partition(":")
                yield _address(host), int(port, 16), int(fields[7])


def _address(text: str) -> _Ip:
    """Words of 32 bits in the machine's own order."""
    words = [int(text[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(text), 8)]
    found = ip_address(b"".join(words))
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


def _takes(listening: _Ip, address: _Ip) -> bool:
    """A socket on every IPv6 address may take IPv4 as well: the table does not say."""
    if listening.is_unspecified:
        return listening.version in (address.version, 6)
    return listening == address


def _named(environ: Mapping[str, str]) -> Iterator[int]:
    """The user that the environment names, by name or number. Raises UsageError for one that is not known."""
    name = environ.get(USER_VARIABLE, "")
    if name == "":
        return
    if name.isascii() and name.isdigit():
        yield int(name)
        return
    try:
        yield pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(f"{USER_VARIABLE} names no user of this machine", hint="give a name or a number") from None


def _called(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name}, uid {uid}"
    except KeyError:
        return f"uid {uid}"
