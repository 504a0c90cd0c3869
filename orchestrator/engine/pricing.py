"""What answers cost: finds the price of each model once a batch, and multiplies once an answer, now or later."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from orchestrator.domain.billing import (
    MOST_ANSWER_NANOS,
    US_ONLY,
    Charge,
    Charges,
    Payment,
    Rates,
    Tariff,
    Tokens,
    cost_of,
    plain_cost,
)
from orchestrator.domain.ids import JobId, RequestId
from orchestrator.domain.model import BatchRow
from orchestrator.domain.result_lines import ResultLine, charges_of
from orchestrator.domain.result_outcome import safe_name
from orchestrator.engine.context import Context
from orchestrator.engine.worst_costs import NoBound
from orchestrator.ports.job_store import Unpriced
from orchestrator.ports.runtime import Prices

#: So many models and places of a batch are kept by their names, whatever they are; of further ones only those that a
#: price depends on, so that an API that names each answer's anew fills no table of ours.
_MOST_TARIFFS: Final = 100


class Pricing:
    """The prices of a batch that the API created at *created_at*: its day, UTC, decides."""

    def __init__(self, prices: Prices, created_at: datetime) -> None:
        self._prices = prices
        self._day = created_at.astimezone(UTC).date()
        self._tariffs: dict[tuple[str, str], Tariff] = {}
        self._unnamed = Tariff(model="", geo="", day=str(self._day))
        self._model: str | None = None
        self._geo: str | None = None
        self._tariff = self._unnamed
        self._flat: Rates | None = None

    def price(self, line: ResultLine) -> tuple[Tariff, int | None]:
        """What a *line* costs whose counts say all (`charges` is None): once a row, so it makes no object but this."""
        if line.model != self._model or line.geo != self._geo:
            self._turn_to(line.model, line.geo)
        tariff, flat = self._tariff, self._flat
        fresh, output = line.input_tokens, line.output_tokens
        if tariff.rates is None or fresh is None or output is None:
            return tariff, None
        read, write_5m, write_1h = line.cache_read_tokens, line.cache_write_5m_tokens, line.cache_write_1h_tokens
        if flat is None or read or write_5m or write_1h:
            nanos = cost_of((fresh, output, write_5m or 0, write_1h or 0, read or 0, 0), tariff.rates, tariff.geo)
        else:
            nanos = plain_cost(fresh, output, flat)
        return tariff, nanos if nanos <= MOST_ANSWER_NANOS else None

    def payment_by_counts(self, line: ResultLine) -> Payment:
        """The same as a value."""
        tariff, nanos = self.price(line)
        return Payment(tariff, _tokens(line), nanos)

    def _turn_to(self, model: str | None, geo: str | None) -> None:
        """Have the tariff of this line and, as a rule, of the next ones."""
        self._model, self._geo = model, geo
        self._tariff = tariff = self._find("" if model is None else model, "" if geo is None else geo)
        self._flat = None if tariff.rates is None or tariff.rates.long is not None or geo == US_ONLY else tariff.rates

    def payment_for(self, charges: Charges) -> Payment | None:
        """What *charges* of one answer come to; None if it is not billed at all."""
        if not charges:
            return None
        if len(charges) == 1:
            return self._payment(charges[0])
        own, *more = [self._payment(charge) for charge in charges]
        known = [payment.nanos for payment in (own, *more) if payment.nanos is not None]
        return Payment(
            own.tariff, own.tokens, _believed(sum(known)) if len(known) == len(charges) else None, tuple(more)
        )

    def _payment(self, charge: Charge) -> Payment:
        model, geo, tokens = charge
        tariff = self._find(model, geo)
        if tokens is None:
            return Payment(tariff, None, None)
        if tariff.rates is None:
            return Payment(tariff, tokens, None if any(tokens) else 0)
        return Payment(tariff, tokens, _believed(cost_of(tokens, tariff.rates, geo)))

    def _find(self, model: str, geo: str) -> Tariff:
        found = self._tariffs.get((model, geo))
        return self._ask(model, geo) if found is None else found

    def _ask(self, model: str, geo: str) -> Tariff:
        price = self._prices.price(model, self._day) if model else None
        is_crowded = len(self._tariffs) >= _MOST_TARIFFS
        place = "" if is_crowded and geo != US_ONLY else safe_name(geo)
        found = Tariff(model=safe_name(model), geo=place, day=str(self._day))
        if price is not None:
            found = replace(found, rates=price.rates, source=price.source)
        elif is_crowded:
            found = self._unnamed
        self._tariffs[model, geo] = found
        return found


def _tokens(line: ResultLine) -> Tokens:
    cached = line.cache_write_5m_tokens or 0, line.cache_write_1h_tokens or 0, line.cache_read_tokens or 0
    return Tokens(line.input_tokens or 0, line.output_tokens or 0, *cached)


def _believed(nanos: int) -> int | None:
    return nanos if nanos <= MOST_ANSWER_NANOS else None


async def worst_of(context: Context, batch: BatchRow, numbers: Collection[int], now: datetime) -> int | None:
    """What the requests *numbers* of *batch* have cost at most, if no answer says it; None: there is no bound."""
    made = context.api_time(now) if batch.created_at is None else batch.created_at
    costs = await context.worst_costs(await context.store.commands.get(batch.job_id), made)
    try:
        return await costs.of_batch(context.store.params, batch.id, frozenset(numbers))
    except NoBound:
        return None


_SLICE: Final = 500


async def reprice(context: Context, job: JobId) -> int:
    """Price every answer of *job* whose cost is not known, and can be now; how many. Again after a crash: the rest."""
    store, above, count = context.store.reprice, RequestId(0), 0
    prices = await context.loaded_prices()
    while some := await store.unpriced(job, above, _SLICE):
        found = [(each, payment) for each in some if (payment := _payment(prices, each)) is not None]
        if found:
            count += await store.priced(job, found, context.clock.now())
        above = some[-1].request_id
    return count


def _payment(prices: Prices, each: Unpriced) -> Payment | None:
    payment = Pricing(prices, each.created_at).payment_for(charges_of(each.body))
    return None if payment is None or payment.nanos is None else payment
