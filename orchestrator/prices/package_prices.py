"""The prices of the package genai-prices, with what it gets wrong for batches put right.

As of 0.2.3, read in its source and measured:
- A model or a day without batch prices is given the standard ones, in silence. A batch is half of them in every line.
- Models are matched by the beginning of their names: `claude-opus-4-10` would be an Opus 4.1. Only a model's own name
  and its name with a date are taken here.
- Names that end in -latest mean another model tomorrow; they have no price.
- Looking one up takes 0.1 ms: it is done once for a model and a day, never for a request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.domain.billing import Rates
from orchestrator.domain.errors import OrchestratorError
from orchestrator.observability.heavy_imports import gc_paused
from orchestrator.prices.price_list import BatchPrices, PriceLines

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, PriceVariant, TieredPrices

_PROVIDER: Final = "anthropic"
_BATCH: Final = {"processing": "batch"}
_HALF: Final = Decimal("0.5")
#: The package's names of the lines, in the order of `PriceLines`.
_LINES: Final = ("input_mtok", "output_mtok", "cache_write_mtok", "cache_write_1h_mtok", "cache_read_mtok")
#: What a name of the package may have at its end, where the API's own has a date or nothing.
_ALIAS: Final = re.compile(r"-(latest|0)$")
_LATEST: Final = "-latest"
_WITHOUT: Final = (
    "the prices that came with the program still hold; `pip install -U genai-prices` brings newer ones, too"
)


class PricesUnreachable(OrchestratorError):
    """The newest prices could not be had."""

    exit_code = 6


class PackagePrices:
    """The prices of one edition of the package's data: the one that is installed, or the newest."""

    def __init__(self, snapshot: DataSnapshot) -> None:
        self._snapshot = snapshot

    @property
    def edition(self) -> str:
        """The package with its version, for people."""
        from genai_prices import __version__

        fetched = f", fetched {self._snapshot.timestamp.date()}" if self._snapshot.from_auto_update else ""
        return f"genai-prices {__version__}{fetched}"

    def find(self, model: str, day: date) -> BatchPrices | None:
        """What a batch of *model* costs on *day*; None where there is no price of it, or none that is understood."""
        found = self._model(model)
        if found is None:
            return None
        at = datetime.combine(day, time(12), UTC)
        return _prices(found.get_prices(at), found.get_prices(at, _BATCH), self.edition)

    def newest(self, today: date) -> date | None:
        """The newest day, up to *today*, from which a price of any provider holds: as old are the data."""
        days = (day for each in self._snapshot.providers for model in each.models for day in _start_days(model))
        return max((day for day in days if day <= today), default=None)

    def models(self) -> list[str]:
        """The API's models that can be had: those with a price of batches, as the package has none of retired ones."""
        return [model.id for model in self._of_the_api() if any(_is_of_batches(each) for each in _variants(model))]

    def changes(self, model: str, today: date) -> list[date]:
        """*today*, and the later days from which another price of *model* was announced."""
        found = self._model(model)
        return sorted({today, *(day for day in ([] if found is None else _start_days(found)) if day > today)})

    def _of_the_api(self) -> list[ModelInfo]:
        return self._snapshot.find_provider(None, _PROVIDER, None).models

    def _model(self, model: str) -> ModelInfo | None:
        if model.endswith(_LATEST):
            return None
        try:
            _, found = self._snapshot.find_provider_model(model, None, _PROVIDER, None)
        except LookupError:
            return None
        return found if _is_called(model, found.id) else None


def installed() -> PackagePrices:
    """The prices that came with the package, or that this process has had it fetch."""
    return PackagePrices(_loaded()())


def is_loaded() -> bool:
    """Whether `installed` costs nothing any more; the first time it takes a third of a second."""
    return _loaded.cache_info().currsize > 0


@cache
def _loaded() -> Callable[[], DataSnapshot]:
    """What gives the package's data, which are loaded here."""
    with gc_paused():
        from genai_prices.data_snapshot import get_snapshot

        get_snapshot()
    return get_snapshot


def fetched() -> PackagePrices:
    """The newest prices, from where the package has them from; nothing is kept. Raises PricesUnreachable."""
    import httpx2
    from genai_prices import UpdatePrices

    try:
        snapshot = UpdatePrices().fetch()
    except httpx2.HTTPError as exc:
        raise PricesUnreachable("the newest prices cannot be fetched", cause=str(exc), hint=_WITHOUT) from exc
    except ValueError as exc:  # no JSON, or of another form than this version of the package reads
        cause = str(exc).partition("\n")[0]
        raise PricesUnreachable("the newest prices cannot be read", cause=cause, hint=_WITHOUT) from exc
    if snapshot is None:
        raise PricesUnreachable("the newest prices cannot be fetched", hint=_WITHOUT)
    return PackagePrices(snapshot)


class PriceChange(NamedTuple):
    """What two editions say differently of a model from a day on: the rates of a batch, None for no price."""

    model: str
    day: date
    before: Rates | None
    after: Rates | None


def changes_between(old: PackagePrices, new: PackagePrices, today: date) -> Iterator[PriceChange]:
    """Every price of today, or announced for later, that *new* has otherwise than *old*."""
    for model in dict.fromkeys([*old.models(), *new.models()]):
        for day in new.changes(model, today):
            before, after = (
                None if found is None else found.rates(Decimal(1))
                for found in (old.find(model, day), new.find(model, day))
            )
            if before != after:
                yield PriceChange(model, day, before, after)


def _is_called(model: str, name: str) -> bool:
    """True if *model* is *name* itself, or *name* with a date."""
    own = re.escape(_ALIAS.sub("", name))
    return re.fullmatch(rf"{re.escape(name)}|{own}(-20\d{{6}})?", model, re.ASCII) is not None


def _prices(standard: ModelPrice, batch: ModelPrice, source: str) -> BatchPrices | None:
    """The five lines, each of a batch; None if one is missing, or has tiers of another kind than `Rates` can say."""
    pairs = [_line(getattr(standard, name), getattr(batch, name)) for name in _LINES]
    lines = [pair for pair in pairs if pair is not None]
    tiers = {above for _, _, above in lines if above}
    if len(lines) < len(_LINES) or len(tiers) > 1:
        return None
    base = PriceLines(*(low for low, _, _ in lines))
    if not tiers:
        return BatchPrices(lines=base, source=source)
    return BatchPrices(lines=base, above=tiers.pop(), long=PriceLines(*(high for _, high, _ in lines)), source=source)


def _line(
    standard: Decimal | TieredPrices | None, batch: Decimal | TieredPrices | None
) -> tuple[Decimal, Decimal, int] | None:
    """The price of one line in a batch, that of long prompts, and how long those are; 0: there are none."""
    if batch is None:
        return None
    share = _HALF if batch == standard else Decimal(1)  # the package has no price of a batch
    if isinstance(batch, Decimal):
        return batch * share, batch * share, 0
    if len(batch.tiers) != 1:
        return None
    tier = batch.tiers[0]
    return batch.base * share, tier.price * share, tier.start


def _variants(model: ModelInfo) -> Sequence[PriceVariant]:
    return model.price_variants or ()


def _is_of_batches(variant: PriceVariant) -> bool:
    return variant.when == _BATCH


def _start_days(model: ModelInfo) -> Iterator[date]:
    """The days from which a price of *model* holds, where it has any."""
    prices = model.prices if isinstance(model.prices, list) else ()
    for each in (*prices, *_variants(model)):
        day = getattr(each.constraint, "start_date", None)
        if day is not None:
            yield day
