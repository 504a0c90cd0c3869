"""`orchestrator run` against the guide's own loop: the same file, the same local server, whole processes, medians.

Usage: python benchmarks/bench_run.py [--requests 100000] [--rounds 3]

The server is the sandbox in a process of its own; its batches end the moment they are made, so what is measured is the
client: reading, sending, receiving, writing, and for `run` also storing everything durably. User and system CPU, wall
time and peak memory are the operating system's own figures for the child process (`wait4`).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
WORDS = ("the", "product", "arrived", "late", "and", "broken", "but", "service", "was", "quick", "cheap", "again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One run: seconds, seconds of CPU, bytes of peak memory."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def main() -> None:
    """Alternate the two, so that both see the same machine, and print medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source = make_input(work / "input.jsonl", options.requests)
        print(
            f"{options.requests} requests, {source.stat().st_size / 1e6:.0f} MB, {options.rounds} rounds and a warm-up"
        )
        ours: list[Cost] = []
        guide: list[Cost] = []
        for turn in range(options.rounds + 1):
            with server() as base_url:
                one = run_ours(source, work, base_url)
            with server() as base_url:
                other = run_guide(source, work, base_url)
            if turn:
                ours.append(one)
                guide.append(other)
        report(ours, guide)


def make_input(path: Path, count: int) -> Path:
    """About 1.2 kB a request, no two alike, from a seed."""
    chance = random.Random(1)
    with path.open("w") as out:
        for number in range(count):
            text = " ".join(chance.choices(WORDS, k=195))
            out.write(
                f'{{"custom_id":"req-{number}","params":{{"model":"claude-haiku-4-5","max_tokens":64,'
                f'"messages":[{{"role":"user","content":"{number} {text}"}}]}}}}\n'
            )
    return path


@contextmanager
def server() -> Iterator[str]:
    """The local API, new for each run."""
    process = subprocess.Popen([sys.executable, HERE / "local_server.py"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def run_ours(source: Path, work: Path, base_url: str) -> Cost:
    """`orchestrator run` on an empty store."""
    store = work / "store"
    shutil.rmtree(store, ignore_errors=True)
    program = Path(sys.executable).with_name("orchestrator")
    command = [str(program), "run", str(source), "-o", str(work / "ours.jsonl"), "--api-version", "2023-06-01", "-q"]
    env = {"ORCHESTRATOR_DATABASE__PATH": str(store / "store.db"), "ORCHESTRATOR_LIMITS__POLL_INTERVAL": "0.2s"}
    return measured(command, base_url, env)


def run_guide(source: Path, work: Path, base_url: str) -> Cost:
    """The guide's loop."""
    return measured([sys.executable, str(HERE / "guide_loop.py"), str(source), str(work / "guide.jsonl")], base_url, {})


def measured(command: Sequence[str], base_url: str, env: dict[str, str]) -> Cost:
    """Run *command* to its end and ask the operating system what it took."""
    child_env = {**os.environ, "ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "benchmark", **env}
    started = time.monotonic()
    process = subprocess.Popen(command, env=child_env)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"exit {process.returncode}: {' '.join(command)}")
    return Cost(wall_s=wall_s, cpu_s=usage.ru_utime + usage.ru_stime, peak_bytes=usage.ru_maxrss * 1024)


def report(ours: Sequence[Cost], guide: Sequence[Cost]) -> None:
    """A table in Markdown."""
    print("| | wall | CPU | peak memory |\n|---|---|---|---|")
    rows = {"orchestrator run": median(ours), "the guide's loop": median(guide)}
    for name, cost in rows.items():
        print(f"| {name} | {cost.wall_s:.1f} s | {cost.cpu_s:.1f} s | {cost.peak_bytes / 1e6:.0f} MB |")
    a, b = rows.values()
    print(f"| ratio | {a.wall_s / b.wall_s:.2f} | {a.cpu_s / b.cpu_s:.2f} | {a.peak_bytes / b.peak_bytes:.2f} |")


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(
        wall_s=statistics.median(cost.wall_s for cost in costs),
        cpu_s=statistics.median(cost.cpu_s for cost in costs),
        peak_bytes=int(statistics.median(cost.peak_bytes for cost in costs)),
    )


if __name__ == "__main__":
    main()
