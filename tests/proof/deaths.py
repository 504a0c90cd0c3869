"""How a simulated process dies: at a step, at a commit, at something that its network does, or by the clock."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

#: Where a death hurts most: what the network does around a POST and a download.
MOMENTS: Final = (
    "GET batches answered 200",
    "POST batches piece",
    "POST batches sent",
    "POST batches acted 200",
    "POST batches answered 200",
    "GET results answered 200",
)
_LONGEST: Final = 2500


@dataclass(slots=True, kw_only=True)
class Death:
    """When to die. step: after so many callbacks. commit: at the so-manieth; before: just before it, else just after.

    moment: at the so-manieth such event of the network. At the latest after *step* callbacks.
    """

    step: int = _LONGEST
    commit: int | None = None
    before: bool = False
    moment: str | None = None
    times: int = 1

    def meets_commit(self, number: int, *, before: bool) -> bool:
        """True if this is where to die."""
        return self.commit == number and self.before == before

    def meets(self, what: str) -> bool:
        """True if this event is where to die."""
        if self.moment != what:
            return False
        self.times -= 1
        return self.times == 0


NEVER: Final = Death(step=10**12)


def drawn(chance: random.Random, later: int = 1) -> Death:
    """One death by chance: half of them near commits and POSTs, where it matters. later: so many times, at most."""
    death = _drawn(chance)
    return (
        death if later == 1 else replace(death, step=death.step * later, times=death.times * chance.randint(1, later))
    )


def _drawn(chance: random.Random) -> Death:
    kind = chance.random()
    if kind < 0.45:
        return Death(step=int(10 ** chance.uniform(0.3, 3.4)))
    if kind < 0.7:
        return Death(commit=int(10 ** chance.uniform(0, 1.6)), before=chance.random() < 0.5)
    return Death(moment=chance.choice(MOMENTS), times=chance.choice((1, 1, 2, 3)))
