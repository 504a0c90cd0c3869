"""One daemon's store in the part `fleet`, in a process of its own, on the database that BENCHMARK_DB names.

python -m benchmarks.fleet_side prepare INPUT.jsonl NUMBER             NUMBER jobs, each one batch that has ended
python -m benchmarks.fleet_side store ANSWERS.jsonl BATCH              says "ready", waits for a line, stores results
python -m benchmarks.fleet_side fail INPUT.jsonl ANSWERS.jsonl         a batch whose requests have all failed
python -m benchmarks.fleet_side settle                                 settles it; the seconds of all, and of the
                                                                       longest turn, as JSON
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks import store_calls
from benchmarks.hot_path_side import pieces_of
from orchestrator.domain.api_answers import ApiCounts
from orchestrator.domain.ids import BatchId
from orchestrator.ports.engine import IngestOptions
from orchestrator.store.sql_store import SqlStore

#: Of a kilobyte: the collect stage writes 4 MiB in a transaction.
_LINES: Final = 4000


async def prepare(store: SqlStore, source: str, number: str) -> object:
    """The batches, by id, ready to be collected."""
    found = []
    for place in range(int(number)):
        job = await store_calls.intake(store, Path(source), IngestOptions(force_new=True))
        sent = await store_calls.sent_batch(store, job, f"{place:020}")
        found.append((await store_calls.end_batch(store, sent)).id)
    return found


async def store_results(store: SqlStore, answers: str, batch: str) -> object:
    """Seconds from the word to the last commit, by the clock and of CPU; the decoder is part of it."""
    pieces = pieces_of(Path(answers), _LINES)
    found = await store.submit.find(BatchId(int(batch)))
    assert found is not None, "no such batch"
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began, used = time.monotonic(), time.process_time()
    await store_calls.store_lines(store, found, pieces)
    return {"seconds": time.monotonic() - began, "cpu_s": time.process_time() - used}


async def fail(store: SqlStore, source: str, answers: str) -> object:
    """Its results are stored, and nothing is settled."""
    sent = await store_calls.sent_batch(store, await store_calls.intake(store, Path(source)))
    batch = await store_calls.end_batch_with(store, sent, ApiCounts(expired=sent.count))
    await store_calls.store_lines(store, batch, pieces_of(Path(answers), _LINES))
    return {}


async def settle(store: SqlStore) -> object:
    """As the stage does it, with no attempt left."""
    turns = []
    began = last = time.monotonic()
    (batch,) = await store.settle.to_settle()
    while await store.settle.settle(batch, 1, store_calls.NOW) is not None:
        turns.append(time.monotonic() - last)
        last = time.monotonic()
    await store.settle.finish_jobs(store_calls.NOW)
    return {"settle_s": time.monotonic() - began, "longest_turn_s": max(turns), "turns": len(turns)}


async def main(what: str, *arguments: str) -> object:
    """Do it in the store that lies there, or in a new one."""
    do = {"prepare": prepare, "store": store_results, "fail": fail, "settle": settle}[what]
    async with store_calls.joined_on(os.environ["BENCHMARK_DB"]) as store:
        return await do(store, *arguments)  # type: ignore[operator]  # each takes its own


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))), flush=True)
