"""The judge of a simulated world: what must hold in every committed state, at every POST, and at the end.

It knows the store's rows and the API's own books, and nothing of how the engine works. The names I1, I2, … are those
of the report (`docs/proof.md` explains each).
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.domain.result_outcome import INVALID_ANSWER
from orchestrator.sandbox import Machine
from orchestrator.sandbox.canned_results import ANSWERED, BAD_BYTES, ODD_KIND, RESULT
from orchestrator.store.limits import SQL
from proof.answers import is_invalid, is_rightly_again, keeps
from proof.ledger import Ledger
from proof.shelf import Looker, Shelf, looking

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
#: The costs that lie with results.
_BOOK: Final = SQL["book"]
_COSTS: Final = "SELECT request_id, cost_nanos FROM result"
_BOOKS: Final = "SELECT scope, key, spent_nanos, reserved_nanos FROM spending"
_LINES: Final = [f"{kind}{what}" for kind in ("kept", "retried", "late", "assumed") for what in ("", " unpriced")]
_OF_ANSWERS: Final = _LINES[:4]
_SETTLED: Final = ("succeeded", "failed", "canceled")
_HELD: Final = frozenset({"submitting", "in_doubt", "in_progress", "canceling"})
_CLOSED: Final = frozenset({"settled", "void", "abandoned"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """A job as its person handed it in: the custom ids with the sha256 of their params. canceled: it was asked for.

    aliases: where a marker may be added, the sha256 of params with it, and of those that were handed in. retry_invalid:
    how often an answer that does not match `answers.SCHEMA` is asked for again; None: it need not match. grown: by the
    sha256 of params, those of what a person may have had sent in their place, one after the other.
    """

    name: str
    requests: Mapping[str, str]
    canceled: bool
    aliases: Mapping[str, str]
    retry_invalid: int | None = None
    grown: Mapping[str, Sequence[str]] = field(default_factory=dict)


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
    """Collects violations.

    engines: how many share the store; of several one may still begin a POST that another has taken over, but never end
    it. window: the most batches that may be at the API; None: not judged.
    """

    shelf: Shelf
    machine: Machine
    engines: int = 1
    window: int | None = None
    violations: list[str] = field(default_factory=list)
    snapshots: int = 0
    _states: set[str] = field(default_factory=set)
    _job_states: set[str] = field(default_factory=set)
    _frozen: dict[int, tuple[object, ...]] = field(default_factory=dict)
    _closed: dict[int, str] = field(default_factory=dict)
    _totals: dict[int, int] = field(default_factory=dict)
    _sending: set[int] = field(default_factory=set)
    _held: int = 0
    _nonces: dict[str, str] = field(default_factory=dict)
    _pilots: dict[int, tuple[str, int | None]] = field(default_factory=dict)

    def blame(self, rule: str, words: str) -> None:
        """Note a violation; the first thirty are enough."""
        if len(self.violations) < 30:
            self.violations.append(f"{rule} {words}")

    def rewound(self) -> None:
        """An earlier copy is the store: what it had been since is not known to anybody any more."""
        for seen in (self._frozen, self._closed, self._totals, self._pilots):
            seen.clear()
        with looking(self.shelf) as c:
            self._sending = {row[0] for row in c.execute("SELECT id FROM batch WHERE state = 'submitting'")}

    def present(self) -> list[str]:
        """The states of batches and jobs in the last committed snapshot."""
        return sorted(self._states | self._job_states)

    # --- every committed state ------------------------------------------------------------------------------------

    def snapshot(self, c: Looker, *, tasks: int = 0) -> None:
        """I1, I3, I4, I5, I10, I11, I15, I16, I17, I19 on what is committed now; *tasks*: how many the engine runs."""
        self.snapshots += 1
        if tasks > MOST_TASKS * (1 if self.engines == 1 else 2):
            self.blame("I10", f"the engine runs {tasks} tasks")
        rows = c.execute("SELECT id, state, retries, batch_id, error_type, stop FROM request").fetchall()
        bodies = "SELECT request.id, body FROM request JOIN result ON result.request_id = coalesce(twin_of, request.id)"
        results = dict(c.execute(bodies))
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
        self._check_money(c, {row[0]: row[3] for row in rows if row[1] == "succeeded"})
        self._check_caps(c)
        self._check_pilots(c)
        self._check_twins(c)

    def _check_money(self, c: Looker, answered: Mapping[int, int]) -> None:
        """I15; *answered*: the batches of the successes, by request. Of a purged job the results are gone."""
        query = "SELECT batch_id, kind, cost_nanos, unpriced FROM ledger"
        lines = Counter[tuple[int, str]]()
        for batch, kind, nanos, unpriced in c.execute(query):
            lines.update({(batch, kind): nanos, (batch, f"{kind} unpriced"): unpriced})
        paid = Counter[tuple[int, str]]()
        costs = [(answered[key], "kept", cost) for key, cost in c.execute(_COSTS) if key in answered]
        costs += [(batch, "retried", cost) for batch, cost in c.execute("SELECT batch_id, cost_nanos FROM attempt")]
        for batch, kind, cost in costs:
            paid[batch, kind if cost is not None else f"{kind} unpriced"] += 1 if cost is None else cost
        batches = c.execute("SELECT batch.id, job_id, purged_at FROM batch JOIN job ON job.id = job_id").fetchall()
        spent = Counter[tuple[int, str]]()
        for batch, job, purged in batches:
            of = {name: lines[batch, name] for name in _LINES}
            if purged is None and any(of[name] != paid[batch, name] for name in _OF_ANSWERS):
                self.blame("I15", f"batch {batch}: the ledger has {of}, its answers cost {paid}")
            for name, sum_of in of.items():
                spent[job, "unpriced" if "unpriced" in name else "spent"] += sum_of
        for job, nanos, unpriced in c.execute("SELECT id, spent_nanos, unpriced FROM job"):
            if (nanos, unpriced) != (spent[job, "spent"], spent[job, "unpriced"]):
                self.blame("I15", f"job {job} spent {nanos}, {unpriced} unpriced; the ledger has {spent}")

    def _check_caps(self, c: Looker) -> None:
        """I16: by the API's own bill, which sees batches that the store does not know of."""
        owners = dict(c.execute("SELECT nonce, job_id FROM batch"))
        bill = self.machine.bill()
        billed = Counter[int]()
        days = Counter[str]()
        for remote, nanos in bill.by_batch.items():
            billed[owners.get(self._nonce_of(remote), 0)] += nanos
            days[self.machine._by_id[remote].created_at.date().isoformat()] += nanos
        rows = c.execute("SELECT id, cap_nanos, spent_nanos, reserved_nanos FROM job WHERE cap_nanos IS NOT NULL")
        for job, cap, spent, reserved in rows.fetchall():
            if not billed[job] <= spent + reserved <= cap:
                self.blame(
                    "I16", f"job {job}: billed {billed[job]}, {spent} spent, {reserved} reserved, the cap is {cap}"
                )
        held = Counter[int]()
        for job, nanos in c.execute("SELECT job_id, reserved_nanos FROM batch WHERE reserved_nanos > 0"):
            held[job] += nanos
        if {job: nanos for job, nanos in c.execute("SELECT id, reserved_nanos FROM job") if nanos} != dict(held):
            self.blame("I16", f"jobs have reserved something else than their batches: {dict(held)}")
        total = c.execute(_BOOK, {"scope": "total", "key": ""}).fetchone()
        jobs = c.execute("SELECT coalesce(sum(spent_nanos), 0), coalesce(sum(reserved_nanos), 0) FROM job").fetchone()
        if tuple(map(int, total)) != tuple(map(int, jobs)):
            self.blame("I16", f"all jobs together have {jobs}, the total says {total}")

        self._check_budgets(c, {("total", ""): bill.total_nanos, **{("day", day): days[day] for day in days}})

    def _check_budgets(self, c: Looker, billed: Mapping[tuple[str, str], int]) -> None:
        """I16 for all jobs together; a day is one of the API's clock, whatever ours says."""
        books = {(scope, key): sums for scope, key, *sums in c.execute(_BOOKS)}
        for scope, cap in c.execute("SELECT scope, cap_nanos FROM budget").fetchall():
            for place in {at for at in (*books, *billed) if at[0] == scope}:
                spent, reserved = books.get(place, (0, 0))
                if not billed.get(place, 0) <= spent + reserved <= cap:
                    told = f"billed {billed.get(place, 0)}, {spent} spent, {reserved} reserved, the budget is {cap}"
                    self.blame("I16", f"{' '.join(place)}: {told}")

    def _check_pilots(self, c: Looker) -> None:
        """I17: nothing but its pilot is sent of a job while that goes; it ends with its last request, and is kept.

        Of a trial nothing else is sent after it, either, until it is left.
        """
        rows = c.execute("SELECT id, pilot, trial, state FROM job WHERE pilot IS NOT NULL").fetchall()
        for job, pilot, trial, state in rows:
            query = (
                "SELECT request.state, piloted.request_id IS NULL FROM request"
                " LEFT JOIN piloted ON piloted.request_id = request.id WHERE request.job_id = ?"
            )
            found = Counter((bool(other), one) for one, other in c.execute(query, (job,)))
            others = {
                one: count for (other, one), count in found.items() if other and one not in {"queued", "canceled"}
            }
            if (pilot != "over" or trial is not None) and others:
                self.blame("I17", f"job {job}: {others} are not of the pilot, which goes on")
            before, tried = self._pilots.get(job, (pilot, trial))
            if pilot == "over" and before != "over" and (tried is None or trial is not None):
                still = found[False, "queued"] + found[False, "batched"]
                if still or (before == "wait") != (state == "paused"):
                    self.blame("I17", f"job {job} is {state}, and its pilot over, with {still} of it open")
            self._pilots[job] = pilot, trial

    def _check_twins(self, c: Looker) -> None:
        """I19: what waits for an identical request waits, or has what that has. That it is not sent is I2."""
        query = (
            "SELECT twin.id, twin.state, original.state, twin.result_id, original.result_id FROM request AS twin"
            " JOIN request AS original ON original.id = twin.twin_of WHERE twin.state <> 'queued'"
        )
        for number, state, wanted, result, own in c.execute(query).fetchall():
            if (state, result) != (wanted, own):
                self.blame("I19", f"request {number & 0xFFFFFFFF} is {state}, and what is sent for it is {wanted}")
        counts = (
            "SELECT job.id, twins, twins_waiting, twins_succeeded, count(request.id),"
            " count(*) FILTER (WHERE request.state = 'queued'), count(*) FILTER (WHERE request.state = 'succeeded')"
            " FROM job JOIN request ON request.job_id = job.id AND request.twin_of IS NOT NULL"
            " WHERE job.state <> 'importing' GROUP BY job.id"
        )
        for job, *found in c.execute(counts).fetchall():
            if found[:3] != found[3:]:
                self.blame("I19", f"job {job} counts its twins as {found[:3]}, and has {found[3:]}")

    def _nonce_of(self, remote: str) -> str:
        found = self._nonces.get(remote)
        if found is None:
            found = self._nonces[remote] = next(iter(self.machine._by_id[remote].rows())).custom_id.partition("-")[0]
        return found

    def check_spent(self) -> None:
        """I16, at the end: where every cost is known, what was spent is what the API bills."""
        with looking(self.shelf) as c:
            spent, unpriced = c.execute("SELECT sum(spent_nanos), sum(unpriced) FROM job").fetchone()
            assumed = c.execute("SELECT coalesce(sum(cost_nanos), 0) FROM ledger WHERE kind = 'assumed'").fetchone()[0]
        billed = self.machine.bill().total_nanos
        if not unpriced and not assumed and spent != billed:
            self.blame("I16", f"{spent} were spent, and the API bills {billed}")

    def _check_counts(self, c: Looker, counted: Counter[tuple[int, str]]) -> None:
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
        held = sum(state in _HELD for _, state, _, _ in rows)
        if self.window is not None and held > max(self.window, self._held):
            self.blame("I6", f"{held} batches are at the API, or may be, where {self.window} are allowed")
        self._held = held
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
        query = "SELECT nonce FROM batch WHERE sent_at IS NOT NULL AND cursor_date IS NOT NULL"
        query += " AND state = 'submitting'" if self.engines == 1 else ""
        with looking(self.shelf) as c:
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
        handed = list(jobs)
        ledger = Ledger(self.machine, {marked: plain for job in handed for marked, plain in job.aliases.items()})
        for nonce, batches in ledger.nonces.items():
            if len(batches) > 1:
                self.blame("I2", f"the body of {nonce} was taken {len(batches)} times")
        self._check_neighbours(terms.deleted)
        known = {digest: job.retry_invalid for job in handed for digest in job.requests.values()}
        known |= {digest: job.retry_invalid for job in handed for some in job.grown.values() for digest in some}
        for digest, times in ledger.billed.items():
            if digest not in known:
                self.blame("I3", f"the API executed something that nobody handed in ({digest[:8]})")
            elif times > 1 and not (terms.twice_allowed or is_rightly_again(ledger.answers(digest), known[digest])):
                self.blame("I2", f"a request was paid for {times} times ({digest[:8]})")
        with looking(self.shelf) as c:
            for job in handed:
                self._check_job(c, job, ledger, terms)

    def _check_job(self, c: Looker, job: Handed, ledger: Ledger, terms: Terms) -> None:
        query = (
            "SELECT request.custom_id, request.state, request.error_type, batch.remote_id, result.body,"
            " batch.downloads, stop_reason.name FROM request JOIN job ON job.id = request.job_id"
            " LEFT JOIN batch ON batch.id = request.batch_id"
            " LEFT JOIN result ON result.request_id = coalesce(request.twin_of, request.id)"
            " LEFT JOIN stop_reason ON stop_reason.id = request.stop WHERE job.name = ? AND job.state <> 'importing'"
        )
        rows = c.execute(query, (job.name,)).fetchall()
        if sorted(row[0] for row in rows) != sorted(job.requests):
            self.blame("I1", f"{job.name}: {len(rows)} requests of {len(job.requests)} are stored, each once")
        for own, *row in rows:
            if own in job.requests:
                self._check_word(own, row, job, ledger, terms)

    def _check_word(self, own: str, row: list[Any], job: Handed, ledger: Ledger, terms: Terms) -> None:
        """The last word on a request, which is on what was handed in, or on what took its place."""
        first = job.requests[own]
        last = max((first, *job.grown.get(first, ())), key=ledger.sent_last)
        if words := _wrong(row, last, job, ledger, terms):
            self.blame("I3" if row[0] == "succeeded" else "I1", f"{job.name}/{own} {words}")

    def check_priming(self, jobs: Iterable[Handed]) -> None:
        """I18, where nothing goes wrong: of marked requests one goes ahead, and the others once its batch has ended."""
        for job in jobs:
            marked = set(job.aliases or job.requests.values())
            digests = [(batch, [row.digest.hex() for row in batch.rows()]) for batch in self.machine._batches]
            batches = [(batch, len(found)) for batch, found in digests if marked & set(found)]
            for place, (batch, count) in enumerate(batches):
                if (count == 1) != (place == 0):
                    self.blame("I18", f"{job.name}: batch {place + 1} of its prefix has {count} requests")
                if place and batch.created_at < batches[0][0].ends_at():
                    self.blame("I18", f"{job.name}: batch {place + 1} was made before the first had ended")

    def check_bounds(self, virtual_s: float) -> None:
        """I6: no endless trying; I10: the log of the database is small."""
        batches = len(self.machine._batches) + 1
        calls, days = self.machine.calls.total(), virtual_s / 86_400 + 1
        if calls > MOST_CALLS * batches * days * self.engines:
            self.blame("I6", f"{calls} calls of the API for {batches} batches in {days:.1f} days")
        if self.shelf.log_bytes > MOST_WAL_BYTES:
            self.blame("I10", f"the log has {self.shelf.log_bytes} bytes")

    def _check_neighbours(self, deleted: Collection[str]) -> None:
        for batch in self.machine._batches:
            if batch.foreign and (batch.cancel_at is not None or (batch.deleted and batch.id not in deleted)):
                self.blame("I9", f"a neighbour's batch was touched: {batch.id}")


def _wrongly_invalid(body: bytes, answers: Sequence[bytes], job: Handed) -> str | None:
    """As `_wrong`, of a request that has failed because of its answers."""
    is_tried = job.canceled or len(answers) == (job.retry_invalid or 0) + 1
    is_kept = bool(answers) and keeps(body, answers[-1])
    return None if is_tried and is_kept else f"is invalid after {len(answers)} answers, or does not keep the last"


def _wrong(row: list[Any], digest: str, job: Handed, ledger: Ledger, terms: Terms) -> str | None:
    """What is wrong with the last word on a request; None if it is what the API's books allow."""
    state, error, remote, body, downloads, stop = row
    if state == "succeeded":
        right = ledger.billed[digest] > 0 and body == ledger.served(digest, remote)
        right = right and stop == json.loads(body)["message"]["stop_reason"]
        right = right and (job.retry_invalid is None or not is_invalid(body))
        return None if right else f"has an answer that is invalid, or not what the API served from {remote}"
    answers = [] if job.retry_invalid is None else ledger.answers(digest)
    if error == INVALID_ANSWER:
        return _wrongly_invalid(body, answers, job)
    left_out = error == "missing_result" and downloads is not None and downloads >= PATIENCE
    if left_out or _kept(body, ledger.served(digest, remote)):
        return None  # it never came in that many whole downloads over a day, or it is here as it came (promise 3)
    is_spoilt = bool(answers) and all(map(is_invalid, answers))  # each was paid for, and none of them will do
    # Else it is in the spare results of a duplicate.
    if ledger.billed[digest] and not terms.twice_allowed and not is_spoilt:
        return f"is {state} ({error}), but was paid for"
    if state == "canceled":
        return None if job.canceled else "is canceled, though nobody canceled its job"
    said = body is not None and ledger.said(digest, error, terms.attempts) and ledger.has_served(digest, body)
    is_said = state == "failed" and (said or error in terms.refused)
    return None if is_said else f"is {state} ({error}), which the API never said for good"


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
