"""Which daemons of this user listen where: who may open a daemon's socket finds it by the daemon's TCP address.

So `--server http://127.0.0.1:8787` needs no token on the daemon's own machine, and none is ever shown to a program that
took the address over: what is asked goes to the socket, which lies in a folder that nobody else can enter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from orchestrator.config.paths import socket_folder
from orchestrator.domain.errors import UsageError

_PREFIX: Final = "orchestrator-at-"

#: An IP address and a port.
Address = tuple[str, int]


@contextmanager
def announced(socket: Path, *addresses: Address) -> Iterator[None]:
    """For a block, links to *socket* beside it, by each of *addresses*.

    What a process before left behind, which listened elsewhere, is taken away. Where no link can be made there is none:
    callers then show the token.
    """
    for link in socket.parent.glob(f"{_PREFIX}*"):
        _remove(link, socket)
    made = [socket.parent / _name(address) for address in addresses]
    for link in made:
        with suppress(OSError):
            link.unlink(missing_ok=True)
            link.symlink_to(socket.name)
    try:
        yield
    finally:
        for link in made:
            _remove(link, socket)


def socket_at(address: Address, env: Mapping[str, str]) -> Path | None:
    """The socket of this user's daemon at *address*; None: none is known. That it still runs is not looked at."""
    try:
        link = socket_folder(env) / _name(address)
        return link if link.is_socket() else None
    except (UsageError, OSError):
        return None


def _remove(link: Path, socket: Path) -> None:
    """Take *link* away if it leads to *socket*: by now another daemon may have the address."""
    with suppress(OSError):
        if link.readlink() == Path(socket.name):
            link.unlink()


def _name(address: Address) -> str:
    host, port = address
    return f"{_PREFIX}{host}-{port}"
