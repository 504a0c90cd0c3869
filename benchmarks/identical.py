"""`python -m benchmarks.identical [SIZE] [ROUNDS]`: intake with and without `dedupe`, side by side, in CPU a request.

The same requests are taken in without it, with it, and with it where two of five are identical to the first; each in a
process of its own, in turns. Nothing is written down.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.store_calls import intake, opened
from orchestrator.ports.engine import IngestOptions

_WORDS: Final = "this film was as good as the one before and the music was better " * 4
#: By name: whether `dedupe` is set, and of every five requests so many are identical.
_KINDS: Final = {"without": (False, 0), "dedupe, none identical": (True, 0), "dedupe, 40 % identical": (True, 2)}


def _written(path: Path, size: int, alike: int) -> None:
    with path.open("w") as out:
        for number in range(size):
            text = f"{0 if number % 5 < alike else number} {_WORDS}"
            message = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": text}]}
            out.write(json.dumps({"custom_id": f"r{number}", "params": message}) + "\n")


async def _measured(path: Path, folder: Path, *, dedupe: bool) -> float:
    async with opened(folder / "store.db") as store:
        begun = time.process_time()
        await intake(store, path, replace(IngestOptions(), force_new=True), dedupe=dedupe)
        return time.process_time() - begun


def _side(path: Path, kind: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.identical", "--side", str(path), folder, str(int(_KINDS[kind][0]))]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(size: int, rounds: int) -> None:
    """Print microseconds of CPU a request, the medians of *rounds*."""
    with tempfile.TemporaryDirectory() as name:
        files = {alike: Path(name) / f"{alike}.jsonl" for _, alike in _KINDS.values()}
        for alike, path in files.items():
            _written(path, size, alike)
        found: dict[str, list[float]] = {kind: [] for kind in _KINDS}
        for _ in range(rounds):
            for kind, (_, alike) in _KINDS.items():
                found[kind].append(_side(files[alike], kind))
    for kind, seconds in found.items():
        print(f"{kind:<24} {statistics.median(seconds) / size * 1e6:6.2f} us of CPU a request")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        print(asyncio.run(_measured(Path(sys.argv[2]), Path(sys.argv[3]), dedupe=sys.argv[4] == "1")))
    else:
        main(*([int(word) for word in sys.argv[1:3]] + [200_000, 3][len(sys.argv[1:3]) :]))
