"""Part `idle`: what waiting costs, us and the API, with one batch in flight and with a thousand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from benchmarks import inputs, program
from benchmarks.measure import api, calls, cpu_s_of, ended, forget_calls, kill, start
from benchmarks.outcome import Options, Outcome, Part

_CREATE: Final = "POST /v1/messages/batches"
_LIST: Final = "GET /v1/messages/batches"
_PER_BATCH: Final = 10
_SHORT_S: Final = 1.0
_DEFAULT_S: Final = 30.0
_SETTLE_S: Final = 3.0
_FOREVER_S: Final = 1e7


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """What passed while nothing happened."""

    seconds: float
    cpu_s: float
    lists: int
    others: int


def measure(options: Options) -> Outcome:
    """The sizes are numbers of batches, ten requests each; `rounds` sets how long is watched: six intervals a round.

    A look a second tells what a look costs; the program's own pace (30 s) is watched for two looks, in a long run only.
    """
    columns = ("batches in flight", "looks watched", "list calls per look", "other calls per look", "CPU per look")
    outcome = Outcome(columns=(*columns, "CPU in an hour, a look a second", "CPU in an hour, a look every 30 s"))
    for batches in options.sizes:
        found = _waiting(options, batches, pace_s=_SHORT_S, looks=6 * options.rounds)
        slow = _waiting(options, batches, pace_s=_DEFAULT_S, looks=2) if options.rounds > 1 else None
        looks = found.seconds / _SHORT_S
        lists = outcome.put("lists_per_look", found.lists / looks, size=batches)
        others = outcome.put("others_per_look", found.others / looks, size=batches)
        cpu_ms = outcome.put("cpu_ms_per_look", found.cpu_s / looks * 1e3, size=batches)
        cells = [f"{batches:,}", f"{looks:.0f}", f"{lists:.2f}", f"{others:.2f}", f"{cpu_ms:.1f} ms"]
        outcome.rows.append([*cells, _per_hour(found), "–" if slow is None else _per_hour(slow)])
    return outcome


def _per_hour(found: _Waiting) -> str:
    return f"{found.cpu_s / found.seconds * 3600:.1f} s"


def _waiting(options: Options, batches: int, *, pace_s: float, looks: int) -> _Waiting:
    """Send *batches* batches that do not end, then watch the process and the API's counters for *looks* intervals."""
    source = inputs.small(options.work / "small.jsonl", batches * _PER_BATCH)
    store = program.fresh(options.work / "store")
    settings = {"limits__poll_interval": f"{pace_s:g}s", "limits__poll_interval_max": f"{pace_s:g}s"}
    with api(in_flight_for_s=_FOREVER_S) as base_url:
        env = program.env(base_url, store, batching__max_requests=str(_PER_BATCH), **settings)
        started = time.monotonic()
        process = start(program.run_command(source, store.with_name("out.jsonl")), env=env)
        try:
            program.wait_until(lambda: calls(base_url).count.get(_CREATE, 0) >= batches, timeout_s=600)
            time.sleep(_SETTLE_S)  # the answers are stored, and what follows an upload has passed
            return _watched(base_url, process.pid, looks * pace_s)
        finally:
            kill(process)
            ended(process, started)


def _watched(base_url: str, pid: int, seconds: float) -> _Waiting:
    cpu_s = cpu_s_of(pid)
    forget_calls(base_url)
    began = time.monotonic()
    time.sleep(seconds)
    said = calls(base_url)
    is_stalled = time.monotonic() - began
    lists = said.count.get(_LIST, 0)
    others = sum(said.count.values()) - lists
    return _Waiting(seconds=is_stalled, cpu_s=cpu_s_of(pid) - cpu_s, lists=lists, others=others)


PART: Final = Part(name="idle", measure=measure, sizes=(1, 100, 1000), quick=(100,))
