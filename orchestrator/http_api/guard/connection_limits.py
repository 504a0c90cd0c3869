"""How many files this process may have open, and which share of them the connections of a listener get.

The rest is kept for the store, the API and data files, so that a flood of connections cannot take it.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

#: More than this serves nobody here, and a limit of a billion, as containers have it, makes other programs slow.
_ENOUGH: Final = 65_536
#: For SQLite, calls of the API, webhooks, and files.
_RESERVED: Final = 192
#: There is the socket, and there may be a port.
_LISTENERS: Final = 2
_CONNECTIONS: Final = 512
_ACCEPTED_AT_ONCE: Final = 16
#: For so many turns of the loop a connection that was accepted is not counted yet, or one let go is not closed.
_TURNS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits of one listener and its connections."""

    header_s: float = 5.0  #: for a whole header, from the connection or from the first byte of a later request
    stall_s: float = 30.0  #: for a client that reads nothing of its response
    connections: int = _CONNECTIONS  #: open at once
    accepted: int = _ACCEPTED_AT_ONCE  #: per turn of the event loop


def raise_open_files_limit() -> int:
    """Raise this process's soft limit of open files as far as the hard limit allows; returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # a system with a lower limit of its own: what is there must do
            return soft
        return wanted
    return soft


def open_files_limit() -> int:
    """How many files this process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def connection_limits(open_files: int, wanted: int = _CONNECTIONS) -> ConnectionLimits:
    """The limits of one listener, given *open_files* in all and *wanted* connections.

    All listeners together leave the reserve alone, even under a flood of connections.
    """
    free = (open_files - min(_RESERVED, open_files // 2)) // _LISTENERS
    accepted = max(1, min(_ACCEPTED_AT_ONCE, free // (2 * _TURNS)))
    return ConnectionLimits(connections=max(1, min(wanted, free - _TURNS * accepted)), accepted=accepted)
