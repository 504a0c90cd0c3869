"""One side of the part `body`, in a process of its own: seconds to read a create's body out of the store, and a file.

Usage: python -m benchmarks.body_side INPUT.jsonl FOLDER ROUNDS; prints medians as JSON.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks import store_calls
from orchestrator.domain.model import BatchRow
from orchestrator.store.sql_store import SqlStore

_BLOCK: Final = 1024 * 1024


async def main(source: Path, folder: Path, rounds: int) -> dict[str, float]:
    """The body and a file with the same bytes, taking turns; the first turn writes the file and does not count."""
    copy = folder / "body"
    ours: list[float] = []
    floor: list[float] = []
    async with store_calls.opened(folder / "store.db") as store:
        batch = await store_calls.sent_batch(store, await store_calls.intake(store, source))
        await _write(store, batch, copy)
        for turn in range(rounds + 1):
            one, other = await _body_s(store, batch), _file_s(copy)
            if turn:
                ours.append(one)
                floor.append(other)
    return {"bytes": batch.size_bytes, "body_s": statistics.median(ours), "file_s": statistics.median(floor)}


async def _write(store: SqlStore, batch: BatchRow, copy: Path) -> None:
    with copy.open("wb") as out:
        async for chunk in store_calls.body_of(store, batch).chunks():
            out.write(chunk)


async def _body_s(store: SqlStore, batch: BatchRow) -> float:
    start = time.perf_counter()
    size = 0
    async for chunk in store_calls.body_of(store, batch).chunks():
        size += len(chunk)
    assert size == batch.size_bytes, "the body is cut"
    return time.perf_counter() - start


def _file_s(copy: Path) -> float:
    start = time.perf_counter()
    with copy.open("rb", buffering=0) as file:
        while file.read(_BLOCK):
            pass
    return time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))))
