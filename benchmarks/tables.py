"""Part `tables`: requests made of the rows of a table, beside the same requests read from a file that has them."""

from __future__ import annotations

import csv
import json
import random
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.inputs import WORDS
from benchmarks.measure import Cost, median, run
from benchmarks.outcome import Options, Outcome, Part, cost_cells

_WORDS: Final = 40
#: By the kind of file. The last is what the others are beside.
_KINDS: Final = {
    "rows.csv": "CSV, by a template",
    "rows.jsonl": "JSON Lines, by a template",
    "rows.json": "a JSON array, by a template",
    "rows.parquet": "Parquet, by a template",
    "requests.jsonl": "JSON Lines of requests",
}


def measure(options: Options) -> Outcome:
    """Whole processes: the start of the interpreter is in the time. The ratios are of CPU."""
    outcome = Outcome(columns=("rows", "", "wall", "CPU", "peak memory", "rows/s of CPU"))
    for size in options.sizes:
        files = _written(options.work, size)
        costs = {name: _cost(path, options, size) for name, path in files.items()}
        for name, cost in costs.items():
            kind = name.partition(".")[2] if name.startswith("rows") else "requests"
            outcome.put(f"{kind}_peak_bytes", cost.peak_bytes, size=size)
            rate = outcome.put(f"{kind}_rows_per_cpu_s", size / cost.cpu_s, size=size)
            outcome.rows.append([f"{size:,}", _KINDS[name], *cost_cells(cost), f"{rate:,.0f}"])
        for path in files.values():
            path.unlink()
    return outcome


def _cost(path: Path, options: Options, size: int) -> Cost:
    command = [sys.executable, "-m", "benchmarks.tables_side", str(path)]
    costs = [run(command, env={}) for _ in range(options.rounds_at(size) + options.warm_ups_at(size))]
    return median(costs[options.warm_ups_at(size) :])


def _rows(size: int) -> Iterator[dict[str, str]]:
    chance = random.Random(1)
    for number in range(size):
        text = f"{number} {' '.join(chance.choices(WORDS, k=_WORDS))}"
        yield {"id": str(number), "rating": str(number % 5), "text": text}


def _written(folder: Path, size: int) -> dict[str, Path]:
    """The same rows in every kind of file that this machine can write, and the requests that they become."""
    files = {name: folder / name for name in _KINDS}
    with (
        files["rows.csv"].open("w", encoding="utf-8", newline="") as table,
        files["rows.jsonl"].open("w", encoding="utf-8") as lines,
        files["rows.json"].open("w", encoding="utf-8") as array,
        files["requests.jsonl"].open("w", encoding="utf-8") as requests,
    ):
        writer = csv.DictWriter(table, ("id", "rating", "text"))
        writer.writeheader()
        for number, row in enumerate(_rows(size)):
            writer.writerow(row)
            text = json.dumps(row, separators=(",", ":"))
            lines.write(f"{text}\n")
            array.write(f"{',' if number else '['}{text}\n")
            requests.write(
                f'{{"custom_id":"{row["id"]}","params":{{"model":"claude-haiku-4-5","max_tokens":64,'
                f'"messages":[{{"role":"user","content":"Positive or negative? {row["text"]}"}}]}}}}\n'
            )
        array.write("]\n")
    if not _write_parquet(files["rows.jsonl"], files["rows.parquet"]):
        del files["rows.parquet"]
    return files


def _write_parquet(lines: Path, path: Path) -> bool:
    """Write the rows anew, in a process of its own: this one must stay small. False without the extra."""
    command = [sys.executable, "-m", "benchmarks.tables_side", str(lines), str(path)]
    return run(command, env={}, check=find_spec("arro3") is not None).exit_code == 0


PART: Final = Part(name="tables", measure=measure, sizes=(1_000_000,), quick=(50_000,))
