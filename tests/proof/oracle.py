"""The judge of a simulated world: what must hold in every committed state, at every POST, and at the end.

It knows the store's rows and the API's own books, and nothing of how the engine works. The names I1, I2, … are those
of the report (`docs/proof.md` explains each).
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestrator.sandbox import Machine
from orchestrator.sandbox.canned_results import ANSWERED, BAD_BYTES, ODD_KIND, RESULT
from orchestrator.store.connect import connect_reader
from proof.ledger import Ledger

_RAW: Final = re.compile(rb'"raw_base64":"([^"]*)"')
_NONCE: Final = re.compile(rb'"custom_id":"([^"-]+)-')
#: A dozen stages, their slots, what one call of the API needs, the people; whatever grows without bound passes it soon.
MOST_TASKS: Final = 80
#: A batch a day: polling, waiting and trying again is polite below this (I6).
MOST_CALLS: Final = 2000
#: SQLite's log; a checkpoint that never comes would let it grow (I10).
MOST_WAL_BYTES: Final = 64 * 1024 * 1024
#: Whole downloads before the last one that may leave a result out for good.
PATIENCE: Final = 9
_SETTLED: Final = ("succeeded", "failed", "canceled")
_CLOSED: Final = frozenset({"settled", "void", "abandoned"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """A job as its person handed it in: the custom ids with the sha256 of their params. canceled: it was asked for."""

    name: str
    requests: Mapping[str, str]
    canceled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a world allows.

    attempts: how often a request is tried. deleted: what neighbours deleted of their own. refused: the errors with
    which whole creates were refused. twice_allowed: the world broke the assumption of promise 2.
    """

    attempts: int
    deleted: Collection[str]
    refused: Collection[str]
    twice_allowed: bool


@dataclass(slots=True)
class Oracle:
    """Collects violations."""

    path: Path
    machine: Machine
    violations: list[str] = field(default_factory=list)
    snapshots: int = 0
    _states: set[str] = field(default_factory=set)
    _job_states: set[str] = field(default_factory=set)
    _frozen: dict[int, tuple[object, ...]] = field(default_factory=dict)
    _closed: dict[int, str] = field(default_factory=dict)
    _totals: dict[int, int] = field(default_factory=dict)
    _sending: set[int] = field(default_factory=set)

    def blame(self, rule: str, words: str) -> None:
        """Note a violation; the first thirty are enough."""
        if len(self.violations) < 30:
            self.violations.append(f"{rule} {words}")

    def rewound(self) -> None:
        """An earlier copy is the store: what it had been since is not known to anybody any more."""
        for seen in (self._frozen, self._closed, self._totals):
            seen.clear()
        with closing(connect_reader(self.path)) as c:
            self._sending = {row[0] for row in c.execute("SELECT id FROM batch WHERE state = 'submitting'")}

    def present(self) -> list[str]:
        """The states of batches and jobs in the last committed snapshot."""
        return sorted(self._states | self._job_states)

    # --- every committed state ------------------------------------------------------------------------------------

    def snapshot(self, c: sqlite3.Connection, *, tasks: int = 0) -> None:
        """I1, I3, I4, I5, I10, I11 on what is committed now; *tasks*: how many the engine runs."""
        self.snapshots += 1
        if tasks > MOST_TASKS:
            self.blame("I10", f"the engine runs {tasks} tasks")
        rows = c.execute("SELECT id, state, retries, batch_id, error_type, stop FROM request").fetchall()
        results = dict(c.execute("SELECT request_id, body FROM result"))
        self._check_counts(c, Counter((row[0] >> 32, row[1]) for row in rows))
        stops = Counter((row[0] >> 32, row[5]) for row in rows if row[5] is not None)
        if stops != {
            (job, stop): count for job, stop, count in c.execute("SELECT job_id, stop, count FROM stop_count")
        }:
            self.blame("I4", f"the counts of stop reasons are not those of the requests: {dict(stops)}")
        for number, state, retries, batch, error, stop in rows:
            if state in _SETTLED:
                self._check_frozen(number, (state, retries, batch, error, results.get(number), stop))
        batches = c.execute(
            "SELECT batch.id, batch.state, collected, job.state FROM batch JOIN job ON job.id = batch.job_id"
        )
        self._check_batches(batches.fetchall())

    def _check_counts(self, c: sqlite3.Connection, counted: Counter[tuple[int, str]]) -> None:
        query = "SELECT id, state, total, queued, batched, succeeded, failed, canceled FROM job"
        self._job_states.clear()
        for job, state, total, *by_state in c.execute(query):
            self._job_states.add(f"job {state}")
            names = ("queued", "batched", *_SETTLED)
            found = [counted[job, name] for name in names]
            if found != by_state or sum(by_state) != total:
                self.blame("I4", f"job {job}: {by_state} of {total}, but its requests are {found}")
            if state != "importing" and self._totals.setdefault(job, total) != total:
                self.blame("I1", f"job {job} had {self._totals[job]} requests and has {total}")

    def _check_frozen(self, number: int, row: tuple[object, ...]) -> None:
        before = self._frozen.get(number)
        if before is None or before[1] != row[1]:  # a person asked to retry
            self._frozen[number] = row
        elif before != row:
            self.blame("I5", f"request {number & 0xFFFFFFFF} was {before[:4]} and is {row[:4]}")
        if row[0] == "succeeded" and row[4] is None:
            self.blame("I3", f"request {number & 0xFFFFFFFF} succeeded without a result")

    def _check_batches(self, rows: Iterable[tuple[int, str, int, str]]) -> None:
        self._states.clear()
        sending: set[int] = set()
        for batch, state, collected, job in rows:
            self._states.add(state)
            if state == "submitting":
                sending.add(batch)
                if batch not in self._sending and job != "running":
                    self.blame("I8", f"batch {batch} is sent although its job is {job}")
            before = self._closed.get(batch)
            now = state if state in _CLOSED else "collected" if collected else None
            if before in _CLOSED and now != before:
                self.blame("I11", f"batch {batch} was {before} and is {state}")
            if before == "collected" and now is None:
                self.blame("I11", f"batch {batch} was collected and is not any more")
            if now is not None:
                self._closed[batch] = now
        self._sending = sending

    # --- every POST -----------------------------------------------------------------------------------------------

    def intents(self) -> set[str]:
        """The nonces whose intent to POST is on the disk, with its cursor, and whose answer is not."""
        query = "SELECT nonce FROM batch WHERE state = 'submitting' AND sent_at IS NOT NULL AND cursor_date IS NOT NULL"
        with closing(connect_reader(self.path)) as c:
            return {row[0] for row in c.execute(query)}

    def body_arrives(self, begun: bytes, intents: set[str]) -> bool:
        """I8: a create of which *begun* has come began while *intents* were on the disk. True once it can be told."""
        found = _NONCE.search(begun)
        if found is not None and found[1].decode() not in intents:
            self.blame("I8", f"a POST of {found[1].decode()} began without a stored intent")
        return found is not None

    # --- the end --------------------------------------------------------------------------------------------------

    def at_the_end(self, jobs: Iterable[Handed], terms: Terms) -> None:
        """I1, I2, I3, I9 by the API's own books."""
        handed, ledger = list(jobs), Ledger(self.machine)
        for nonce, batches in ledger.nonces.items():
            if len(batches) > 1:
                self.blame("I2", f"the body of {nonce} was taken {len(batches)} times")
        self._check_neighbours(terms.deleted)
        known = {digest for job in handed for digest in job.requests.values()}
        for digest, times in ledger.billed.items():
            if digest not in known:
                self.blame("I3", f"the API executed something that nobody handed in ({digest[:8]})")
            elif times > 1 and not terms.twice_allowed:
                self.blame("I2", f"a request was paid for {times} times ({digest[:8]})")
        with closing(connect_reader(self.path)) as c:
            for job in handed:
                self._check_job(c, job, ledger, terms)

    def _check_job(self, c: sqlite3.Connection, job: Handed, ledger: Ledger, terms: Terms) -> None:
        query = (
            "SELECT request.custom_id, request.state, request.error_type, batch.remote_id, result.body,"
            " batch.downloads, stop_reason.name FROM request JOIN job ON job.id = request.job_id"
            " LEFT JOIN batch ON batch.id = request.batch_id LEFT JOIN result ON result.request_id = request.id"
            " LEFT JOIN stop_reason ON stop_reason.id = request.stop WHERE job.name = ? AND job.state <> 'importing'"
        )
        rows = c.execute(query, (job.name,)).fetchall()
        if sorted(row[0] for row in rows) != sorted(job.requests):
            self.blame("I1", f"{job.name}: {len(rows)} requests of {len(job.requests)} are stored, each once")
        for own, *row in rows:
            if own in job.requests and (words := _wrong(row, job.requests[own], job, ledger, terms)):
                self.blame("I3" if row[0] == "succeeded" else "I1", f"{job.name}/{own} {words}")

    def check_bounds(self, virtual_s: float) -> None:
        """I6: no endless trying; I10: the log of the database is small."""
        batches = len(self.machine._batches) + 1
        calls, days = self.machine.calls.total(), virtual_s / 86_400 + 1
        if calls > MOST_CALLS * batches * days:
            self.blame("I6", f"{calls} calls of the API for {batches} batches in {days:.1f} days")
        wal = self.path.with_name(f"{self.path.name}-wal")
        if wal.exists() and wal.stat().st_size > MOST_WAL_BYTES:
            self.blame("I10", f"the log has {wal.stat().st_size} bytes")

    def _check_neighbours(self, deleted: Collection[str]) -> None:
        for batch in self.machine._batches:
            if batch.foreign and (batch.cancel_at is not None or (batch.deleted and batch.id not in deleted)):
                self.blame("I9", f"a neighbour's batch was touched: {batch.id}")


def _wrong(row: list[Any], digest: str, job: Handed, ledger: Ledger, terms: Terms) -> str | None:
    """What is wrong with the last word on a request; None if it is what the API's books allow."""
    state, error, remote, body, downloads, stop = row
    if state == "succeeded":
        right = ledger.billed[digest] > 0 and body == ledger.served(digest, remote)
        right = right and stop == json.loads(body)["message"]["stop_reason"]
        return None if right else f"has an answer that is not what the API served from {remote}"
    left_out = error == "missing_result" and downloads is not None and downloads >= PATIENCE
    if left_out or _kept(body, ledger.served(digest, remote)):
        return None  # it never came in that many whole downloads over a day, or it is here as it came (promise 3)
    if ledger.billed[digest] and not terms.twice_allowed:  # else it is in the spare results of a duplicate
        return f"is {state} ({error}), but was paid for"
    if state == "canceled":
        return None if job.canceled else "is canceled, though nobody canceled its job"
    said = body is not None and ledger.said(digest, error, terms.attempts) and ledger.has_served(digest, body)
    if state == "failed" and (said or error in terms.refused):
        return None
    return f"is {state} ({error}), which the API never said for good"


def _kept(body: bytes | None, served: bytes | None) -> bool:
    """True if *body* holds what the API *served*, spoilt for good by one of the sandbox's lasting faults."""
    if body is None or served is None:
        return False
    odd = served.replace(ANSWERED, ODD_KIND, 1)
    if body == odd != served:
        return True
    found = _RAW.search(body)
    line = b"" if found is None else base64.b64decode(found[1])
    plain = line.replace(RESULT + BAD_BYTES, RESULT, 1)
    return plain != line and plain.endswith((RESULT[:-1] + served + b"}", RESULT[:-1] + odd + b"}"))


def has_secret(paths: Iterable[Path], secret: bytes) -> list[str]:
    """I7: the files that hold *secret*."""
    return [path.name for path in paths if path.is_file() and secret in path.read_bytes()]
