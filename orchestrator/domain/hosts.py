"""Which hosts only this machine reaches: keys and tokens travel to them in the clear, and to no other."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """True for an address, or the name, that only this machine reaches; other names are not looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
