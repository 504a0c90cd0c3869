"""The machine as a simulator uses it: by itself, the same for the same seed, truthful in its ledger."""

import hashlib
import json
import subprocess
import sys
from datetime import timedelta

from sandbox.sandbox_world import HOUR, World, body, params


def test_the_same_seed_gives_the_same_bytes() -> None:
    """A failing simulation can be played again."""

    def play(seed: int) -> list[bytes]:
        world = World(seed=seed, faults={"error": 0.2, "expire": 0.1, "garbled": 0.1})
        batches = [world.machine.create(body(700, prefix=f"b{n}")) for n in range(3)]
        world.advance(HOUR)
        return [line for batch in batches for line in world.machine.results(batch.id)]

    assert play(1) == play(1)
    assert play(1) != play(2)


def test_a_rows_fate_does_not_depend_on_the_order_of_creates() -> None:
    """Two uploads that race must not change each other's fate."""

    def fates(order: list[str]) -> dict[str, str]:
        world = World(faults={"error": 0.3})
        batches = [world.machine.create(body(200, prefix=name, metadata={"user_id": name})) for name in order]
        world.advance(HOUR)
        return {name: fate for batch in batches for name, fate in world.outcomes(batch.id).items()}

    assert fates(["a", "b"]) == fates(["b", "a"])


def test_the_seed_alone_decides_under_any_hash_seed() -> None:
    """No order of a set or of a dict's hash leaks into an answer."""
    program = (
        "import hashlib, datetime as d; from orchestrator.sandbox import *\n"
        "at = [d.datetime(2026, 1, 1, tzinfo=d.UTC)]\n"
        "m = Machine(now=lambda: at[0], plan=FaultPlan(options={'error': .2, 'duplicated': .1}))\n"
        f"b = m.create({body(600)!r}); at[0] += d.timedelta(hours=1)\n"
        "print(hashlib.sha256(b''.join(m.results(b.id))).hexdigest())\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-"],
            input=program,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_the_ledger_is_the_truth_about_every_request() -> None:
    """What was executed and billed, by the hash of the params, deleted batches included."""
    world = World(faults={"error": 0.3})
    batch = world.machine.create(body(50))
    assert {(row.outcome, row.billed) for row in world.machine.ledger()} == {(None, False)}
    world.advance(HOUR)
    counts = world.machine.retrieve(batch.id).request_counts
    world.machine.delete(batch.id)
    rows = list(world.machine.ledger())
    assert sum(row.billed for row in rows) == counts.succeeded
    assert sum(row.outcome == "errored" for row in rows) == counts.errored > 0
    sent = json.dumps(params("question 7"), separators=(",", ":")).encode()
    assert rows[7].params_sha256 == hashlib.sha256(sent).hexdigest()


def test_a_new_sandbox_does_not_give_the_ids_of_an_old_one_again() -> None:
    """A store that outlives a sandbox would take two batches for one."""
    first, second = World(), World()
    second.advance(timedelta(seconds=1))
    assert first.machine.create(body(1)).id != second.machine.create(body(1)).id


def test_a_dropped_intake_leaves_nothing() -> None:
    """A body that never comes to its end is no create."""
    world = World()
    intake = world.machine.begin_create()
    intake.feed(body(1000)[:-10])
    del intake
    assert (world.machine.batches_created, world.machine.bodies_received) == (0, 0)
    assert list(world.machine.ledger()) == []


def test_two_intakes_at_once_do_not_mix() -> None:
    """Concurrent uploads are the normal case."""
    world = World()
    halves = [(name, body(900, prefix=name)) for name in ("a", "b")]
    intakes = [(world.machine.begin_create(), content) for _, content in halves]
    for start in range(0, len(halves[0][1]), 1000):
        for intake, content in intakes:
            intake.feed(content[start : start + 1000])
    made = [intake.accept() for intake, _ in intakes]
    world.advance(timedelta(hours=1))
    for (name, _), batch in zip(halves, made, strict=True):
        assert set(world.outcomes(batch.id)) == {f"{name}-{n}" for n in range(900)}


def test_the_books_tell_how_much_there_was_at_once() -> None:
    """Open creates, and with them the batches that have not ended: what a client's limits are judged by."""
    world = World(batch_seconds=(60, 60))
    traffic = world.machine.traffic
    for _ in range(2):
        with traffic.create(world.at):
            world.machine.create(body(1))
    with traffic.create(world.at), traffic.create(world.at):
        pass
    world.advance(HOUR)
    with traffic.create(world.at):
        world.machine.add_foreign(5, count=3)
    stats = world.machine.stats()
    assert (traffic.open_creates, stats["most_open_creates"], stats["most_in_flight"]) == (0, 2, 4)


def test_importing_the_sandbox_loads_no_http_library() -> None:
    """The command's start-up time is a promise."""
    heavy = ("httpx2", "uvicorn", "anthropic", "starlette", "asyncio")
    program = f"import sys, orchestrator.sandbox; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
