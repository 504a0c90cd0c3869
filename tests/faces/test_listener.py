"""A port of this machine is anybody's while the daemon is down: whose program gets the token (H2)."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from faces.client_world import short_runtime_folder

from orchestrator.client.server_address import USER_VARIABLE, Server, check_listener, owners, server_at
from orchestrator.client.transport import ServerTransport
from orchestrator.domain.errors import UsageError

TOKEN = "t" * 43
STRANGER = 54321
EVERYWHERE = "0.0.0.0"  # noqa: S104 - written into a table, not bound
_ROW = "   0: {} 00000000:0000 {} 00000000:00000000 00:00000000 00000000 {:>5} 0 552 1 0 100 0 0 10 0\n"


def words(host: str, port: int) -> str:
    """An address as the kernel's table has it."""
    packed = ip_address(host).packed
    groups = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(each, sys.byteorder):08X}" for each in groups) + f":{port:04X}"


def table(folder: Path, *rows: tuple[str, int, int], state: str = "0A") -> Path:
    """A folder with such tables."""
    text = {"tcp": "  sl ...\n", "tcp6": "  sl ...\n"}
    for host, port, uid in rows:
        text["tcp6" if ":" in host else "tcp"] += _ROW.format(words(host, port), state, uid)
    for name, content in text.items():
        (folder / name).write_text(content)
    return folder


@contextmanager
def squatter() -> Iterator[socket.socket]:
    """A listener that another user made."""
    os.seteuid(STRANGER)
    try:
        listener = socket.create_server(("127.0.0.1", 0))
    finally:
        os.seteuid(0)
    with listener:
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE, "::", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:8787", "http://localhost:8787/x"])
def test_a_token_goes_to_no_program_of_another_user(tmp_path: Path, host: str, url: str) -> None:
    """H2: whatever address it took; ours (an `ssh -L`), root's and a user that was named get it."""
    server = Server(url=url, token=TOKEN, token_from="x")  # noqa: S106 - not a token
    with pytest.raises(UsageError, match="not sent") as caught:
        check_listener(server, {}, tables=table(tmp_path, (host, 8787, STRANGER), ("127.0.0.1", 1, os.geteuid())))
    assert (str(STRANGER) in str(caught.value.cause), TOKEN in str(caught.value)) == (True, False)
    check_listener(server, {USER_VARIABLE: str(STRANGER)}, tables=tmp_path)
    for uid in (os.geteuid(), 0):
        check_listener(server, {}, tables=table(tmp_path, (host, 8787, uid)))


def test_only_whoever_would_get_the_connection_counts(tmp_path: Path) -> None:
    """H2: other ports, other addresses, other families, connections, and where nothing is known."""
    at = ip_address("127.0.0.1")
    rows = (("127.0.0.1", 2, 7), ("127.0.0.2", 1, 7), ("::1", 1, 7))
    assert owners(at, 1, tables=table(tmp_path, *rows)) == set()
    assert owners(ip_address("::1"), 1, tables=tmp_path) == {7}
    assert owners(at, 2, tables=table(tmp_path, *rows, state="01")) == set()
    assert owners(at, 2, tables=tmp_path / "missing") == set()


def test_what_needs_no_look_is_let_through(tmp_path: Path) -> None:
    """H2: TLS proves who answers; without a token there is nothing to lose; a wrong name is told."""
    tables = table(tmp_path, (EVERYWHERE, 8787, STRANGER))
    for server in (
        Server(url="https://127.0.0.1:8787", token=TOKEN),
        Server(url="http://127.0.0.1:8787"),
        Server(url="http://127.0.0.1:8787", token=TOKEN, socket=tmp_path),
    ):
        check_listener(server, {}, tables=tables)
    with pytest.raises(UsageError, match=USER_VARIABLE):
        check_listener(Server(url="http://127.0.0.1:1", token=TOKEN), {USER_VARIABLE: "no such user"}, tables=tables)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux alone says whose a listener is")
def test_the_kernel_says_whose_a_listener_is() -> None:
    """H2: its table is read as it is written."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert owners(ip_address("127.0.0.1"), listener.getsockname()[1]) == {os.geteuid()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts a program of another user")
def test_a_program_that_took_the_daemons_port_is_shown_nothing() -> None:
    """H2: by commands and by the library alike, before a byte is sent."""
    with short_runtime_folder(), squatter() as listener:
        transport = ServerTransport(server_at(f"http://127.0.0.1:{listener.getsockname()[1]}", token=TOKEN))
        with transport.blocking_client() as client, pytest.raises(UsageError, match="not sent"):
            client.get("jobs")

        async def ask() -> None:
            async with transport.client() as client:
                await client.get("jobs")

        with pytest.raises(UsageError, match="not sent"):
            asyncio.run(ask())
        with pytest.raises(BlockingIOError):
            listener.accept()
