"""Part `scaling`: what a request, a look and a start cost as the job grows, and how large the store gets."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import inputs, program
from benchmarks.measure import PROGRAM, Cost, api, calls, ended, forget_calls, kill, median, run, start
from benchmarks.outcome import Options, Outcome, Part

_CREATE: Final = "POST /v1/messages/batches"
#: A result line is about 500 bytes then: ten million of them fit a disk twice.
_REPLY_BYTES: Final = 40
_FOREVER_S: Final = 1e7
_LOOKS: Final = 12
_REFERENCE: Final = 1_000
_BASE: Final = 100_000
#: What a run may take: a machine ten times slower than ours.
_TIMEOUT_S: Final = 4 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """What was measured at one size."""

    size: int
    rounds: int
    whole: Cost  #: `run` from nothing to the results
    intake: Cost  #: `submit`
    store_share: float  #: bytes of the store after `submit`, per byte of input
    first_call_s: float  #: from the start after `kill -9` to the first API call
    status_s: float
    status_vs_small: float


def measure(options: Options) -> Outcome:
    """Every size; a store of 1,000 requests stays beside each of them for the looks to take turns."""
    columns = ["requests", "rounds", "run, per request", "CPU, per request", "peak memory", "submit, per request"]
    columns += ["store / input", "`kill -9`, start, first call", "`status`", "against 1,000 requests"]
    outcome = Outcome(columns=columns)
    reference = options.work / "reference"
    _whole(_input(options, _REFERENCE), program.fresh(reference))
    for size in options.sizes:
        point = _point(options, size, reference / "store.db")
        outcome.rows.append(_cells(point))
        _note(outcome, point)
    _compare(outcome, options.sizes)
    return outcome


def _input(options: Options, size: int) -> Path:
    ids = inputs.uuids() if options.ids == "uuid" else inputs.sequential
    return inputs.small(options.work / f"small-{size}.jsonl", size, ids=ids)


def _point(options: Options, size: int, reference: Path) -> _Point:
    source = _input(options, size)
    store = program.fresh(options.work / "store")
    intake = _submitted(source, store)
    share = program.store_bytes(store) / source.stat().st_size
    rounds = options.rounds_at(size)
    first_calls = [_first_call_s(source, store)]
    for _ in range(min(3, rounds) - 1):
        _submitted(source, program.fresh(options.work / "store"))
        first_calls.append(_first_call_s(source, store))
    costs = [_whole(source, program.fresh(options.work / "store")) for _ in range(rounds + options.warm_ups_at(size))]
    small_s, status_s = _status_s([reference, store])
    source.unlink()
    return _Point(
        size=size,
        rounds=rounds,
        whole=median(costs[-rounds:]),
        intake=intake,
        store_share=share,
        first_call_s=statistics.median(first_calls),
        status_s=status_s,
        status_vs_small=status_s / small_s,
    )


def _submitted(source: Path, store: Path) -> Cost:
    return run(program.submit_command(source), env=program.env("http://127.0.0.1:1", store), timeout_s=_TIMEOUT_S)


def _whole(source: Path, store: Path) -> Cost:
    target = store.with_name("out.jsonl")
    with api(reply_bytes=_REPLY_BYTES) as base_url:
        cost = run(program.run_command(source, target), env=program.env(base_url, store), timeout_s=_TIMEOUT_S)
    assert program.count_lines(target) == program.count_lines(source), "results are missing"
    target.unlink()
    return cost


def _first_call_s(source: Path, store: Path) -> float:
    """Kill a run of a stored job that has begun to send; the time from its next start to the first call of the API."""
    command = program.run_command(source, store.with_name("out.jsonl"))
    with api(in_flight_for_s=_FOREVER_S) as base_url:
        env = program.env(base_url, store)
        started = time.monotonic()
        process = start(command, env=env)
        try:
            program.wait_until(lambda: _CREATE in calls(base_url).count, timeout_s=_TIMEOUT_S)
            time.sleep(0.5)
        finally:
            kill(process)
            ended(process, started)
        time.sleep(0.2)  # what was on its way has arrived
        forget_calls(base_url)
        started = time.monotonic()
        process = start(command, env=env)
        try:
            program.wait_until(lambda: calls(base_url).first_s is not None, timeout_s=_TIMEOUT_S)
        finally:
            kill(process)
            ended(process, started)
        first_s = calls(base_url).first_s
    assert first_s is not None
    return first_s - started


def _status_s(stores: list[Path]) -> list[float]:
    """How long `status` takes on each store, the median of some looks taking turns."""
    times: list[list[float]] = [[] for _ in stores]
    for turn in range(_LOOKS + 1):
        for place, store in enumerate(stores):
            cost = run([PROGRAM, "status", "@last"], env=program.env("http://127.0.0.1:1", store))
            if turn:
                times[place].append(cost.wall_s)
    return [statistics.median(found) for found in times]


def _cells(point: _Point) -> list[str]:
    whole, intake, size = point.whole, point.intake, point.size
    return [
        f"{size:,}",
        str(point.rounds),
        f"{whole.wall_s / size * 1e6:.0f} µs",
        f"{whole.cpu_s / size * 1e6:.0f} µs",
        f"{whole.peak_bytes / 1e6:.0f} MB",
        f"{intake.wall_s / size * 1e6:.0f} µs",
        f"{point.store_share:.2f}",
        f"{point.first_call_s:.2f} s",
        f"{point.status_s * 1e3:.0f} ms",
        f"{point.status_vs_small:.2f} ×",
    ]


def _note(outcome: Outcome, point: _Point) -> None:
    size = point.size
    outcome.put("wall_us_per_request", point.whole.wall_s / size * 1e6, size=size)
    outcome.put("cpu_us_per_request", point.whole.cpu_s / size * 1e6, size=size)
    outcome.put("peak_bytes", point.whole.peak_bytes, size=size)
    outcome.put("store_share", point.store_share, size=size)
    outcome.put("first_call_s", point.first_call_s, size=size)
    outcome.put("status_vs_1000", point.status_vs_small, size=size)


def _compare(outcome: Outcome, sizes: tuple[int, ...]) -> None:
    """Larger sizes against 100,000 requests, if that was measured."""
    for size in sizes:
        if size > _BASE and _BASE in sizes:
            for name, growth in (("wall_us_per_request", "wall_growth"), ("peak_bytes", "peak_growth")):
                outcome.put(growth, outcome.figures[f"{name}@{size}"] / outcome.figures[f"{name}@{_BASE}"], size=size)


PART: Final = Part(
    name="scaling", measure=measure, sizes=(10_000, 100_000, 1_000_000, 10_000_000), quick=(100_000, 250_000)
)
