"""Tasks of the engine that are cancelled at random moments: nothing stays open, held or half (promises 1 and 2)."""

from __future__ import annotations

import pytest
from proof.cancellations import cancellations


@pytest.mark.long
def test_a_thousand_cancelled_tasks_leave_nothing_open_held_or_half() -> None:
    """T16: stages, intake and export, cut at any await, on the program's own SQLite threads. The proof cuts 20,000."""
    tally = cancellations(count=1_200, seed=16)
    assert tally.violations == ()
    figures = {name: int(figure) for name, figure in tally.facts.items()}
    assert figures["batches in_doubt"] > figures["batches void"] > 0, "no cut POST was adopted, or none was void"
    for stage in (
        "plan",
        "submit",
        "doubt",
        "poll",
        "collect",
        "settle",
        "recover",
        "mend",
        "sweep",
        "intake",
        "export",
    ):
        assert figures[stage] > 8, f"{stage} was hardly ever cut"
