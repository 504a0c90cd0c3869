"""What was paid, summed by batch, price and kind: in the transaction that stores the answers it was paid for.

Prices come first in a step, in one order: another daemon may be adding the same, and nobody must wait in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress
from operator import add, mul
from typing import Final, NamedTuple

import msgspec

from orchestrator.domain.billing import Kind, Payment, Tariff, Tokens
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.model import JudgedLine
from orchestrator.store import reservations, sql_text
from orchestrator.store.sql_connection import SqlConnection
from orchestrator.store.sql_rows import NewResults

SQL: Final = sql_text.load("ledger")
_encode: Final = msgspec.json.Encoder().encode
#: The numbers of prices in the table `price`.
PriceIds = Mapping[Tariff, int]


class Sums(NamedTuple):
    """What a line of the ledger adds up. unpriced: of the requests, those whose cost is not known.

    output_squares, cost_squares: of each request's tokens and nano-dollars, squared.
    """

    requests: int = 0
    input: int = 0
    output: int = 0
    write_5m: int = 0
    write_1h: int = 0
    read: int = 0
    searches: int = 0
    nanos: int = 0
    unpriced: int = 0
    output_squares: float = 0.0
    cost_squares: float = 0.0

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(*map(add, self, other))


class Account(NamedTuple):
    """Whose lines they are."""

    job: JobId
    batch: BatchId


def price_ids(payments: Iterable[Payment | None], c: SqlConnection) -> dict[Tariff, int]:
    """The numbers of the prices in *payments*; new ones are stored."""
    return _numbered(_tariffs(payment for payment in payments if payment is not None), c)


def price_ids_of(lines: Collection[JudgedLine], c: SqlConnection) -> dict[Tariff, int]:
    """The numbers of the prices in *lines*; new ones are stored."""
    tariffs = {line.tariff for line in lines}
    known = {tariff for tariff in tariffs if tariff is not None}
    return _numbered(known | _tariffs(line.payment for line in lines if line.payment is not None), c)


def _tariffs(payments: Iterable[Payment]) -> set[Tariff]:
    return {each.tariff for payment in payments for each in (payment, *payment.extras)}


def _numbered(tariffs: Iterable[Tariff], c: SqlConnection) -> dict[Tariff, int]:
    return {tariff: price_id(tariff, c) for tariff in sorted(tariffs, key=_order)}


def price_id(tariff: Tariff, c: SqlConnection) -> int:
    """The number of one price, which is stored if it is new."""
    rates = "" if tariff.rates is None else _encode(tariff.rates).decode()
    values = {"model": tariff.model, "geo": tariff.geo, "day": tariff.day, "rates": rates, "source": tariff.source}
    while (row := c.execute(SQL["price"], values).fetchone()) is None:
        c.execute(SQL["add_price"], values)
    number: int = row[0]
    return number


def _order(tariff: Tariff) -> tuple[str, ...]:
    return tariff.day, tariff.model, tariff.geo, tariff.source, repr(tariff.rates)


#: Beside an answer: the number of its price, its cost, web searches, and what other models have on top.
Columns = tuple[int | None, int | None, int | None, str | None]


def columns(payment: Payment | None, prices: PriceIds) -> Columns:
    """The columns of an answer; None: it is not billed."""
    if payment is None:
        return None, 0, None, None
    searches = None if payment.tokens is None else payment.tokens.searches
    return prices[payment.tariff], payment.nanos, searches, _extra(payment, prices) if payment.extras else None


def payment_of(line: JudgedLine) -> Payment | None:
    """What *line* costs; None: it is not billed."""
    if line.payment is not None or line.tariff is None:
        return line.payment
    counts = line.input_tokens, line.output_tokens, line.cache_write_5m_tokens, line.cache_write_1h_tokens
    return Payment(
        line.tariff, Tokens(*(0 if count is None else count for count in (*counts, line.cache_read_tokens))), line.nanos
    )


def _extra(payment: Payment, prices: PriceIds) -> str:
    parts = [
        {
            "model": each.tariff.model,
            "price": prices[each.tariff],
            "tokens": None if each.tokens is None else each.tokens._asdict(),
            "cost_nanos": each.nanos,
        }
        for each in payment.extras
    ]
    return _encode(parts).decode()


def enter(
    account: Account,
    kind: Kind,
    payments: Sequence[Payment],
    prices: PriceIds,
    c: SqlConnection,
    results: Iterable[NewResults] = (),
) -> None:
    """Add *payments*, and what *results* cost, to the lines of *account*, and to what its job has spent."""
    lines = sums_of(payments, prices)
    for price, sums in chain.from_iterable(map(sums_of_results, results)):
        lines[price] = lines.get(price, Sums()).plus(sums)
    _enter(account, kind, lines, prices, c)


def _enter(account: Account, kind: Kind, lines: Mapping[int, Sums], prices: PriceIds, c: SqlConnection) -> None:
    for price, sums in sorted(lines.items()):
        c.execute(SQL["enter"], _values(account, kind, price, sums))
    spent, unpriced = sum(each.nanos for each in lines.values()), sum(each.unpriced for each in lines.values())
    if lines:
        _spend(account, next(iter(prices)).day, spent, unpriced, c)


def enter_unknown(account: Account, kind: Kind, day: str, count: int, c: SqlConnection) -> None:
    """Add *count* requests of which nothing is known but that they may have been billed."""
    if count:
        c.execute(SQL["enter"], _values(account, kind, _unnamed(day, c), Sums(requests=count, unpriced=count)))
        _spend(account, day, 0, count, c)


def enter_assumed(account: Account, day: str, count: int, nanos: int, c: SqlConnection) -> None:
    """Add *count* requests that never came and are taken to have cost *nanos* together."""
    if count:
        sums = Sums(requests=count, nanos=nanos, cost_squares=nanos**2 / count)
        c.execute(SQL["enter"], _values(account, Kind.ASSUMED, _unnamed(day, c), sums))
        _spend(account, day, nanos, 0, c)


def take_back(account: Account, kind: Kind, price: int, sums: Sums, c: SqlConnection) -> bool:
    """Take *sums* of answers whose cost is not known out of a line: now it is. False: they are not in it."""
    if not c.execute(SQL["take_back"], _values(account, kind, price, sums)).rowcount:
        return False
    day = c.execute(SQL["day"], {"id": price}).fetchone()[0]
    _spend(account, day, -sums.nanos, -sums.unpriced, c)
    return True


def take_back_unknown(account: Account, kind: Kind, day: str, count: int, c: SqlConnection) -> bool:
    """Undo `enter_unknown`, for *count* requests of which more is known now."""
    return take_back(account, kind, _unnamed(day, c), Sums(requests=count, unpriced=count), c)


def move(account: Account, price: int, sums: Sums, kinds: tuple[Kind, Kind], c: SqlConnection) -> bool:
    """Move *sums* from the line of one kind to that of another: what was spent stays. False: they are not in it."""
    before, after = kinds
    if not c.execute(SQL["take_back"], _values(account, before, price, sums)).rowcount:
        return False
    c.execute(SQL["enter"], _values(account, after, price, sums))
    return True


def retry_unlisted(account: Account, day: str, count: int, c: SqlConnection) -> None:
    """*count* answers that an earlier version stored without a price are no success any more.

    Of some it is known, from its migration, that they may have been billed; of the others it is entered now.
    """
    if not count:
        return
    row = c.execute(SQL["listed_unknown"], {"batch_id": account.batch, "day": day}).fetchone()
    listed = 0 if row is None else min(count, row[0])
    if listed:
        move(account, _unnamed(day, c), Sums(requests=listed, unpriced=listed), (Kind.KEPT, Kind.RETRIED), c)
    enter_unknown(account, Kind.RETRIED, day, count - listed, c)


def _unnamed(day: str, c: SqlConnection) -> int:
    return price_id(Tariff(model="", geo="", day=day), c)


def _values(account: Account, kind: Kind, price: int, sums: Sums) -> dict[str, object]:
    return {"batch_id": account.batch, "price_id": price, "kind": kind.value, **sums._asdict()}


def _spend(account: Account, day: str, nanos: int, unpriced: int, c: SqlConnection) -> None:
    if nanos or unpriced:
        c.execute(SQL["spend"], {"id": account.job, "nanos": nanos, "unpriced": unpriced})
    if nanos:
        reservations.spend(account.batch, account.job, day, nanos, c)
    reservations.free_if_known(account.batch, account.job, c)


def sums_of_results(new: NewResults) -> Iterator[tuple[int, Sums]]:
    """The lines that *new* come to; as a rule they have one price."""
    prices = set(new.prices)
    for price in prices:
        if price is not None:
            yield price, _sums_of_columns(new if len(prices) == 1 else _of_price(new, price))


def _of_price(new: NewResults, price: int) -> NewResults:
    chosen = [each == price for each in new.prices]
    return NewResults._make(list(compress(column, chosen)) for column in new)


def _sums_of_columns(new: NewResults) -> Sums:
    columns = new.input, new.output, new.write_5m, new.write_1h, new.read
    tokens = Tokens(*(sum(filter(None, column)) for column in columns))
    known = list(filter(None, new.nanos))
    squares = squared(list(filter(None, new.output))), squared(known)
    return Sums(len(new.keys), *tokens, sum(known), new.nanos.count(None), *squares)


def sums_of(payments: Sequence[Payment], prices: PriceIds) -> dict[int, Sums]:
    """The lines that *payments* come to, by the number of their price."""
    by_tariff: dict[Tariff, list[Payment]] = {}
    for payment in payments:
        by_tariff.setdefault(payment.tariff, []).append(payment)
    found: dict[int, Sums] = {}
    for tariff, sums in (*((tariff, _own(some)) for tariff, some in by_tariff.items()), *_on_top(payments)):
        found[prices[tariff]] = found.get(prices[tariff], Sums()).plus(sums)
    return found


def _own(payments: Sequence[Payment]) -> Sums:
    """What their own models are billed: once a row, so by columns."""
    tokens = _tokens([payment.tokens for payment in payments if payment.tokens is not None])
    known = [payment.nanos - _of_extras(payment) for payment in payments if payment.nanos is not None]
    outputs = [payment.tokens.output for payment in payments if payment.tokens is not None]
    unknown = len(payments) - len(known)
    return Sums(len(payments), *tokens, sum(known), unknown, squared(outputs), squared(known))


def _of_extras(payment: Payment) -> int:
    return sum(_part(extra, payment) for extra in payment.extras) if payment.extras else 0


def squared(some: Sequence[int]) -> float:
    """The sum of the squares of *some*."""
    return float(sum(map(mul, some, some)))


def _on_top(payments: Sequence[Payment]) -> Iterator[tuple[Tariff, Sums]]:
    for payment in payments:
        for extra in payment.extras:
            part = _part(extra, payment)
            tokens = Tokens() if extra.tokens is None else extra.tokens
            yield extra.tariff, Sums(0, *tokens, part, cost_squares=float(part**2))


def _part(extra: Payment, payment: Payment) -> int:
    """What is known of the cost of *extra*, if all of *payment* is."""
    return 0 if payment.nanos is None or extra.nanos is None else extra.nanos


def _tokens(some: Sequence[Tokens]) -> Tokens:
    return Tokens(*map(sum, zip(*some, strict=True))) if some else Tokens()
