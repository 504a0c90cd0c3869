"""Which addresses a notice may be sent to: those of the public internet, unless a person allows others.

The name is resolved once, every address that it has is looked at, and the connection goes to one of these very
addresses: a name that changes between the look and the connect (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

#: host, port -> addresses, in the order in which to try them.
Resolve = Callable[[str, int], Awaitable[list[str]]]

#: The low 32 bits are an IPv4 address. Sources: RFC 6052 §2.1; RFC 4291 §2.5.5.1.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
#: Translation inside of somebody's own network (RFC 8215), Teredo (RFC 4380), site-local (RFC 3879), 6to4 (RFC 7526).
_NEVER: Final = tuple(
    ipaddress.IPv6Network(text) for text in ("64:ff9b:1::/48", "2001::/32", "fec0::/10", "2002::/16", "::/96")
)


class AddressRefusedError(Exception):
    """The name stands for nothing that may be asked; the text says why, for people."""


async def resolve(host: str, port: int) -> list[str]:
    """What the system's resolver says. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def checked_addresses(host: str, port: int, *, allow_private: bool, resolve: Resolve) -> list[str]:
    """The addresses of *host*, all of which may be asked. Raises AddressRefusedError: one that may not is enough."""
    try:
        found = await resolve(host, port)
    except OSError as exc:
        raise AddressRefusedError(f"the name {host} is not known: {exc.strerror}") from None
    except UnicodeError:  # an empty label, or one over 63 characters
        raise AddressRefusedError(f"{host} can be no host's name") from None
    if not found:
        raise AddressRefusedError(f"the name {host} has no address")
    if not allow_private:
        for address in found:
            if not is_public(address):
                raise AddressRefusedError(f"{host} is {address}, which is not on the public internet")
    return found


def is_public(text: str) -> bool:
    """True for an address of the public internet: no loopback, private, link-local, multicast or translated one."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    inner = _embedded(address)
    if inner is not None:
        return is_public(str(inner))
    if isinstance(address, IPv6Address) and any(address in network for network in _NEVER):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped
