"""Which addresses a notice may be sent to: public ones, unless a setting allows private ones.

The name is resolved once, all of its addresses are checked, and the connection goes to one of these very addresses: a
name that changes between the check and the connect (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

#: host, port -> addresses, in the order in which to try them.
Resolve = Callable[[str, int], Awaitable[list[str]]]

#: Written down here, because what `ipaddress` takes for global differs from one Python to the next.
#: Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries, read 2026-11-28. Also what they call globally
#: reachable is left out where no program of a user can live (anycast of one protocol, AS112, AMT).
_NOT_PUBLIC_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' own, and the metadata of some clouds (100.100.100.200)
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's wire server: not in the registry
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, and Oracle's metadata (192.0.0.192)
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
#: All that IANA gives out for unicast (RFC 4291 §2.4). Outside of it are loopback, unique local (with the clouds'
#: metadata: fd00:ec2::254, fd20:ce::254), link-local, site-local, multicast, segment routing, discard-only.
_UNICAST_V6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID, drones
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
#: The low 32 bits are an IPv4 address, which decides. Sources: RFC 4291 §2.5.5.2; RFC 6052 §2.1.
_STANDS_FOR_V4: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


class AddressRefusedError(Exception):
    """The name has no address, or one that is not allowed; the text says why, for people."""


async def resolve(host: str, port: int) -> list[str]:
    """Resolve a name with the system's resolver. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def checked_addresses(host: str, port: int, *, allow_private: bool, resolve: Resolve) -> list[str]:
    """The addresses of *host*, all of which are allowed. Raises AddressRefusedError: one that is not is enough."""
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
    """True for an address of the public internet: no loopback, private, link-local or reserved one.

    Nor one that a cloud reserves for itself. An IPv6 address that stands for an IPv4 address is checked as that one.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and any(address in network for network in _STANDS_FOR_V4):
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)
