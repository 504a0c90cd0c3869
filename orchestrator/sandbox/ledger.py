"""The sandbox's ledger, the truth about every request, and an audit that compares it with what a client asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from orchestrator.sandbox.journal import replay
from orchestrator.sandbox.sandbox_batch import Outcome, SandboxBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """The outcome of one request that the API accepted.

    `outcome` is None while its batch runs; `billed` is true when it succeeded; `params_sha256` is hexadecimal.
    """

    batch_id: str
    custom_id: str
    params_sha256: str
    outcome: Outcome | None
    billed: bool


def ledger_rows(batches: Iterable[SandboxBatch], now: datetime) -> Iterator[LedgerRow]:
    """The rows of all *batches* but foreign ones, in the order of their bodies, as of *now*."""
    for batch in batches:
        if batch.foreign:
            continue
        ended = batch.has_ended(now)
        for row in batch.rows():
            outcome = batch.outcome(row) if ended else None
            yield LedgerRow(
                batch_id=batch.id,
                custom_id=row.custom_id,
                params_sha256=row.digest.hex(),
                outcome=outcome,
                billed=outcome == "succeeded",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """The findings of an audit.

    requests: asked for. batches: at the API. lost: asked for, but not executed or not answered. paid_twice: billed
    beyond what was asked for.
    """

    requests: int
    batches: int
    lost: int
    paid_twice: int

    @property
    def is_clean(self) -> bool:
        """True if every request was executed, answered, and billed at most once."""
        return self.lost == 0 and self.paid_twice == 0


class Audit:
    """Takes the API's *rows*, then each request that was asked for; `books` has the findings.

    Requests are identified by the sha256 of their params. Equal ones are counted, so two of them may be billed twice.
    """

    def __init__(self, rows: Iterable[LedgerRow]) -> None:
        self._executed: Counter[str] = Counter()
        self._billed: Counter[str] = Counter()
        self._batches: set[str] = set()
        self._requests = 0
        self._lost = 0
        for row in rows:
            self._batches.add(row.batch_id)
            self._executed[row.params_sha256] += row.outcome is not None
            self._billed[row.params_sha256] += row.billed

    def ask(self, params_sha256: str, *, is_answered: bool) -> None:
        """Add a request that was asked for. is_answered: its own result was written out."""
        self._requests += 1
        self._lost += not is_answered or self._executed[params_sha256] <= 0
        self._executed[params_sha256] -= 1
        self._billed[params_sha256] -= 1

    def books(self) -> AuditResult:
        """The findings, once every request was added."""
        return AuditResult(
            requests=self._requests,
            batches=len(self._batches),
            lost=self._lost,
            paid_twice=sum(more for more in self._billed.values() if more > 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What a journal says once its writer is gone: the kills in order, and the rows of the ledger."""

    kills: tuple[str, ...]
    rows: Iterable[LedgerRow]


def witness(journal: Path) -> Witness:
    """Read *journal*. The rows are as of the end of all batches, also those that nobody watches."""
    with journal.open("rb") as file:
        held = replay(file)
    end = max((batch.ends_at() for batch in held.batches), default=None)
    return Witness(kills=tuple(held.kills), rows=() if end is None else ledger_rows(held.batches, end))
