"""Part `face`: how long a person waits for a command that asks nothing of the API, above the start of Python itself."""

from __future__ import annotations

import sys
from functools import partial
from typing import Final

from benchmarks import inputs, program
from benchmarks.measure import PROGRAM, api, run, taking_turns
from benchmarks.outcome import Options, Outcome, Part

#: A start is short, and the figure is a small difference: more of them than of anything else.
_TURNS: Final = 12
_COMMANDS: Final = (("help", ["--help"]), ("status", ["status"]), ("status_job", ["status", "@last"]), ("ls", ["ls"]))


def measure(options: Options) -> Outcome:
    """Each command on a store with one finished job, all taking turns."""
    outcome = Outcome(columns=("command", "requests in the store", "above Python's own start", "CPU above it"))
    for size in options.sizes:
        source = inputs.small(options.work / "small.jsonl", size)
        store = program.fresh(options.work / "store")
        with api(reply_bytes=40) as base_url:
            env = program.env(base_url, store)
            run(program.run_command(source, options.work / "out.jsonl"), env=env)
        sides = {"python": partial(run, [sys.executable, "-c", "pass"], env=env)}
        sides |= {name: partial(run, [PROGRAM, *words], env=env) for name, words in _COMMANDS}
        costs = taking_turns(sides, rounds=_TURNS if options.rounds > 1 else _TURNS // 2)
        bare = costs["python"]
        for name, words in _COMMANDS:
            above_ms = outcome.put(f"{name}_ms", (costs[name].wall_s - bare.wall_s) * 1e3, size=size)
            cpu_ms = (costs[name].cpu_s - bare.cpu_s) * 1e3
            command = f"`orchestrator {' '.join(words)}`"
            outcome.rows.append([command, f"{size:,}", f"{above_ms:.0f} ms", f"{cpu_ms:.0f} ms"])
    return outcome


PART: Final = Part(name="face", measure=measure, sizes=(100_000,), quick=(1_000,))
