"""Part `body`: how fast a create's body comes out of the store, and how long uploads and downloads hold up the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks import inputs, program
from benchmarks.measure import api, figures, run
from benchmarks.outcome import Options, Outcome, Part

#: Words a prompt, so that 100,000 requests nearly fill the 256 MB that a create may have.
_WORDS: Final = 405
_PER_BODY: Final = 100_000
_FOREVER_S: Final = 1e7
_PHASES: Final = {"upload": "one large body is sent", "download": "ten batches of small results are stored"}


def measure(options: Options) -> Outcome:
    """The sizes are requests of 2.5 kB in the body; ten times as many results are downloaded."""
    outcome = Outcome(columns=("requests", "", "MB", "MB/s", "a file", "loop stall, p99", "longest stall"))
    for size in options.sizes:
        source = inputs.usual(options.work / "large.jsonl", size, words=_WORDS)
        program.fresh(options.work / "body")
        said = figures("benchmarks.body_side", str(source), str(options.work / "body"), str(options.rounds))
        rate = outcome.put("body_mb_per_s", said["bytes"] / said["body_s"] / 1e6, size=size)
        plain = said["bytes"] / said["file_s"] / 1e6
        outcome.put("body_vs_file", said["body_s"] / said["file_s"], size=size)
        cells = [f"{said['bytes'] / 1e6:.0f}", f"{rate:,.0f}", f"{plain:,.0f}", "", ""]
        outcome.rows.append([f"{size:,}", "a body is read out of the store", *cells])
        _stalls(outcome, options, source, size, "upload")
        source.unlink()
        source = inputs.small(options.work / "small.jsonl", 10 * size)
        _stalls(outcome, options, source, 10 * size, "download")
    return outcome


def _stalls(outcome: Outcome, options: Options, source: Path, count: int, phase: str) -> None:
    """Run a job through an engine in a process of its own, and keep what it says of *phase*."""
    store = program.fresh(options.work / "store")
    per_batch = count if phase == "upload" else -(-count // 10)
    with api(in_flight_for_s=_FOREVER_S) as base_url:
        limits = {"limits__max_in_flight_requests": str(10 * _PER_BODY), "batching__max_requests": str(per_batch)}
        env = program.env(base_url, store, **limits)
        run(program.submit_command(source), env=env)
        said = figures("benchmarks.loop_side", env=env)
    p99 = outcome.put(f"{phase}_stall_p99_ms", said[f"{phase}_p99_ms"], size=count)
    longest = outcome.put(f"{phase}_stall_max_ms", said[f"{phase}_max_ms"], size=count)
    outcome.rows.append([f"{count:,}", _PHASES[phase], "", "", "", f"{p99:.1f} ms", f"{longest:.0f} ms"])


PART: Final = Part(name="body", measure=measure, sizes=(_PER_BODY,), quick=(10_000,))
