"""The fault matrix, played small, and the page that the whole of it wrote (promises 1 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from proof.cells import CELLS, Cell, broken_promises
from proof.matrix import FULL, PAGE, Record, page, play_all, read_peers, tally
from proof.scene import Audit, Scene, Size
from support.length import some_of
from support.processes import Api

SMALL = Size(requests=120, per_batch=60, rejections=2)
#: Left to `make fault-matrix`: each is much like one of the others, or like a test beside this one.
LEFT_OUT = {"kill-poll", "server-error 30 %", "429 x 6"}
PLAYED = tuple(cell for cell in CELLS if cell.name not in LEFT_OUT)
#: Side by side: they wait half of the time. Two tests, for two workers; one of each cell would play all in each worker.
HALVES = (PLAYED[::2], PLAYED[1::2])
RIGHT = Audit(accepted=120, outcomes={}, billed_twice=0, lost=0, wrong=0, in_order=True, lines={"succeeded": 120})


@pytest.mark.parametrize("cells", some_of(HALVES, 1), ids=lambda cells: ", ".join(cell.name for cell in cells))
def test_under_a_fault_nothing_is_lost_and_nothing_is_paid_for_twice(cells: Sequence[Cell]) -> None:
    """The real command against a real API over TCP: its books, the exit codes and the output are as promised."""
    records = play_all(SMALL, cells)
    assert [record.cell.name for record in records] == [cell.name for cell in cells]
    assert {record.cell.name: list(record.violations) for record in records if record.violations} == {}


@pytest.mark.parametrize(
    "wrong",
    [
        replace(RIGHT, accepted=121),
        replace(RIGHT, billed_twice=1),
        replace(RIGHT, lost=1),
        replace(RIGHT, wrong=1),
        replace(RIGHT, in_order=False),
    ],
)
def test_a_broken_promise_is_seen_and_said(tmp_path: Path, wrong: Audit) -> None:
    """A judge that finds nothing must be able to find something."""
    with httpx2.Client() as client:
        scene = Scene(tmp_path, Api(0, client), SMALL, {}, "say {}".format)
    scene.exits.append(0)
    drop = CELLS[0]
    assert broken_promises(drop, scene, RIGHT) == []
    violations = broken_promises(drop, scene, wrong)
    record = Record(cell=drop, size=SMALL, audit=wrong, exits=[0], violations=violations, seconds=1)
    assert (len(violations), len(tally([record]).violations)) == (1, 1)
    assert violations[0] in page([record], read_peers(), "2026-11-23")


def test_the_page_has_our_row_for_every_fault_and_no_broken_promise() -> None:
    """docs/fault-matrix.md is what `make fault-matrix` wrote: all thirteen faults, nothing sent without need."""
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in PAGE.read_text("utf-8").split("\n")]
    ours = {row[0]: row for row in rows if row and row[0] in {cell.name for cell in CELLS}}
    assert list(ours) == [cell.name for cell in CELLS]
    for cell in CELLS:
        _, _, accepted, billed_twice, lost, _, _, as_promised = ours[cell.name]
        assert (billed_twice, lost, as_promised) == ("0", "0", "yes")
        assert (int(accepted) == FULL.requests * cell.times) is (cell.sent_again is None)


def test_every_other_program_has_a_figure_for_every_fault() -> None:
    """The table has no holes."""
    assert {tuple(peer.cells) for peer in read_peers().peers} == {tuple(cell.name for cell in CELLS)}
