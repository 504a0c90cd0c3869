"""Any order of what people, time, crashes and a faulty API do, against a model of what must hold (T9).

The engine, store and provider are the real ones, time is virtual. `sequences.py` runs it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from support.mortal import Fuse, Killed, on_a_fuse
from support.world import message, new_world, next_life

from orchestrator.domain.ids import JobId
from orchestrator.domain.states import JobState
from orchestrator.sandbox import MachineSettings
from proof.books import FINAL, Books, Row

T = TypeVar("T")

FOR_EVER: Final = 10**9
#: How long a call is waited for, in real time: so long that a busy computer never decides what happens.
PATIENCE: Final = timedelta(minutes=4)
KEYS: Final = {"ours": "wrkspc_a", "theirs": "wrkspc_b"}
STAGES: Final = ("recover", "mend", "plan", "submit", "doubt", "poll", "collect", "settle", "sweep")
#: What one call may meet; half of the creates lose an answer. Not the faults that hang: they take real time.
FAULTS: Final = {
    "create": (
        *("drop_after_accept", "error_after_accept", "garbled_after_accept") * 5,
        *("drop", "500", "529", "429", "refuse", "drop_mid", "413", "400", "401", "402", "403", "spend"),
        *("409", "html_200", "redirect"),
    ),
    "list": ("500", "429", "drop", "html_200", "401"),
    "retrieve": ("404", "500", "drop"),
    "results": ("cut_clean", "cut_line", "cut_reset", "404", "500", "html_200"),
    "cancel": ("404", "500", "drop", "401"),
}
#: What rows, lines and the list may be like for a while.
TROUBLES: Final[tuple[dict[str, float], ...]] = (
    {},
    {"garbled": 0.2, "duplicated": 0.2, "foreign_lines": 0.1, "blank_lines": 0.1},
    {"expire": 0.3, "error": 0.2},
    {"invalid": 0.2, "missing_once": 0.2},
    {"credit_row": 0.1, "overloaded": 0.2},
    {"list_lag": 600, "flicker404": 0.2},
)
#: Without a person's retry a job goes these ways only, in any number of steps.
REACHABLE: Final = {
    JobState.RUNNING: frozenset(JobState) - {JobState.IMPORTING},
    JobState.PAUSED: frozenset(JobState) - {JobState.IMPORTING},
    JobState.CANCELING: frozenset({JobState.CANCELING, JobState.CANCELED}),
    JobState.FINISHED: frozenset({JobState.FINISHED}),
    JobState.CANCELED: frozenset({JobState.CANCELED}),
}


@dataclass(slots=True)
class Handed:
    """A job as whoever handed it in knows it. sent: what the API had of it when its cancel was committed."""

    id: JobId
    name: str
    total: int
    state: JobState = JobState.RUNNING
    sent: frozenset[str] | None = None
    settled: dict[int, Row] = field(default_factory=dict)


class OrchestratorMachine(RuleBasedStateMachine):
    """One store over many lives, one API with two workspaces, and a few jobs."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self._stack = AsyncExitStack()
        self._fuse = Fuse(FOR_EVER)
        self._failed = False
        self.key = "ours"
        self.jobs: list[Handed] = []
        self.world = self.run(self._stack.enter_async_context(self._born()))
        self.run(self._without_threads())
        self.books = Books(self.world.machine, Path(self._folder.name) / "store.db")

    def _born(self) -> Any:
        machine = MachineSettings(batch_seconds=(60, 600), valid_keys=KEYS)
        path, wrap = Path(self._folder.name) / "store.db", on_a_fuse(self._fuse)
        return new_world(path, machine=machine, key=self.key, max_requests=8, patience=PATIENCE, wrap=wrap)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* to its end; a failure is remembered, so that the end is not judged as well."""
        try:
            return self._runner.run(work)
        except BaseException:
            self._failed = True
            raise

    def job(self, at: int) -> Handed:
        """One of the jobs."""
        return self.jobs[at % len(self.jobs)]

    # --- people -------------------------------------------------------------------------------------------------------

    @initialize(counts=st.lists(st.integers(1, 30), min_size=1, max_size=2))
    def begin(self, counts: list[int]) -> None:
        """There is something to do."""
        for count in counts:
            self.submit(count, like=1)

    @precondition(lambda self: len(self.jobs) < 4)
    @rule(count=st.integers(1, 30), like=st.integers(0, 3))
    def submit(self, count: int, like: int) -> None:
        """A new job; every now and then with the params of an earlier one, which is a purchase of its own."""
        name = f"job{len(self.jobs)}"
        text = self.jobs[0].name if like == 0 and self.jobs else name
        params = [message(f"{text} question {number}") for number in range(1, count + 1)]
        job = self.run(self.world.submit(name=name, params=params))
        self.jobs.append(Handed(job.id, text, count))

    @precondition(lambda self: sum(job.sent is None for job in self.jobs) > 1)
    @rule(at=st.integers(0, 3))
    def cancel(self, at: int) -> None:
        """Stop a job for good; one is left."""
        job = self.job(at)
        if self.run(self.world.commands.cancel(job.id)):
            job.sent = self.books.sent(job.id)

    @precondition(lambda self: self.jobs)
    @rule(at=st.integers(0, 3))
    def pause(self, at: int) -> None:
        """Send nothing new."""
        self.run(self.world.commands.pause(self.job(at).id))

    @precondition(lambda self: self.jobs)
    @rule(at=st.integers(0, 3))
    def resume(self, at: int) -> None:
        """Go on."""
        self.run(self.world.commands.resume(self.job(at).id))

    @precondition(lambda self: self.jobs)
    @rule(at=st.integers(0, 3))
    def retry(self, at: int) -> None:
        """What failed or was canceled is wanted after all."""
        job = self.job(at)
        if self.run(self.world.commands.retry(job.id, ())):
            job.state, job.sent = JobState.RUNNING, None
            job.settled = {number: row for number, row in job.settled.items() if row.state == "succeeded"}

    @precondition(lambda self: self.books.running())
    @rule(at=st.integers(0, 20))
    def stop_in_the_console(self, at: int) -> None:
        """Somebody cancels a batch outside of this program."""
        running = self.books.running()
        self.books.stop(running[at % len(running)])

    @rule(size=st.sampled_from([1, 2, 6, 8]), count=st.integers(1, 3), whose=st.sampled_from(sorted(KEYS)))
    def neighbours(self, size: int, count: int, whose: str) -> None:
        """Others in the same workspace send batches of our sizes."""
        self.world.machine.add_foreign(size, workspace=KEYS[whose], count=count)

    # --- time, crashes, faults ----------------------------------------------------------------------------------------

    @rule(stages=st.lists(st.sampled_from(STAGES), min_size=1, max_size=4))
    def tick(self, stages: list[str]) -> None:
        """Some stages, in any order."""
        self.run(self.world.tick(*stages))

    @rule(minutes=st.sampled_from([1, 1, 5, 25]), rounds=st.integers(1, 4))
    def live(self, minutes: int, rounds: int) -> None:
        """Whole rounds, and time between them."""
        for _ in range(rounds):
            self.run(self.world.round())
            self.world.advance(timedelta(minutes=minutes))

    @rule(key=st.sampled_from(["ours", "ours", "theirs", "revoked"]), skew_h=st.sampled_from([0, 0, 24, -24]))
    def next_life(self, key: str, skew_h: int) -> None:
        """The process dies; the next one may have another key, and a clock that was set."""
        self.key = key
        self.world.advance(timedelta(hours=skew_h), api=timedelta(seconds=20))
        self.run(self._reborn())

    @rule(sparks=st.integers(0, 60), stages=st.lists(st.sampled_from(STAGES[1:]), min_size=1, max_size=4))
    def die_inside(self, sparks: int, stages: list[str]) -> None:
        """The process dies at some step inside its stages."""
        self.run(self._killed_after(sparks, stages))

    @rule(sparks=st.sampled_from(range(14, 40)))
    def die_sending(self, sparks: int) -> None:
        """The process dies around the POST of the first or second batch that waits."""
        self.run(self.world.tick("plan"))
        self.run(self._killed_after(sparks, ["submit"]))

    @rule(fault=st.sampled_from(FAULTS["create"]), times=st.integers(1, 3), more=st.booleans())
    def send_into(self, fault: str, times: int, more: bool) -> None:
        """Batches go out, and the answers to the first of them are not what they should be."""
        self.world.script("create", fault, times)
        self.run(self.world.tick("plan", "submit"))
        self.world.advance(timedelta(minutes=3))
        if more:
            self.run(self.world.tick("submit", "doubt"))

    @rule(fault=st.sampled_from(FAULTS["results"]), times=st.integers(1, 3))
    def collect_from(self, fault: str, times: int) -> None:
        """Batches end, and the first downloads are not what they should be."""
        self.world.script("results", fault, times)
        self.world.advance(timedelta(minutes=11))
        self.run(self.world.tick("poll", "collect", "settle"))

    @rule(where=st.sampled_from(["list", "retrieve", "cancel"]), which=st.integers(0, 99), times=st.integers(1, 3))
    def fault(self, where: str, which: int, times: int) -> None:
        """The next calls of an endpoint go wrong."""
        self.world.script(where, FAULTS[where][which % len(FAULTS[where])], times)

    @rule(minutes=st.sampled_from([12, 25, 40]))
    def doubt_ends(self, minutes: int) -> None:
        """Enough time for what is in doubt to be looked for."""
        self.run(self.world.tick("doubt"))
        self.world.advance(timedelta(minutes=minutes))
        self.run(self.world.tick("doubt", "poll", "collect", "settle"))

    @rule(trouble=st.sampled_from(TROUBLES))
    def trouble(self, trouble: dict[str, float]) -> None:
        """From now on, until the next one."""
        self.world.machine.plan.set(trouble)

    async def _reborn(self) -> None:
        born = next_life(self.world, key=self.key, patience=PATIENCE, wrap=on_a_fuse(self._fuse))
        self.world = await self._stack.enter_async_context(born)
        await self._without_threads()

    async def _without_threads(self) -> None:
        """The SDK (2.12) asks a thread for the platform at its first call: then chance orders two uploads."""
        clients = await self.world.provider._clients()
        clients.reads._platform = clients.creates._platform = "Unknown"

    async def _killed_after(self, sparks: int, stages: list[str]) -> None:
        self._fuse.left = sparks
        try:
            await self.world.tick(*stages)
        except Killed:
            pass
        except BaseExceptionGroup as group:
            if group.subgroup(Killed) is None:
                raise
        finally:
            self._fuse.left = FOR_EVER
        await self._reborn()

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        """Counts add up, what is settled stays, nothing is paid for twice, and a stop is a stop."""
        try:
            for job in self.jobs:
                self._check(job)
            self.books.check_purchases()
        except BaseException:
            self._failed = True
            raise

    def _check(self, job: Handed) -> None:
        state, rows = self.books.job(job.id)
        assert state in REACHABLE[job.state], (job, state)
        assert len(rows) == job.total
        job.state = state
        for number, row in job.settled.items():
            assert rows[number] == row, "what is settled never changes"
        job.settled = {number: row for number, row in rows.items() if row.state in FINAL}
        if job.sent is not None:
            assert self.books.sent(job.id) == job.sent, "nothing is sent after a cancel"

    # --- the end ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Faults stop; people resume what is paused, with the key that each batch needs; then all is settled."""
        try:
            if not self._failed:
                self.run(self._come_to_an_end())
                self.holds()
                for job in self.jobs:
                    self._check_end(job)
        finally:
            self._runner.run(self._stack.aclose())
            self._runner.close()
            self.books.close()
            self._folder.cleanup()

    async def _come_to_an_end(self) -> None:
        self.world.machine.plan.set({})
        self.world.machine.plan._scripts.clear()
        for self.key in _by_turns(8):
            await self._reborn()
            for job in self.jobs:
                await self.world.commands.resume(job.id)
            for _ in range(40):
                await self.world.round()
                if self.books.all_over():
                    return
                self.world.advance(timedelta(minutes=5))
        raise AssertionError([await self.world.status(job.id) for job in self.jobs])

    def _check_end(self, job: Handed) -> None:
        """Every request has its one outcome, and is paid for exactly if it succeeded; a stopped job bought no more."""
        state, rows = self.books.job(job.id)
        wanted = JobState.FINISHED if job.sent is None else JobState.CANCELED
        assert state is wanted, (job, state)
        outcomes = {"succeeded", "failed"} if job.sent is None else {"succeeded", "failed", "canceled"}
        assert {row.state for row in rows.values()} <= outcomes
        paid = self.books.paid(job.id)
        for number, row in rows.items():
            assert paid[number] == (row.state == "succeeded"), (job, number, row)
            if row.state == "succeeded":
                assert f'{job.name} question {number}"' in str(row.body), "the answer is another question's"


def _by_turns(count: int) -> Iterator[str]:
    """The keys that work, over and over."""
    for _ in range(count):
        yield from KEYS
