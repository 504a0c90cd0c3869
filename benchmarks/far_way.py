"""A long way to a server, in a process of its own: what goes through is delayed, and as fast as it was before.

Usage: python -m benchmarks.far_way HOST PORT SECONDS; prints its own port. SECONDS: the delay of each direction.
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
import time
from typing import Final

_BLOCK: Final = 1 << 18

Timed = tuple[float, bytes]


def main(host: str, port: int, delay_s: float) -> None:
    """Carry until killed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            near, _ = listener.accept()
            far = socket.create_connection((host, port))
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                on_the_way: queue.SimpleQueue[Timed] = queue.SimpleQueue()
                threading.Thread(target=_take, args=(one, on_the_way, delay_s), daemon=True).start()
                threading.Thread(target=_give, args=(other, on_the_way), daemon=True).start()


def _take(source: socket.socket, on_the_way: queue.SimpleQueue[Timed], delay_s: float) -> None:
    data = b"-"
    while data:
        try:
            data = source.recv(_BLOCK)
        except ConnectionError:
            data = b""
        on_the_way.put((time.monotonic() + delay_s, data))


def _give(target: socket.socket, on_the_way: queue.SimpleQueue[Timed]) -> None:
    """An empty block is the end."""
    while True:
        due, data = on_the_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)
        except OSError:  # who was to get it has gone
            return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
