"""Counts are kept by the schema: after any walk, in every committed snapshot, they are what counting the rows gives."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.store_world import META, NOW, ROOM, finish, lines, lost, new_job, open_store, raw, remote, settle_all, won
from support.length import some_of

from orchestrator.domain.ids import JobId, Nonce
from orchestrator.domain.model import BatchRow, JudgedLine
from orchestrator.domain.packing import Caps, pack
from orchestrator.domain.result_outcome import Outcome
from orchestrator.store.sqlite_store import SqliteStore

STATES = ("queued", "batched", "succeeded", "failed", "canceled")


class Walk:
    """One job of an open store, pushed about by chance; every step is one facet call on whatever row it finds."""

    def __init__(self, store: SqliteStore, job: JobId, chance: random.Random) -> None:
        self.store, self.job, self.chance = store, job, chance
        self.added = self.nonces = 0

    def nonce(self) -> Nonce:
        """A nonce of its own for every batch."""
        self.nonces += 1
        return Nonce(f"{self.nonces:020}")

    async def grow(self) -> None:
        """More requests, some of them known already."""
        count = self.chance.randint(1, 9)
        ids = [f"r{self.added + i - self.chance.randint(0, 1) * 3}" for i in range(count)]
        job = await self.store.commands.get(self.job)
        if job.state in {"running", "paused"} and job.still_open:
            await self.store.ingest.extend(self.job, lines(dict.fromkeys(ids), first_line=self.added + 1), NOW)
            self.added += count

    async def plan(self) -> None:
        """A batch of some of what waits."""
        caps = Caps(requests=self.chance.randint(1, 6), size_bytes=10**6)
        found = await self.store.plan.queued(self.job, 20, lambda rows: pack(rows, caps))
        if found.numbers:
            await self.store.plan.plan(await self.store.commands.get(self.job), found, self.nonce(), ROOM, NOW)

    async def send(self) -> None:
        """An intent and one of its ends."""
        for batch in await self.store.submit.sendable(1):
            sent = await self.store.submit.intend(batch, None, META, NOW)
            assert sent is not None
            end = self.chance.randrange(6)
            if end == 0:
                await self.store.submit.give_back(sent, "busy", NOW, cut=False)
            elif end == 1:
                await self.store.submit.doubt(sent, "reset", NOW)
            elif end == 2 and batch.count > 1:
                await self.store.bisect.halve(sent, (self.nonce(), self.nonce()), "413", NOW)
            elif end == 3:
                named = (self.chance.randrange(batch.count), "invalid_request_error", "bad", b"{}")
                await self.store.bisect.abandon(sent, "400", NOW, failed=named)
            else:
                await self.store.submit.accept(sent, remote(batch.nonce, batch.count), META, NOW)

    async def resolve(self) -> None:
        """A doubt ends either way."""
        for batch in await self.store.doubt.in_doubt():
            if self.chance.random() < 0.5:
                await self.store.doubt.void(batch, NOW, "never seen", NOW)
            else:
                await self.store.doubt.claim(batch, remote(batch.nonce, batch.count), NOW)

    async def end(self) -> None:
        """The API stops working on a batch, and lines of it come, some twice."""
        for batch in (await self.store.poll.watched())[:1]:
            await self.store.poll.ended(batch, remote(batch.nonce, batch.count), NOW)
        for batch in await self.store.collect.to_collect(NOW, 1):
            numbers = await self._members(batch)
            await self.store.collect.store_lines(batch, [self._line(n) for n in numbers for _ in range(2)], NOW)
            await self.store.collect.collected(batch, NOW)

    async def settle(self) -> None:
        """The last word, and perhaps the job's end."""
        for batch in await self.store.settle.to_settle():
            await settle_all(self.store, batch, max_attempts=2)
        await self.store.settle.finish_jobs(NOW)

    async def command(self) -> None:
        """A person."""
        control, choice = self.store.commands, self.chance.randrange(5)
        if choice == 0:
            await control.pause(self.job, "by_hand", "why not", NOW)
        elif choice in {1, 2}:
            await control.resume(self.job, NOW)
        elif choice == 3:
            await self.store.retries.retry(self.job, (), NOW)
        elif self.chance.random() < 0.2:
            await control.cancel(self.job, NOW)

    async def _members(self, batch: BatchRow) -> list[int]:
        taken = await self.store.params.slice(batch.id, 0, 10**9)
        return [number for number, _ in taken]

    def _line(self, number: int) -> JudgedLine:
        outcome = self.chance.choice([each for each in Outcome if each is not Outcome.REPLACED])
        return won(number) if outcome is Outcome.SUCCEEDED else lost(number, outcome)

    async def step(self) -> None:
        """One of them."""
        steps: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (
            self.grow, self.plan, self.plan, self.send, self.send, self.resolve, self.end, self.end, self.settle,
            self.command,
        )  # fmt: skip
        await self.chance.choice(steps)()


def walked(seed: int, *, inline: bool) -> None:
    """A walk of sixty steps; after each the counts are compared with counting."""

    async def walk(path: Path) -> Counter[str]:
        reached: Counter[str] = Counter()
        async with open_store(path, inline=inline) as store:
            job = await store.ingest.begin(new_job(still_open=True), "job-1", NOW)
            await finish(store, job.id, still_open=True)
            walker = Walk(store, job.id, random.Random(seed))
            with closing(raw(path)) as outside:
                await walker.grow()  # a walk may begin with a cancel
                reached.update(check(outside))
                for _ in range(60):
                    await walker.step()
                    reached.update(check(outside))
        return reached

    with tempfile.TemporaryDirectory() as folder:
        reached = asyncio.run(walk(Path(folder) / "store.db"))
        assert reached["batched"] + reached["queued"] > 0


@pytest.mark.sqlite
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), inline=st.booleans())
def test_counts_are_what_counting_gives_in_every_committed_snapshot(seed: int, inline: bool) -> None:
    """`status` answers from counts: they must be right whatever happened, and add up at any instant."""
    walked(seed, inline=inline)


@pytest.mark.postgres
@pytest.mark.parametrize("seed", some_of(range(25), 3))
@pytest.mark.usefixtures("on_postgres")
def test_counts_on_a_server_are_what_counting_gives(seed: int) -> None:
    """The same there, where the triggers are others; on threads and on none in turn."""
    walked(seed, inline=seed % 2 == 0)


def check(outside: Any) -> Counter[str]:
    """Compare the job's counts with its rows, from another connection, in one snapshot."""
    outside.execute("BEGIN")
    kept = outside.execute("SELECT total, queued, batched, succeeded, failed, canceled FROM job").fetchone()
    rows: Counter[str] = Counter(dict(outside.execute("SELECT state, count(*) FROM request GROUP BY state")))
    results = outside.execute(
        "SELECT count(*) FROM request LEFT JOIN result ON request_id = request.id"
        " WHERE (result.id IS NULL) = (request.state IN ('succeeded', 'failed'))"
    ).fetchone()[0]
    strays = outside.execute(
        "SELECT count(*) FROM request JOIN batch ON batch.id = batch_id WHERE request.state = 'batched'"
        " AND batch.state IN ('settled', 'void', 'abandoned')"
    ).fetchone()[0]
    outside.execute("ROLLBACK")
    assert kept == (rows.total(), *(rows[state] for state in STATES))
    assert results == 0, "succeeded and failed rows have a result, the others have none"
    assert strays == 0, "a request waits in a batch that is closed"
    return rows
