"""The least that a run can be: the same bytes sent and received, nothing decoded, nothing remembered.

Usage: python -m benchmarks.bytes_only INPUT.jsonl OUTPUT.jsonl. One batch: up to 100,000 lines. The API is at
ANTHROPIC_BASE_URL. The results come in the API's order.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_BLOCK: Final = 1024 * 1024
_HEAD: Final = b'{"requests":['
_TAIL: Final = b"]}"
_PATH: Final = "/v1/messages/batches"


def main(source: Path, target: Path) -> None:
    """Send, wait, save."""
    host = os.environ["ANTHROPIC_BASE_URL"].removeprefix("http://")
    connection = http.client.HTTPConnection(host, blocksize=_BLOCK)
    size = len(_HEAD) + source.stat().st_size - 1 + len(_TAIL)
    connection.request("POST", _PATH, body=body(source), headers={"content-length": str(size)})
    batch = json.load(connection.getresponse())
    while batch["processing_status"] != "ended":
        time.sleep(0.2)
        connection.request("GET", f"{_PATH}/{batch['id']}")
        batch = json.load(connection.getresponse())
    connection.request("GET", f"{_PATH}/{batch['id']}/results")
    answer = connection.getresponse()
    with target.open("wb") as out:
        while block := answer.read(_BLOCK):
            out.write(block)
        out.flush()
        os.fsync(out.fileno())


def body(source: Path) -> Iterator[bytes]:
    """The lines of *source* (the last one ends with a line feed) as the members of one create."""
    yield _HEAD
    left = source.stat().st_size - 1
    with source.open("rb") as lines:
        while left > 0 and (block := lines.read(min(_BLOCK, left))):
            left -= len(block)
            yield block.replace(b"\n", b",")
    yield _TAIL


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
