"""The store's books beside the API's: what each request is, and how often it was paid for. For looking only."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.domain.batches_api import ApiError
from orchestrator.domain.ids import JobId, Nonce, number_of, split_wire_id
from orchestrator.domain.states import JobState
from orchestrator.sandbox.machine import Machine
from orchestrator.sandbox.sandbox_settings import Caller

STATES: Final = ("queued", "batched", "succeeded", "failed", "canceled")
FINAL: Final = frozenset({"succeeded", "failed", "canceled"})
OVER: Final = (JobState.FINISHED, JobState.CANCELED)


@dataclass(frozen=True, slots=True)
class Row:
    """All that is stored of a request and could change."""

    state: str
    attempts: int
    batch: int | None
    error: str | None
    words: str | None
    body: bytes | None


class Books:
    """Reads the store through a connection of its own, and the sandbox's machine directly."""

    def __init__(self, machine: Machine, path: Path) -> None:
        self._machine = machine
        self._store = sqlite3.connect(path, isolation_level=None)
        self._wires: dict[str, tuple[tuple[Nonce, int], ...]] = {}  # by remote id; a batch never changes

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def job(self, job: JobId) -> tuple[JobState, dict[int, Row]]:
        """The job's state and its requests by number, in one snapshot; its counts are what counting gives."""
        self._store.execute("BEGIN")
        try:
            kept = self._store.execute(
                "SELECT state, total, queued, batched, succeeded, failed, canceled FROM job WHERE id = ?", (job,)
            ).fetchone()
            found = self._store.execute(
                "SELECT request.id, state, attempts, batch_id, error_type, error_message, body"
                " FROM request LEFT JOIN result ON request_id = request.id WHERE job_id = ?",
                (job,),
            ).fetchall()
        finally:
            self._store.execute("ROLLBACK")
        rows = {number_of(key): Row(*values) for key, *values in found}
        counts = Counter(row.state for row in rows.values())
        assert kept[1:] == (counts.total(), *(counts[state] for state in STATES)), "the counts add up"
        return JobState(kept[0]), rows

    def all_over(self) -> bool:
        """Every job has ended."""
        states = self._store.execute("SELECT state FROM job").fetchall()
        return all(state in OVER for (state,) in states)

    def sent(self, job: JobId) -> frozenset[str]:
        """The remote batches that carry a nonce of the job."""
        mine = self._nonces(job)
        return frozenset(remote for remote, wires in self._at_the_api() if wires[0][0] in mine)

    def paid(self, job: JobId) -> Counter[int]:
        """How often each request of the job, by its number, was billed."""
        mine = self._nonces(job)
        wires = (split_wire_id(row.custom_id) for row in self._machine.ledger() if row.billed)
        return Counter(wire[1] for wire in wires if wire is not None and wire[0] in mine)

    def check_purchases(self) -> None:
        """No POST without its intent, no wire id and no request billed twice, no duplicate counted."""
        query = "SELECT count(*) FROM event WHERE kind = 'batch.moved' AND new = 'submitting'"
        (intents,) = self._store.execute(query).fetchone()
        assert self._machine.calls["create"] <= intents
        billed = Counter(row.custom_id for row in self._machine.ledger() if row.billed)
        assert set(billed.values()) <= {1}, "a wire id is billed twice"
        for (job,) in self._store.execute("SELECT id FROM job").fetchall():
            assert set(self.paid(job).values()) <= {1}, "a request is paid for twice"
        assert self._store.execute("SELECT duplicates_total FROM meta").fetchone() == (0,)

    def running(self) -> list[tuple[str, str]]:
        """(remote id, workspace) of our batches that have not ended."""
        now = self._machine.now()
        ours = (batch for batch in self._machine._batches if not batch.foreign)
        return [(batch.id, batch.workspace) for batch in ours if not batch.has_ended(now) and batch.cancel_at is None]

    def stop(self, running: tuple[str, str]) -> None:
        """Cancel a batch as its owner could in the Console, unless the API does not show it just now."""
        with suppress(ApiError):
            self._machine.cancel(running[0], Caller(workspace=running[1]))

    def _nonces(self, job: JobId) -> set[str]:
        return {nonce for (nonce,) in self._store.execute("SELECT nonce FROM batch WHERE job_id = ?", (job,))}

    def _at_the_api(self) -> list[tuple[str, tuple[tuple[Nonce, int], ...]]]:
        for batch in self._machine._batches:
            if not batch.foreign and batch.id not in self._wires:
                found = (split_wire_id(row.custom_id) for row in batch.rows())
                self._wires[batch.id] = tuple(wire for wire in found if wire is not None)
        return list(self._wires.items())
