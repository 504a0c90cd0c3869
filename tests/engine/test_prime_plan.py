"""What `check` says of the batches of an input is what the planner makes of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from engine.test_adding_markers import alike
from engine.test_caching import LONG, WIDE, marked
from support.prices import TABLE
from support.world import in_a_loop, message, new_world

from orchestrator.domain.packing import Caps
from orchestrator.domain.prime_plan import PlannedBatch, PrimePlan, Turn
from orchestrator.domain.priming import CacheUse

MOST = 40


def mixed(count: int) -> list[dict[str, object]]:
    """Three prefixes in turn, and requests between them that share nothing."""
    books = [marked(count, f"{number} {LONG}") for number in range(3)]
    rows = [row for rows in zip(*books, strict=True) for row in rows]
    return [
        each
        for number, row in enumerate(rows)
        for each in ((row, message(f"plain {number}")) if number % 9 == 0 else (row,))
    ]


@pytest.mark.parametrize(
    ("params", "use", "ahead"),
    [
        (marked(90), "prime", ["r1"]),
        (mixed(30), "prime", ["r1", "r3", "r4"]),
        (marked(90), "off", []),
        (marked(2), "prime", []),
        (marked(3, "word " * 4_000, model="claude-haiku-5-5"), "prime", []),
        (alike(60), "auto", ["r1"]),
        ([*alike(50), *(message(f"plain {number}") for number in range(70))], "auto", ["r1"]),
        ([message(f"plain {number}") for number in range(100)], "prime", []),
    ],
    ids=[
        "one prefix",
        "three and others",
        "off",
        "too few",
        "saves too little",
        "auto",
        "auto and others",
        "no prefix",
    ],
)
@in_a_loop
async def test_the_batches_that_are_told_are_those_that_are_made(
    tmp_path: Path, params: list[dict[str, object]], use: str, ahead: list[str]
) -> None:
    """To the byte, in their order, with those that go ahead; whatever the planner finds worth sending ahead."""
    told = PrimePlan(CacheUse(use))
    told.add([(f"r{number}", msgspec.json.encode(row)) for number, row in enumerate(params, start=1)])
    assert told.ahead(TABLE) == ahead
    batches = told.batches(Caps(requests=MOST, size_bytes=WIDE), TABLE)
    assert sum(batch.turn is Turn.AHEAD for batch in batches) == bool(ahead)
    async with new_world(tmp_path / "store.db", max_bytes=WIDE, max_requests=MOST, max_in_flight_batches=50) as world:
        job = await world.submit(params=params, cache=use)
        await world.settle()
        made = [(batch.count, batch.size_bytes) for batch in await world.batches(job.id)]
    assert [each[:2] for each in batches] == made
    assert batches[0] == PlannedBatch(*made[0], Turn.AHEAD if ahead else Turn.AT_ONCE)
