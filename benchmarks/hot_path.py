"""Part `hot_path`: intake, collect + settle and export through the store's facets, each beside its floor."""

from __future__ import annotations

import json
import random
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import inputs
from benchmarks.measure import figures
from benchmarks.outcome import Options, Outcome, Part

_NONCE: Final = "a" * 20
#: Names the database to a side. Not an argument: it may hold a password.
DB: Final = "BENCHMARK_DB"
_STEPS: Final = {"intake": "intake", "collect": "collect + settle", "export": "export"}
_SIDES: Final = ("ours", "floor", "sdk")


def measure(options: Options) -> Outcome:
    """Ours, the floor and the SDK's decoder take turns, each in a process of its own; with `--db` kinds of store."""
    if options.db is not None:
        return _kinds(options)
    outcome = Outcome(columns=("requests", "step", "ours", "", "floor", "ours takes"))
    for size in options.sizes:
        source = inputs.usual(options.work / "usual.jsonl", size)
        answers = make_answers(options.work / "answers.jsonl", size)
        times = _times(options, source, answers, _SIDES)
        weights = {"intake": source.stat().st_size, "collect": answers.stat().st_size}
        weights["export"] = weights["collect"]
        for step, words in _STEPS.items():
            ours, floor = times["ours", step], times["floor", step]
            ratio = outcome.put(f"{step}_vs_floor", ours / floor, size=size)
            rate = outcome.put(f"{step}_lines_per_s", size / ours, size=size)
            cells = [f"{rate:,.0f} lines/s", f"{weights[step] / ours / 1e6:.0f} MB/s", f"{size / floor:,.0f} lines/s"]
            outcome.rows.append([f"{size:,}", words, *cells, f"{ratio:.2f} × the floor"])
        ours, sdk = times["ours", "collect"], times["sdk", "collect"]
        ratio = outcome.put("collect_vs_sdk", ours / sdk, size=size)
        cells = [f"{size / ours:,.0f} lines/s", f"{weights['collect'] / ours / 1e6:.0f} MB/s"]
        cells += [f"{size / sdk:,.0f} lines/s", f"{ratio:.2f} × that decoder"]
        outcome.rows.append([f"{size:,}", "collect + settle beside the SDK's decoder alone", *cells])
    return outcome


def _kinds(options: Options) -> Outcome:
    """Each step on SQLite and on the PostgreSQL server of `--db`, as a ratio."""
    outcome = Outcome(columns=("requests", "step", "SQLite", "PostgreSQL", "PostgreSQL takes"))
    for size in options.sizes:
        for step, (file, server) in both_stores(options, size).items():
            ratio = outcome.put(f"{step}_vs_sqlite", server / file, size=size)
            outcome.rows.append([f"{size:,}", step, f"{file:.3f} s", f"{server:.3f} s", f"{ratio:.1f} × SQLite"])
    return outcome


def both_stores(options: Options, size: int) -> dict[str, tuple[float, float]]:
    """By step, its median seconds on SQLite and on the PostgreSQL server of `--db`, which take turns."""
    source = inputs.usual(options.work / "usual.jsonl", size)
    answers = make_answers(options.work / "answers.jsonl", size)
    times = _times(options, source, answers, ("file", "server"))
    return {step: (times["file", step], times["server", step]) for side, step in times if side == "file"}


def _times(options: Options, source: Path, answers: Path, sides: Sequence[str]) -> dict[tuple[str, str], float]:
    """Median seconds by side and step."""
    found: dict[tuple[str, str], list[float]] = {}
    warm_ups = options.warm_ups_at(0)
    for turn in range(options.rounds + warm_ups):
        for side in sides:
            folder = options.work / "side"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            said = figures(
                "benchmarks.hot_path_side", side, str(source), str(answers), str(folder), env={DB: options.db or ""}
            )
            for step, seconds in said.items():
                if turn >= warm_ups:
                    found.setdefault((side, step), []).append(seconds)
    return {key: statistics.median(seconds) for key, seconds in found.items()}


def make_answers(path: Path, count: int, *, failing: int = 50) -> Path:
    """The result file of one batch, shuffled: about 1 kB a line; each *failing*th request has expired."""
    chance = random.Random(3)
    numbers = list(range(1, count + 1))
    chance.shuffle(numbers)
    with path.open("w", encoding="ascii") as out:
        for number in numbers:
            result = _succeeded(number, chance) if number % failing else {"type": "expired"}
            out.write(json.dumps({"custom_id": f"{_NONCE}-{number}", "result": result}) + "\n")
    return path


def _succeeded(number: int, chance: random.Random) -> dict[str, object]:
    message = {
        "id": f"msg_{number:024d}",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5",
        "content": [{"type": "text", "text": " ".join(chance.choices(inputs.WORDS, k=120))}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 250, "output_tokens": 130, "service_tier": "batch"},
    }
    return {"type": "succeeded", "message": message}


PART: Final = Part(name="hot_path", measure=measure, sizes=(50_000,), quick=(20_000,))
