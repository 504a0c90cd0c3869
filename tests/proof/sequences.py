"""Runs the state machine: in the tests as it is, and as long as one likes with `python -m proof.sequences`.

`python -m proof.sequences EXAMPLES STEPS SEED` is the long run, and replays one.
"""

from __future__ import annotations

import sys
import time

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from proof.machine import OrchestratorMachine
from proof.tally import Tally


def chosen(examples: int, steps: int, *, derandomize: bool = False) -> settings:
    """How the machine is run: nothing is remembered between runs, nothing depends on how fast the computer is."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=derandomize,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )


def state_machine(examples: int, steps: int, seed_number: int) -> Tally:
    """Run the machine on *examples* sequences of at most *steps* rules; the same seed gives the same ones."""
    start = time.monotonic()
    seeded = seed(seed_number)(type("Seeded", (OrchestratorMachine,), {}))
    violations: tuple[str, ...] = ()
    try:
        run_state_machine_as_test(seeded, settings=chosen(examples, steps))
    except Exception as exc:  # noqa: BLE001 - whatever broke is what is reported
        notes = " ".join(getattr(exc, "__notes__", ()))
        replay = f"PYTHONPATH=tests python -m proof.sequences {examples} {steps} {seed_number}"
        violations = (f"{type(exc).__name__}: {exc} {notes}; {replay}",)
    return Tally(
        test="T9 state machine over the public interface",
        unit="sequences",
        trials=examples,
        violations=violations,
        seconds=time.monotonic() - start,
        facts={"steps": steps, "seed": seed_number},
    )


if __name__ == "__main__":
    tally = state_machine(*map(int, sys.argv[1:4]))
    sys.stdout.write(f"{tally.trials} {tally.unit} in {tally.seconds:.0f} s\n")
    sys.stdout.writelines(f"{violation}\n" for violation in tally.violations)
    sys.exit(bool(tally.violations))
