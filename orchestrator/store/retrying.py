"""Facet of retry: settled requests are queued again, as they were sent last or with other params.

An answer that a person asks for again becomes an attempt, and what it cost stays in the books.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from typing_extensions import override

from orchestrator.domain import errors
from orchestrator.domain.billing import Kind, Tokens
from orchestrator.domain.ids import MAX_NUMBER, BatchId, JobId, RequestId, number_of, request_id
from orchestrator.domain.invalid_answers import cut_problem
from orchestrator.domain.param_change import NO_CHANGE, change_of
from orchestrator.domain.result_choice import INVALID
from orchestrator.domain.result_lines import charges_of
from orchestrator.domain.result_outcome import CUT_STOPS, INVALID_ANSWER, RETRIED_STOPS
from orchestrator.domain.states import JobState, RequestState
from orchestrator.ports.job_store import ChangedRequest, Retriable, RetryStore
from orchestrator.store import facet, history, job_control, ledger, prefixes, reservations, sql_rows, sql_text, twins
from orchestrator.store.payload import Blocks, Changes, number_of_change
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("retrying")
#: Requests of one slice; of answers, whose bodies become those of attempts, fewer.
_SLICE: Final = 10_000
_ANSWERS: Final = 500
#: In `only`: states of requests.
_FAILED: Final = "failed"
_CANCELED: Final = "canceled"
_Lines = dict[int, ledger.Sums]


class Settled(NamedTuple):
    """A settled request: its key, the number of its result, its state."""

    key: int
    result: int | None
    state: str


class _Chosen(NamedTuple):
    """The requests that are wanted, by a word or by why they failed; without either what failed or was canceled."""

    only: Collection[str]
    causes: Collection[str]


class SqlRetryStore(facet.Facet, RetryStore):
    """Each slice is a transaction, and goes on above the last: after a crash the same command does the rest."""

    @override
    async def retry(self, job: JobId, only: Collection[str], now: datetime, causes: Collection[str] = ()) -> int:
        done, above, chosen = 0, request_id(job, 0), _Chosen(only, causes)
        while (slice_ := await self._db.write(partial(_retry_slice, job, chosen, above, now))) is not None:
            count, above = slice_
            done += count
        return done

    @override
    @facet.bulk_snapshot
    def page(
        self,
        c: SqlConnection,
        job: JobId,
        only: Collection[str],
        above: int,
        limit_bytes: int,
        causes: Collection[str] = (),
    ) -> list[Retriable]:
        if _state_of(job, c) == JobState.CANCELING:
            return []
        found = _retriable(_Chosen(only, causes), request_id(job, above), c)
        return _read([each.key for each in found], limit_bytes, c)

    @override
    @facet.transaction
    def retry_changed(self, c: SqlConnection, job: JobId, changed: Sequence[ChangedRequest], now: datetime) -> int:
        state = _state_of(job, c)
        wanted = {request_id(job, each.number): each for each in changed}
        rows = c.execute(SQL["settled"], {"ids": json.dumps(list(wanted))}).fetchall()
        still = [Settled(key, result, was) for key, result, was, retries in rows if retries == wanted[key].retries]
        if state == JobState.CANCELING or not still:
            return 0
        _reopen(job, state, now, c)
        specs = sorted({each.spec for each in changed})
        numbers = {spec: number_of_change(job, spec, c) for spec in specs}
        told = [(each.key, wanted[RequestId(each.key)]) for each in still]
        count = queue_again(job, still, now, c, [(key, one.size_bytes, numbers[one.spec]) for key, one in told])
        keys = sorted({key for spec in specs for key in change_of(spec).keys})
        history.record(c, now, "job.retried", job=job, why=f"{count} requests, with another {', '.join(keys)}")
        return count


def _state_of(job: JobId, c: SqlConnection) -> str:
    """The state of *job*. Raises GuardRefused if nothing is left to send."""
    state, public_id, purged_at = c.execute(job_control.SQL["job_state"], {"id": job}).fetchone()
    if purged_at is not None:
        raise errors.GuardRefused(
            f"job {public_id} was purged: there is nothing left to send", hint="submit its input again"
        )
    return str(state)


def _reopen(job: JobId, old: str, now: datetime, c: SqlConnection) -> None:
    if job_control.reopen(job, c):
        history.record(c, now, "job.moved", job=job, old=old, new=JobState.RUNNING, why="retry")


def _retriable(chosen: _Chosen, above: RequestId, c: SqlConnection) -> list[Settled]:
    only, causes = chosen
    stops, are_all = RETRIED_STOPS & set(only), not (only or causes)
    values: dict[str, Any] = {
        "above": above,
        "high": request_id(JobId(above >> 32), MAX_NUMBER),
        "failed": int(are_all or _FAILED in only),
        "canceled": int(are_all or _CANCELED in only),
        "types": json.dumps(sorted({*only, *([INVALID_ANSWER] if INVALID in only else [])})),
        "causes": json.dumps(sorted(causes)),
        "stops": json.dumps(sorted(stops)),
        "cut": json.dumps([cut_problem(stop) for stop in sorted(stops & CUT_STOPS)]),
        "limit": _ANSWERS if stops else _SLICE,
    }
    return [Settled(*row) for row in c.execute(SQL["retriable"], values)]


def _read(keys: Sequence[int], limit_bytes: int, c: SqlConnection) -> list[Retriable]:
    """The first of *keys*, some *limit_bytes* of params."""
    found: list[Retriable] = []
    blocks, changes = Blocks(c), Changes(c)
    for key, custom_id, line, retries, size_bytes, change in c.execute(SQL["read"], {"ids": json.dumps(keys)}):
        block = blocks.of(key)
        params = block.params(key, size_bytes) if change is None else block.part(key)
        found.append(
            Retriable(
                number=number_of(RequestId(key)),
                custom_id=custom_id,
                line=line,
                retries=retries,
                params=params,
                change=NO_CHANGE if change is None else changes.of(change),
            )
        )
        limit_bytes -= len(params)
        if limit_bytes <= 0:
            break
    return found


def _retry_slice(
    job: JobId, chosen: _Chosen, above: RequestId, now: datetime, c: SqlConnection
) -> tuple[int, RequestId] | None:
    """Queue the next slice again; (how many, the last of them), or None at the end."""
    state = _state_of(job, c)
    rows = [] if state == JobState.CANCELING else _retriable(chosen, above, c)
    if not rows:
        return None
    _reopen(job, state, now, c)
    count = queue_again(job, rows, now, c)
    history.record(c, now, "job.retried", job=job, why=f"{count} requests")
    return count, RequestId(rows[-1].key)


def queue_again(
    job: JobId,
    rows: Sequence[Settled],
    now: datetime,
    c: SqlConnection,
    changed: Sequence[tuple[int, int, int]] = (),
) -> int:
    """Queue settled requests, and forget their results; how many. Their twins, which show the same, go with them.

    changed: of all of them (key, size of the params, number of the change), if they are changed.
    """
    keys = [row.key for row in rows]
    stops = _keep_answers(job, [row.key for row in rows if row.state == RequestState.SUCCEEDED], now, c)
    ends = twins.ends_with(keys, c)
    # In the order in which answers are counted: stop reasons, then the job.
    _take_stops(job, stops + ends.stops, c)
    if changed:
        c.update_rows(SQL["queue_changed"], changed)
        prefixes.change(json.dumps(keys), c)
    else:
        c.execute(SQL["queue"], {"ids": json.dumps(keys)})
    twins.queue_again(job, keys, ends, c)
    c.execute(SQL["forget_results"], {"ids": json.dumps([row.result for row in rows if row.result is not None])})
    return len(keys) + ends.total


def _keep_answers(job: JobId, requests: Sequence[int], now: datetime, c: SqlConnection) -> Counter[int]:
    """Make attempts of the answers of *requests*, which have succeeded; how many ended by which stop reason.

    Their lines in the ledger become those of answers that were paid for and are no success: the sum stays.
    """
    if not requests:
        return Counter()
    ids = json.dumps(requests)
    stops: Counter[int] = Counter()
    moved: dict[tuple[BatchId, str], _Lines] = defaultdict(dict)
    unlisted: Counter[tuple[BatchId, str]] = Counter()
    for batch, created_at, stop, price, nanos, extra, body in c.execute(SQL["answers"], {"ids": ids}):
        stops.update([] if stop is None else [stop])
        place = BatchId(batch), created_at[:10]
        lines = moved[place]
        for number, sums in _lines_of(price, nanos, extra, body):
            lines[number] = lines.get(number, ledger.Sums()).plus(sums)
        unlisted[place] += price is None and nanos is None
    for batch in sorted({batch for batch, _ in moved}):
        reservations.lock(batch, c)
    for (batch, day), lines in sorted(moved.items()):
        account = ledger.Account(job, batch)
        _move(account, lines, c)
        ledger.retry_unlisted(account, day, unlisted[batch, day], c)
    c.execute(SQL["keep_answers"], {"ids": ids, "now": sql_rows.to_text(now)})
    return stops


def _take_stops(job: JobId, stops: Mapping[int, int], c: SqlConnection) -> None:
    """Count answers of *job* no more that ended by these stop reasons."""
    for stop, count in sorted(stops.items()):
        values = {"id": job, "stop": stop, "count": count}
        if not c.execute(SQL["take_stop"], values).rowcount:
            c.execute(SQL["take_stops"], values)


def _lines_of(
    price: int | None, nanos: int | None, extra: str | None, body: bytes
) -> Iterator[tuple[int, ledger.Sums]]:
    """What was entered for one answer, by the same reading of the same bytes; nothing if it was not billed."""
    if price is None:
        return
    charges = charges_of(body)
    tokens = (charges[0].tokens if charges else None) or Tokens()
    parts: list[dict[str, Any]] = [] if extra is None else json.loads(extra)
    costs = [0 if nanos is None or part["cost_nanos"] is None else int(part["cost_nanos"]) for part in parts]
    own = 0 if nanos is None else nanos - sum(costs)
    squares = float(tokens.output**2), float(own**2)
    yield price, ledger.Sums(1, *tokens, own, int(nanos is None), *squares)
    for part, cost in zip(parts, costs, strict=True):
        counts = Tokens() if part["tokens"] is None else Tokens(**part["tokens"])
        yield part["price"], ledger.Sums(0, *counts, cost, cost_squares=float(cost**2))


def _move(account: ledger.Account, lines: _Lines, c: SqlConnection) -> None:
    for price, sums in sorted(lines.items()):
        if not ledger.move(account, price, sums, (Kind.KEPT, Kind.RETRIED), c):
            raise errors.StoreError(
                "the ledger lacks an answer that is to be asked for again",
                cause=f"batch {account.batch}, price {price}",
                hint="orchestrator db check says what is wrong with the store; nothing was changed",
            )
