"""The simulation itself: its time, its deaths, its network, its judge."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from proof.loop import PROCESS, SimLoop, Stuck, run
from proof.oracle import Oracle
from proof.shelf import FileShelf, ServerShelf
from support.stores import Databases, RawServer
from support.world import in_a_loop, new_world


def test_a_day_passes_in_no_time_and_in_order() -> None:
    """Virtual time jumps from timer to timer; nothing else moves it."""
    loop = SimLoop()
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, hours: float) -> None:
        await asyncio.sleep(hours * 3600)
        seen.append((name, loop.time() / 3600))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for name, hours in (("c", 24.0), ("a", 1.0), ("b", 2.5)):
                group.create_task(sleeper(name, hours))

    run(loop, main())
    assert seen == [("a", 1.0), ("b", 2.5), ("c", 24.0)]


def test_a_world_in_which_nothing_can_happen_says_so() -> None:
    """A simulation that hangs is a finding, not a pause."""

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        run(SimLoop(), main())


def test_a_killed_process_does_nothing_more_and_the_world_goes_on() -> None:
    """Not a timer, not a `finally`; only what other processes do goes on."""
    loop = SimLoop()
    said: list[str] = []

    async def process() -> None:
        try:
            said.append(f"process {PROCESS.get()} lives")
            await asyncio.sleep(10)
            said.append("it lives on")
        finally:
            await asyncio.sleep(0)
            said.append("it cleans up")

    async def main() -> None:
        task = loop.spawn(process(), 7, "victim")
        await asyncio.sleep(5)
        loop.kill(7)
        await asyncio.sleep(100)
        said.append(f"done: {task.done()}")

    run(loop, main())
    assert said == ["process 7 lives", "done: False"]


def test_threads_are_calls_on_the_spot() -> None:
    """`asyncio.to_thread` gives its result, or its error, without a thread."""

    def fails() -> None:
        raise ValueError("as it is")

    async def main() -> int:
        with pytest.raises(ValueError, match="as it is"):
            await asyncio.to_thread(fails)
        return await asyncio.to_thread(lambda: 42)

    assert run(SimLoop(), main()) == 42


BROKEN = (
    ("I4", "UPDATE job SET succeeded = succeeded + 1, total = total + 1"),
    ("I5", "UPDATE request SET error_type = 'x' WHERE state = 'succeeded'"),
    ("I3", "DELETE FROM result"),
    ("I15", "UPDATE job SET spent_nanos = spent_nanos + 1"),
    ("I15", "UPDATE result SET cost_nanos = NULL"),
    ("I15", "UPDATE ledger SET unpriced = 1"),
    ("I11", "UPDATE batch SET state = 'in_progress', settled_at = NULL, collected = 0"),
)


@pytest.mark.parametrize(("rule", "damage"), BROKEN)
@in_a_loop
async def test_the_judge_sees_a_store_that_breaks_its_promise(tmp_path: Path, rule: str, damage: str) -> None:
    """A judge that cannot condemn proves nothing: each rule is broken by hand, past the schema's own guards."""
    async with new_world(tmp_path / "store.db") as world:
        await world.submit(3)
        await world.settle()
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as c:
            oracle = Oracle(FileShelf(tmp_path / "store.db"), world.machine)
            oracle.snapshot(c)
            assert oracle.violations == []
            for (name,) in c.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                c.execute(f"DROP TRIGGER {name}")
            c.execute(damage)
            oracle.snapshot(c)
        assert any(words.startswith(rule) for words in oracle.violations), oracle.violations


@pytest.mark.postgres
@in_a_loop
async def test_the_judge_finds_the_key_in_a_database(tmp_path: Path, on_postgres: Databases) -> None:
    """I7, where no file can be looked through: every row of every table, its texts and its bytes."""
    async with new_world(tmp_path / "store.db"):
        shelf = ServerShelf(on_postgres.url_of(tmp_path / "store.db"))
        assert shelf.has_store
        assert shelf.holding("sk-ant-secret") == []
        with closing(RawServer(on_postgres.url_of(tmp_path / "store.db"))) as c:
            c.execute("INSERT INTO stop_reason (name) VALUES (?)", ("a sk-ant-secret",))
        assert shelf.holding("sk-ant-secret") == ["stop_reason"]


@in_a_loop
async def test_the_judge_sees_a_post_without_an_intent(tmp_path: Path) -> None:
    """I8: a body whose nonce is not among the stored intents."""
    async with new_world(tmp_path / "store.db") as world:
        oracle = Oracle(FileShelf(tmp_path / "store.db"), world.machine)
        body = b'{"requests":[{"custom_id":"abcdefghij0123456789-1","params":'
        assert not oracle.body_arrives(body[:12], set())
        assert oracle.body_arrives(body, {"abcdefghij0123456789"})
        assert oracle.violations == []
        assert oracle.body_arrives(body, oracle.intents())
        assert [words[:2] for words in oracle.violations] == ["I8"]
