"""Part `store_size`: bytes of the store per byte of input after `submit`, for inputs that compress well and badly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import inputs, program
from benchmarks.measure import run
from benchmarks.outcome import Options, Outcome, Part

_KINDS: Final[dict[str, tuple[str, int, Callable[..., Path]]]] = {
    "usual": ("prose, 1.2 kB a request", 1, inputs.usual),
    "usual_uuid": ("the same, UUIDs as ids", 1, partial(inputs.usual, ids=inputs.uuids())),
    "small": ("150 bytes a request", 1, inputs.small),
    "small_uuid": ("the same, UUIDs as ids", 1, partial(inputs.small, ids=inputs.uuids())),
    "shared_prefix": ("a system prompt of 40 kB, shared by all", 10, inputs.shared_prefix),
}


def measure(options: Options) -> Outcome:
    """Every kind at every size (a tenth of it for the shared prompt, whose requests are large)."""
    outcome = Outcome(columns=("input", "requests", "input bytes", "store bytes", "store / input"))
    for size in options.sizes:
        for name, (words, part, make) in _KINDS.items():
            source = make(options.work / f"{name}.jsonl", size // part)
            store = program.fresh(options.work / "store")
            run(program.submit_command(source), env=program.env("http://127.0.0.1:1", store))
            read, stored = source.stat().st_size, program.store_bytes(store)
            share = outcome.put(name, stored / read, size=size)
            cells = [words, f"{size // part:,}", f"{read / 1e6:.1f} MB", f"{stored / 1e6:.1f} MB", f"{share:.3f}"]
            outcome.rows.append(cells)
            source.unlink()
    return outcome


PART: Final = Part(name="store_size", measure=measure, sizes=(50_000,), quick=(10_000,))
