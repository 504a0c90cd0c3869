"""How much was settled lately, counted over real time: a sample holds until the next, so silence counts as nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.http_api.dashboard.live import point_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.domain.queries import Sample, Totals
    from orchestrator.ports.reads import Reads

_STEP: Final = timedelta(seconds=10)


def settled_since(since: datetime, totals: Totals, reads: Reads) -> int | None:
    """How many requests an engine saw settled since *since*; None where no engine has looked before now."""
    samples = samples_since(since, reads)
    return max(point_of(totals)[2] - samples[0].settled, 0) if samples else None


def samples_since(since: datetime, reads: Reads) -> list[Sample]:
    """How busy it was from *since* on: the first as it was at that time, if that is known.

    Sums are levelled: what was settled while nobody looked is in all of them, and so in no difference between two.
    """
    before = reads.sample_at(since)
    first = [] if before is None else [replace(before, at=since)]
    return _levelled([*first, *reads.samples(since=since, step=_STEP)])


def _levelled(samples: Sequence[Sample]) -> list[Sample]:
    found: list[Sample] = []
    settled = failed = 0
    for index in range(len(samples) - 1, -1, -1):
        this, before = samples[index], samples[max(index - 1, 0)]
        found.append(replace(this, settled=this.settled + settled, failed=this.failed + failed))
        if not this.watched:
            settled += this.settled - before.settled
            failed += this.failed - before.failed
    return found[::-1]
