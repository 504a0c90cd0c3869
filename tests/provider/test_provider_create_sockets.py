"""The sockets of creates, looked at while a call is under way: what their kernel may go on sending is bounded."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from provider.provider_world import HEADERS, RawServer, SizedBody, Visit, provider_at

from orchestrator.domain.errors import ProviderRefused, ProviderUnreachable
from orchestrator.provider.sdk_clients import SEND_BUFFER_BYTES

pytestmark = pytest.mark.anyio
USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Looking:
    """A server that looks at the client's end of each connection, which is in this process, and says no."""

    def __init__(self) -> None:
        self.send_buffers: list[int] = []
        self.user_timeouts: list[int] = []
        self.keep_alive: list[bool] = []

    async def talk(self, visit: Visit) -> None:
        """Note the options of the connection's other end."""
        with other_end(visit.writer.get_extra_info("peername")) as end:
            self.send_buffers.append(end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
            self.keep_alive.append(bool(end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)))
            if USER_TIMEOUT is not None:
                self.user_timeouts.append(end.getsockopt(socket.IPPROTO_TCP, USER_TIMEOUT))
        await visit.answer(400, "no")
        visit.writer.close()


def other_end(address: tuple[str, int]) -> socket.socket:
    """A handle of the socket of this process with that name."""
    for open_file in Path("/dev/fd").iterdir():
        if open_file.is_socket():
            end = socket.socket(fileno=os.dup(int(open_file.name)))
            if end.family == socket.AF_INET and end.getsockname() == address:
                return end
            end.close()
    raise AssertionError(f"no socket of this process is {address}")


def bounded() -> int:
    """What the system makes of the bound."""
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        return plain.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


@pytest.mark.parametrize("proxy", [None, "HTTPS_PROXY"])
async def test_what_a_kernel_holds_of_a_create_is_bounded(monkeypatch: pytest.MonkeyPatch, proxy: str | None) -> None:
    """Promise 2: what a process that dies in its POST leaves behind drains sooner than others send its requests anew.

    Also on the way to a proxy; and what the SDK's own client sets stays (the library sets nothing there).
    """
    seen = Looking()
    async with RawServer(seen.talk) as server:
        if proxy is not None:
            monkeypatch.setenv(proxy, server.url)
        provider = provider_at(server.url if proxy is None else "https://api.invalid")
        await provider.create(SizedBody(), HEADERS)
        await provider.aclose()
    assert seen.send_buffers == [bounded()]
    assert seen.user_timeouts == ([] if USER_TIMEOUT is None else [300_000])
    assert seen.keep_alive == [True] or proxy is not None


async def test_a_read_has_the_buffers_that_the_system_gives() -> None:
    """A read has nothing to lose, and may go on for as long as its own limits say."""
    seen = Looking()
    async with RawServer(seen.talk) as server:
        provider = provider_at(server.url)
        with pytest.raises((ProviderRefused, ProviderUnreachable)):
            await provider.page(after_id=None, limit=1)
        await provider.aclose()
    assert seen.send_buffers != [bounded()]
    assert set(seen.user_timeouts) <= {0}
