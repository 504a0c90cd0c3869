"""Part `peers`: `orchestrator run` side by side with other programs that use the Message Batches API."""

from typing import Final

from benchmarks.outcome import Part
from benchmarks.peers.bench import measure

PART: Final = Part(name="peers", measure=measure, sizes=(1_000, 10_000, 100_000), quick=(1_000,))
