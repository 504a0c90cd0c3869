"""The sandbox's books: what became of every request, to check a client's own books against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestrator.sandbox.batch import Batch, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """What became of one request that the API accepted: the truth to check a client's books against.

    `outcome` is None while its batch runs; `billed` is true when it succeeded; `params_sha256` is hexadecimal.
    """

    batch_id: str
    custom_id: str
    params_sha256: str
    outcome: Outcome | None
    billed: bool


def ledger_rows(batches: Iterable[Batch], now: datetime) -> Iterator[LedgerRow]:
    """The rows of all *batches* but the foreign ones, in the order of their bodies, as they stand at *now*."""
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
