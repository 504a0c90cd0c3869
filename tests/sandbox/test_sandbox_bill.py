"""The sandbox's own bill: the published prices by hand, and what of a batch's life is charged."""

import ast
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sandbox.sandbox_world import HOUR, MODEL, World, body, http_client, run, still_sandbox
from sandbox.test_sandbox_cache import create, row, usages

import orchestrator.sandbox
from orchestrator.sandbox import Bill, Machine
from orchestrator.sandbox.bill import AnswerUsage, SideCall, TokenCounts, nanos_of
from orchestrator.sandbox.model_catalog import KNOWN_MODELS

MINUTE = timedelta(minutes=1)
OWN = {
    "orchestrator.domain." + name for name in ("answer_schema", "api_versions", "batches_api", "create_body", "errors")
}
OWN |= {"orchestrator.prompt_server"}  # a server, which knows nothing of what it serves

PRICED: dict[str, tuple[AnswerUsage, int]] = {
    "the worst of a row": (AnswerUsage("claude-haiku-4-5", TokenCounts(1000, 64)), 660_000),
    "a short answer": (AnswerUsage("claude-haiku-4-5", TokenCounts(1000, 10)), 525_000),
    "a write for an hour": (AnswerUsage("claude-haiku-4-5", TokenCounts(1200, 30, write_1h=11_189)), 11_864_000),
    "the read of it": (AnswerUsage("claude-haiku-4-5", TokenCounts(1200, 30, read=11_189)), 1_234_450),
    "a dated id": (AnswerUsage("claude-haiku-4-5-20251001", TokenCounts(1000, 10)), 525_000),
    "up to the tier": (AnswerUsage("claude-haiku-5-5", TokenCounts(100_000, 0)), 5_000_000),
    "over the tier": (AnswerUsage("claude-haiku-5-5", TokenCounts(100_001, 0)), 25_000_250),
    "over it with what is cached": (
        AnswerUsage("claude-haiku-5-5", TokenCounts(1, 0, write_5m=50_000, read=50_000)),
        (500 + 50_000 * 625 + 50_000 * 50) // 2,
    ),
    "anywhere": (AnswerUsage("claude-sonnet-5-5", TokenCounts(1000, 100)), 1_500_000),
    "in the US": (AnswerUsage("claude-sonnet-5-5", TokenCounts(1000, 100), geo="us"), 1_650_000),
    "everywhere": (AnswerUsage("claude-sonnet-5-5", TokenCounts(1000, 100), geo="global"), 1_500_000),
    "a free refusal": (AnswerUsage("claude-opus-5-5", TokenCounts(1000, 0), is_charged=False), 0),
    "a charged refusal": (AnswerUsage("claude-opus-5-5", TokenCounts(1000, 0)), 2_000_000),
    "a compaction": (
        AnswerUsage(
            "claude-sonnet-4-6",
            TokenCounts(162, 11),
            beside=(SideCall("compaction", "claude-sonnet-4-6", TokenCounts(99_195, 81)),),
        ),
        149_725_500,
    ),
    "an advisor of its own price": (
        AnswerUsage(
            "claude-haiku-4-5",
            TokenCounts(100, 10),
            beside=(SideCall("advisor_message", "claude-opus-5", TokenCounts(1000, 100)),),
        ),
        75_000 + 3_750_000,
    ),
    "searches, which have no batch price": (
        AnswerUsage("claude-haiku-4-5", TokenCounts(1000, 10), searches=3, geo="us"),
        577_500 + 30_000_000,
    ),
    "a write for five minutes": (AnswerUsage("claude-sonnet-5-5", TokenCounts(0, 0, write_5m=10_000)), 12_500_000),
    "half a nano-dollar is a whole one": (AnswerUsage("claude-haiku-5-5", TokenCounts(0, 0, write_5m=1)), 63),
}


@pytest.mark.parametrize("case", PRICED)
def test_an_answer_costs_what_the_price_page_says(case: str) -> None:
    """By hand, in nano-dollars, rounded up once."""
    usage, nanos = PRICED[case]
    assert nanos_of(usage) == nanos


def test_every_model_has_a_price_and_no_other_is_guessed() -> None:
    """Nothing is free by mistake."""
    for model in KNOWN_MODELS:
        assert nanos_of(AnswerUsage(model, TokenCounts(1, 1))) > 0
    with pytest.raises(LookupError, match="claude-opus-4-10"):
        nanos_of(AnswerUsage("claude-opus-4-10", TokenCounts(1, 1)))


def total(machine: Machine) -> int:
    """The bill, which is the sum of its rows however it is cut."""
    bill = machine.bill()
    rows = list(machine.billed_rows())
    assert sum(row.nanos for row in rows) == bill.total_nanos
    assert sum(bill.by_model.values()) == sum(bill.by_batch.values()) == bill.total_nanos
    for batch, nanos in bill.by_batch.items():
        assert sum(row.nanos for row in rows if row.batch_id == batch) == nanos
    return bill.total_nanos


def test_rows_are_billed_when_they_are_answered() -> None:
    """Not at the create, not at the end of the batch; nor twice."""
    world = World(batch_seconds=(600, 600))
    batch = world.machine.create(body(500))
    seen = []
    for _ in range(12):
        seen.append(total(world.machine))
        world.advance(MINUTE)
    assert seen == sorted(seen)
    assert seen[0] == 0 < seen[3] < seen[7] < seen[10] == seen[11]
    assert world.machine.bill().by_model == {MODEL: seen[11]}
    assert list(world.machine.bill().by_batch) == [batch.id]


def test_what_nobody_looks_for_is_billed_and_what_was_not_done_is_not() -> None:
    """A create without an answer, a deleted batch, the part of a canceled one; no errors, no neighbours."""
    world = World(batch_seconds=(600, 600), faults={"error": 0.5})
    canceled, deleted = (world.machine.create(body(400, prefix=name)) for name in ("c", "d"))
    world.machine.add_foreign(1000)
    world.advance(5 * MINUTE)
    world.machine.cancel(canceled.id)
    world.advance(HOUR)
    counts = {batch.id: world.machine.retrieve(batch.id).request_counts.succeeded for batch in (canceled, deleted)}
    world.machine.delete(deleted.id)
    total(world.machine)
    rows = [row.batch_id for row in world.machine.billed_rows()]
    assert {batch: rows.count(batch) for batch in set(rows)} == counts
    assert 0 < counts[canceled.id] < counts[deleted.id] < 300


def test_the_bill_of_a_row_is_that_of_the_usage_it_shows() -> None:
    """Cold, a prefix costs twice its price; primed, a tenth: Sonnet 5, half of $2 a million."""
    world = World(instant=True)
    rows = [row(f"q{n}", ttl="1h", model="claude-sonnet-5", max_tokens=1) for n in range(50)]
    for line, price in (("cache_creation_input_tokens", 2000), ("cache_read_input_tokens", 100)):
        before = total(world.machine)
        found = usages(world, *rows)
        assert all(usage[line] > 5000 for usage in found)
        shown = sum(usage[line] * price + usage["input_tokens"] * 1000 + 5000 for usage in found)
        assert total(world.machine) - before == shown


def test_the_bill_survives_with_the_journal(tmp_path: Path) -> None:
    """A sandbox that was killed goes on counting."""
    first = still_sandbox(journal=tmp_path / "journal", batch_seconds=(60, 60))
    create(first.machine, *(row(f"q{n}") for n in range(50)))
    first.clock.advance(HOUR)
    create(first.machine, *(row(f"again{n}") for n in range(50)))
    first.clock.advance(HOUR)
    second = still_sandbox(journal=tmp_path / "journal", batch_seconds=(60, 60))
    second.clock.advance(HOUR)
    assert second.machine.bill() == first.machine.bill()
    for sandbox in (first, second):
        sandbox.close()


def test_the_bill_can_be_read_over_http() -> None:
    """As the other books are."""

    async def story() -> None:
        sandbox = still_sandbox(instant=True)
        async with http_client(sandbox, "over TCP") as client:
            empty = (await client.get("/sandbox/bill")).json()
            assert empty == {"total_nanos": 0, "by_model": {}, "by_batch": {}}
            sandbox.machine.create(body(10))
            assert Bill(**(await client.get("/sandbox/bill")).json()) == sandbox.machine.bill()

    run(story())


def test_a_model_without_a_price_is_said_and_not_billed_as_nothing() -> None:
    """Only a catalogue that a test brings can have one."""

    async def story() -> None:
        card = replace(KNOWN_MODELS[MODEL], id="claude-new-9")
        sandbox = still_sandbox(instant=True, models={card.id: card})
        sandbox.machine.create(body(1, model=card.id))
        async with http_client(sandbox, "in process") as client:
            answer = await client.get("/sandbox/bill")
            assert (answer.status_code, answer.json()) == (400, {"error": "the sandbox has no price for claude-new-9"})

    run(story())


def test_the_sandbox_takes_nothing_of_the_product_but_the_words_of_the_api() -> None:
    """A bill that shares code with the ledger it checks proves nothing."""
    imported = set()
    for path in Path(orchestrator.sandbox.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "orchestrator.domain":
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    ours = {name for name in imported if name.startswith("orchestrator") and ".sandbox" not in name}
    assert ours == OWN
    assert not {name for name in imported if name.partition(".")[0] == "genai_prices"}
