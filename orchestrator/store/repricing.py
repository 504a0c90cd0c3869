"""Facet of `prices --reprice`: answers whose cost was not known, and the cost that is found for them later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import humanize
from orchestrator.domain.billing import Kind, Payment, Tokens
from orchestrator.domain.ids import MAX_NUMBER, BatchId, JobId, RequestId, request_id
from orchestrator.ports.job_store import RepriceStore, Unpriced
from orchestrator.store import facet, history, ledger, reservations, sql_rows
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = ledger.SQL


class SqlRepriceStore(facet.Facet, RepriceStore):
    """Moves answers from the line of an unknown price to that of a known one, slice by slice."""

    @override
    @facet.bulk_snapshot
    def unpriced(self, c: SqlConnection, job: JobId, above: RequestId, limit: int) -> list[Unpriced]:
        first = max(above, request_id(job, 0))
        values = {"above": first, "high": request_id(job, MAX_NUMBER), "limit": limit}
        return [_unpriced(row) for row in sql_rows.dict_rows(c.execute(SQL["unpriced"], values))]

    @override
    @facet.transaction
    def priced(self, c: SqlConnection, job: JobId, found: Sequence[tuple[Unpriced, Payment]], now: datetime) -> int:
        # Batches first: who stores lines of one waits for its row, and meets nobody who waits for the job.
        for batch in sorted({each.batch_id for each, _ in found}):
            reservations.lock(batch, c)
        ids = json.dumps([each.result_id for each, _ in found])
        open_ones = {row[0] for row in c.execute(SQL["still_unpriced"], {"ids": ids})}
        new = [(each, payment) for each, payment in found if each.result_id in open_ones]
        prices = ledger.price_ids([payment for _, payment in new], c)
        c.update_rows(
            SQL["price_results"], [(each.result_id, *ledger.columns(payment, prices)) for each, payment in new]
        )
        for batch, some in _by_batch(new).items():
            _move_lines(ledger.Account(job, batch), some, prices, c)
        if new:
            history.record(c, now, "job.repriced", job=job, why=humanize.count(len(new), "answer"))
        return len(new)


def _unpriced(row: dict[str, Any]) -> Unpriced:
    return Unpriced(
        request_id=RequestId(row["request_id"]),
        result_id=row["result_id"],
        batch_id=BatchId(row["batch_id"]),
        created_at=sql_rows.from_text(row["created_at"]),
        price_id=row["price_id"],
        extra=row["extra"],
        body=row["body"],
    )


_Found = tuple[Unpriced, Payment]


def _by_batch(found: Sequence[_Found]) -> dict[BatchId, list[_Found]]:
    batches: dict[BatchId, list[_Found]] = {}
    for each, payment in found:
        batches.setdefault(each.batch_id, []).append((each, payment))
    return dict(sorted(batches.items()))


def _move_lines(account: ledger.Account, new: Sequence[_Found], prices: ledger.PriceIds, c: SqlConnection) -> None:
    """From the lines that said nothing to those of the prices."""
    lines: dict[int, ledger.Sums] = {}
    for price, sums in (line for each, payment in new for line in _old_lines(each, payment)):
        lines[price] = lines.get(price, ledger.Sums()).plus(sums)
    for price, sums in sorted(lines.items()):
        ledger.take_back(account, Kind.KEPT, price, sums, c)
    _take_back_unlisted(account, [each for each, _ in new if each.price_id is None], c)
    ledger.enter(account, Kind.KEPT, [payment for _, payment in new], prices, c)


def _old_lines(each: Unpriced, payment: Payment) -> list[tuple[int, ledger.Sums]]:
    """What was entered for an answer without a price: its tokens, by the same reading of the same bytes."""
    if each.price_id is None:
        return []
    tokens = Tokens() if payment.tokens is None else payment.tokens
    extras = [] if each.extra is None else json.loads(each.extra)
    more = [(part["price"], Tokens() if part["tokens"] is None else Tokens(**part["tokens"])) for part in extras]
    return [
        (each.price_id, ledger.Sums(1, *tokens, 0, 1, output_squares=float(tokens.output**2))),
        *((price, ledger.Sums(0, *counts)) for price, counts in more),
    ]


def _take_back_unlisted(account: ledger.Account, some: Sequence[Unpriced], c: SqlConnection) -> None:
    """Of answers that an earlier version stored: those that are in the ledger, as far as its migration found them."""
    if some:
        day = sql_rows.day_of(some[0].created_at)
        values = {"batch_id": account.batch, "day": day}
        row = c.execute(SQL["listed_unknown"], values).fetchone()
        count = 0 if row is None else min(len(some), row[0])
        if count:
            ledger.take_back_unknown(account, Kind.KEPT, day, count, c)
