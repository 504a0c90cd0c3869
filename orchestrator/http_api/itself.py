"""Whether an address leads back to the daemon that would ask it: then it buys from itself, without end."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.http_api.tcp import Listening

_PORTS: Final = {"http": 80, "https": 443}


def leads_to(at: Listening, url: str) -> bool:
    """True if *url* is an address of *at*, or its `public_url`. Its host is looked up where the port is the same."""
    host, port = _place(url)
    public = at.access.public_url
    if public is not None and _place(public) == (host, port):
        return True
    own, own_port = at.listener.getsockname()[:2]
    return port == own_port and any(_reaches(each, _address(own)) for each in _addresses(host))


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    return str(parts.hostname).rstrip("."), port


def _address(text: str) -> IPv4Address | IPv6Address:
    found = ip_address(text.partition("%")[0])
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _addresses(host: str) -> Iterator[IPv4Address | IPv6Address]:
    """What *host* stands for, also "127.1" and the like; nothing for a name that is not known."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for entry in found:
        address = _address(str(entry[4][0]))
        # A client that connects to 0.0.0.0 or [::] gets to this machine.
        yield ip_address("127.0.0.1" if address.version == 4 else "::1") if address.is_unspecified else address


def _reaches(address: IPv4Address | IPv6Address, own: IPv4Address | IPv6Address) -> bool:
    if not own.is_unspecified:
        return address == own
    return (own.version == 6 or address.version == 4) and _is_of_this_machine(address)


def _is_of_this_machine(address: IPv4Address | IPv6Address) -> bool:
    """Nothing is sent: only an address of this machine can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trying:
            trying.bind((str(address), 0))
    except OSError:
        return False
    return True
