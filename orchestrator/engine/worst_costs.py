"""What requests can cost at most, at the prices of today and tomorrow: asked only where a cap is in force."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from orchestrator.domain import account, money, token_bounds
from orchestrator.domain.billing import Rates
from orchestrator.domain.ids import BatchId
from orchestrator.domain.json_text import UNREADABLE
from orchestrator.domain.result_outcome import safe_name
from orchestrator.ports.runtime import Prices
from orchestrator.ports.store import ParamsStore

#: Params that are looked at in one go: other tasks have their turn in between.
SLICE_BYTES: Final = 1 << 20


class NoBound(Exception):
    """What a request costs has no bound that is known. code: of `domain.account`; words: why, for a person.

    model: the one that has no price, if that is why.
    """

    def __init__(self, code: str, words: str, model: str = "") -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.model = model


class WorstCosts:
    """The bounds of requests that are sent at *now* or within a day.

    allowance: what is reserved at least for a request whose cost has no bound; None: such a request has none.
    """

    def __init__(self, prices: Prices, now: datetime, allowance: int | None) -> None:
        self._prices = prices
        self._days = _days(now)
        self._allowance = allowance
        self._rates: dict[str, Sequence[Rates]] = {}

    def of(self, params: bytes) -> int:
        """Nano-dollars that the request in *params* costs at most. Raises NoBound."""
        try:
            request = token_bounds.read_request(params)
            field = token_bounds.unbounded_field(request)
            usage = token_bounds.worst_of(request, token_bounds.content_of(request))
        except UNREADABLE as exc:
            raise NoBound(account.NO_BOUND, f"a request cannot be read: {exc}") from exc
        once = max(token_bounds.worst_cost(usage, rates) for rates in self._of_model(request.model))
        if field is None:
            return _kept(once)
        if self._allowance is None:
            raise NoBound(account.NO_BOUND, f"{field} has no bound on what it may cost")
        return _kept(max(once, self._allowance))

    async def of_batch(self, store: ParamsStore, batch: BatchId, only: Collection[int] | None = None) -> int:
        """What the requests of *batch* cost at most together; only: those of these numbers. Raises NoBound."""
        worst = above = 0
        while some := await store.slice(batch, above, SLICE_BYTES):
            worst += sum(self.of(params) for number, params in some if only is None or number in only)
            above = some[-1][0]
        return _kept(worst)

    def is_of(self, other: WorstCosts) -> bool:
        """Whether *other* is for the same days."""
        return self._days == other._days

    def holds(self, prices: Prices, now: datetime) -> bool:
        """Whether *prices* say the same at *now*, for the same days."""
        return self._days == _days(now) and all(
            rates == _rates(prices, model, self._days) for model, rates in self._rates.items()
        )

    def _of_model(self, model: str) -> Sequence[Rates]:
        found = self._rates.get(model)
        if found is None:
            found = _rates(self._prices, model, self._days)
            if found is None:
                name = safe_name(model)
                raise NoBound(account.UNKNOWN_PRICE, f"there is no price for {name}{self._later(model)}", name)
            self._rates[model] = found
        return found

    def _later(self, model: str) -> str:
        begins = self._prices.begins(model, self._days[0])
        return "" if begins is None else f": your price file has it from {begins} on"


def _days(now: datetime) -> Sequence[date]:
    return [(now + timedelta(days=after)).astimezone(UTC).date() for after in (0, 1)]


def _rates(prices: Prices, model: str, days: Sequence[date]) -> Sequence[Rates] | None:
    """The rates of *model* on *days*; None: on one of them it has no price."""
    found = [prices.price(model, day) for day in days]
    rates = [price.rates for price in found if price is not None]
    return None if len(rates) < len(found) else list(dict.fromkeys(rates))


def _kept(nanos: int) -> int:
    """*nanos*, unless it is more than any amount that is stored. Raises NoBound."""
    if nanos > money.MOST_NANOS:
        raise NoBound(account.NO_BOUND, f"it may cost {money.shown(nanos)}, more than any cap")
    return nanos
