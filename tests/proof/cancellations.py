"""T16: tasks of the engine cancelled at random moments: no open transaction, no half step, no lock, nothing twice.

In this process, with SQLite on its own threads as in the program; the API is the sandbox behind its transport, and
time is moved by hand. Whatever was cut is picked up by the next tick, as after a crash.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from support.world import MemorySink, World, new_world

from orchestrator.domain.errors import StoreOwned
from orchestrator.store.connection import Thread
from orchestrator.store.ownership import Lock
from proof.campaign import MISCOUNTED, Broken, violation
from proof.tally import Tally

__all__ = ["cancellations"]

_PER_JOB: Final = 20
_PER_BATCH: Final = 5
_JOBS_AT_ONCE: Final = 6
_CHECK_EVERY: Final = 50
_ACCEPTED: Final = 5
_PATIENCE: Final = timedelta(seconds=0.5)  #: real time: an answer that hangs is soon given up
_TURNS: Final = 10  #: a task is left alone for up to 2 ** 10 turns of the loop


def cancellations(*, count: int = 10_000, seed: int = 16) -> Tally:
    """Start stages, intake and export as tasks, and cancel them at random moments until *count* were cut short."""
    began = time.monotonic()
    facts: Counter[str] = Counter()

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(_world(Path(folder) / "store.db", count, random.Random(seed), facts))

    found = violation(run, __name__, f"cancellations(count={count}, seed={seed})")
    return Tally(
        test="T16 tasks cancelled at random",
        unit="cancellations",
        trials=count,
        violations=found,
        seconds=time.monotonic() - began,
        facts=dict(facts),
    )


async def _world(path: Path, count: int, chance: random.Random, facts: Counter[str]) -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(str(context)))
    async with new_world(path, start=Thread.start, max_requests=_PER_BATCH, patience=_PATIENCE) as world:
        world.machine.plan.set({"hang_after_accept": 0.3})  # an answer that is awaited still when the task is cut
        await _storm(world, count, chance, facts)
        world.machine.plan.set({})
        await _cut_accepted(world, _ACCEPTED)
        _is_owned(path)
        await world.settle()
        await _check(world)
        await _account(world)
        query = "SELECT new, count(*) FROM event WHERE kind = 'batch.moved' GROUP BY new"
        for state, times in await world.store._database.read(lambda c: c.execute(query).fetchall()):
            facts[f"batches {state}"] = times
    Lock.take(path, patience_s=0).release()
    if complaints:
        raise Broken(f"exceptions that nobody asked for: {complaints[:3]}")


async def _storm(world: World, count: int, chance: random.Random, facts: Counter[str]) -> None:
    """Two tasks at a time, each cancelled at a moment of its own, until *count* were cut short."""
    cut, checked, jobs = 0, 0, 0
    while cut < count:
        works: dict[str, Coroutine[Any, Any, object]] = {
            name: world.tick(name) for name in chance.sample(list(world.stages), k=2)
        }
        if chance.random() < 0.3:
            if len(await _unfinished(world)) >= _JOBS_AT_ONCE:
                await world.round()  # in peace: on a slow computer few tasks live to their end, and no job would either
            else:
                jobs += 1
                works["intake"] = _take_in(world, f"job {jobs}")
        if jobs and chance.random() < 0.02:
            works["export"] = _export(world)
        for name in await _cut(works, chance):
            cut += 1
            facts[name] += 1
        if cut >= checked + _CHECK_EVERY:
            checked = cut
            await _check(world)
        world.advance(timedelta(seconds=chance.randrange(30)))


async def _cut_accepted(world: World, times: int) -> None:
    """Cut POSTs that the API has accepted, before their answers: how fast this computer is decides nothing here."""
    for number in range(times):
        await world.settle()  # after a create that failed only one is sent at a time: nothing may be under way
        await _take_in(world, f"accepted {number}")
        await world.tick("plan")
        world.script("create", "hang_after_accept", 2)
        made = world.machine.batches_created
        task = asyncio.create_task(world.tick("submit"))
        while world.machine.batches_created == made and not task.done():  # noqa: ASYNC110 - the machine has no events
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        world.machine.plan._scripts["create"].clear()
        if world.machine.batches_created == made:
            raise Broken("nothing was sent, although a batch was planned")


async def _cut(works: dict[str, Coroutine[Any, Any, object]], chance: random.Random) -> list[str]:
    """Run *works* side by side and cancel each at a random moment; the names of those that were cut short."""
    tasks = {asyncio.create_task(work, name=name): _turns(chance) for name, work in works.items()}
    for turn in range(max(tasks.values())):
        if all(task.done() for task in tasks):
            break
        for task, moment in tasks.items():
            if turn == moment:
                task.cancel()
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise Broken(f"{task.get_name()} failed: {error!r}") from error
    return [task.get_name() for task in tasks if task.cancelled()]


def _turns(chance: random.Random) -> int:
    """How many turns of the loop a task is left alone: mostly few, at times enough to come to its end."""
    return chance.randrange(2 ** chance.randint(1, _TURNS))


async def _take_in(world: World, name: str) -> None:
    await world.submit(_PER_JOB, name=name)


async def _export(world: World) -> None:
    from orchestrator.engine.export import export

    for job in await world.store.read(lambda reads: reads.jobs(limit=1)):
        await export(world.store, job.id, MemorySink())


async def _unfinished(world: World) -> list[object]:
    return list(await world.store.read(lambda reads: reads.unfinished()))


async def _check(world: World) -> None:
    """Between two cuts nothing is held and nothing is half. Raises Broken."""
    database = world.store._database
    for name in ("_writer", "_reader", "_bulk"):
        if await getattr(database, name).run(lambda c: c.in_transaction):
            raise Broken(f"a transaction of {name} was left open")
    if world.turns.uploads.active or world.turns.downloads.active:
        raise Broken("a slot holds a batch that no task works on")
    with closing(sqlite3.connect(world.path, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
            wrong = other.execute(MISCOUNTED).fetchall()
        except sqlite3.OperationalError as exc:
            raise Broken(f"a lock was left: {exc}") from exc
    if wrong:
        raise Broken(f"the counts of a job do not add up: {wrong}")


async def _account(world: World) -> None:
    """Every job that was taken in is answered whole, and paid for once. Raises Broken."""
    jobs = await world.store.read(lambda reads: reads.jobs(limit=100_000))
    whole = [job for job in jobs if job.state != "importing"]
    poor = [job.public_id for job in whole if job.requests.succeeded != _PER_JOB]
    bought = world.bought()
    twice = sum(times > 1 for times in bought.values())
    meta = await world.store.read(lambda reads: reads.meta())
    if poor or twice or len(bought) != _PER_JOB * len(whole) or meta.duplicates_total:
        raise Broken(
            f"of {len(whole)} jobs {len(poor)} are not answered; {len(bought)} requests were bought, {twice} twice"
        )


def _is_owned(path: Path) -> None:
    """The store's lock is held by its owner all the time. Raises Broken."""
    try:
        Lock.take(path, patience_s=0).release()
    except StoreOwned:
        return
    raise Broken("the store's lock was lost")
