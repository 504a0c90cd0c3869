"""The sandbox's bill: what the API would charge for what it answered, whether or not anybody reads the answers.

A row is billed at the instant it is answered: in batches that still run, in those whose create was never acknowledged,
in canceled and deleted ones. Errored, expired and canceled rows are free. Nothing is computed before somebody asks.

The table and the arithmetic are its own, and share nothing with ours. A price is nano-dollars a token, which is the
same number as thousandths of a dollar a million tokens; the table has standard prices. As of 2026-11-28: the
platform's pricing page (August) and the model pages (October, November).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from orchestrator.sandbox.request_rows import CHARS_PER_TOKEN, Fate, Row
from orchestrator.sandbox.sandbox_batch import OUTCOMES, SandboxBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Nano-dollars, each request rounded up: in all, by the model of the request, and by batch (no neighbours')."""

    total_nanos: int
    by_model: Mapping[str, int]
    by_batch: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledRow:
    """One request that was answered, and what it costs."""

    batch_id: str
    custom_id: str
    model: str
    nanos: int


@dataclass(slots=True)
class _BilledBuckets:
    """What one model cost in a batch: `buckets` in order, and the sum up to and with each."""

    buckets: list[int]
    sums: list[int]

    def before(self, bucket: int) -> int:
        """The sum over all lower buckets."""
        place = bisect_left(self.buckets, bucket)
        return self.sums[place - 1] if place else 0


class Accounts:
    """Bills batches. What the rows of one cost is worked out once."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, _BilledBuckets]] = {}

    def bill(self, batches: Iterable[SandboxBatch], now: datetime) -> Bill:
        """The bill for what *batches* have answered until *now*. Raises LookupError for a model without a price."""
        by_model: Counter[str] = Counter()
        by_batch: dict[str, int] = {}
        for batch in _ours(batches):
            done = batch.done_at(now)
            costs = {model: buckets.before(done) for model, buckets in self._costs(batch).items()}
            by_model.update(costs)
            by_batch[batch.id] = sum(costs.values())
        return Bill(total_nanos=by_model.total(), by_model=dict(by_model), by_batch=by_batch)

    def _costs(self, batch: SandboxBatch) -> dict[str, _BilledBuckets]:
        found = self._known.get(batch.id)
        if found is None:
            found = self._known[batch.id] = _add_up(batch)
        return found


def billed_rows(batches: Iterable[SandboxBatch], now: datetime) -> Iterator[BilledRow]:
    """The requests that *batches* have answered until *now*, in the order of their bodies."""
    for batch in _ours(batches):
        done = batch.done_at(now)
        for row in batch.rows():
            if row.bucket < done and OUTCOMES[row.fate] == "succeeded":
                nanos = nanos_of(usage_of(row, batch))
                yield BilledRow(batch_id=batch.id, custom_id=row.custom_id, model=row.model, nanos=nanos)


def _ours(batches: Iterable[SandboxBatch]) -> Iterator[SandboxBatch]:
    return (batch for batch in batches if not batch.foreign)


def _add_up(batch: SandboxBatch) -> dict[str, _BilledBuckets]:
    """What the rows cost by model, if all of them are reached."""
    costs: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for row in batch.rows():
        if OUTCOMES[row.fate] == "succeeded":
            costs[row.model][row.bucket] += nanos_of(usage_of(row, batch))
    return {
        model: _BilledBuckets(sorted(by), list(accumulate(by[at] for at in sorted(by)))) for model, by in costs.items()
    }


#: A batch is half of every token line; inference in the US alone a tenth more. In twentieths of the standard price:
_BATCH: Final = 10
_BATCH_IN_US: Final = 11
_TWENTIETHS: Final = 20
#: $10 a thousand; there is no batch price for searches, and no price by region.
_SEARCH_NANOS: Final = 10_000_000


class _Lines(NamedTuple):
    input: int
    output: int
    write_5m: int
    write_1h: int
    read: int


#: In the order of the price page: the models of one line share it.
_FLAT: Final = (
    (_Lines(8_000, 40_000, 10_000, 16_000, 200), "fable-5-2 mythos-5-2"),
    (_Lines(10_000, 50_000, 12_500, 20_000, 250), "fable-5-1 mythos-5-1"),
    (_Lines(10_000, 50_000, 12_500, 20_000, 1_000), "fable-5 mythos-5"),
    (_Lines(25_000, 125_000, 31_250, 50_000, 2_500), "mythos-preview"),
    (_Lines(4_000, 20_000, 5_000, 8_000, 200), "opus-5-5"),
    (_Lines(5_000, 25_000, 6_250, 10_000, 500), "opus-5 opus-4-8 opus-4-7 opus-4-6 opus-4-5 opus-4-5-20251101"),
    (_Lines(2_000, 10_000, 2_500, 4_000, 100), "sonnet-5-5"),
    (_Lines(2_000, 10_000, 2_500, 4_000, 200), "sonnet-5"),
    (_Lines(3_000, 15_000, 3_750, 6_000, 300), "sonnet-4-6 sonnet-4-5 sonnet-4-5-20250929"),
    (_Lines(100, 500, 125, 200, 10), "haiku-5-5"),
    (_Lines(1_000, 5_000, 1_250, 2_000, 100), "haiku-4-5 haiku-4-5-20251001"),
)
_BY_MODEL: Final[Mapping[str, _Lines]] = MappingProxyType(
    {f"claude-{name}": lines for lines, names in _FLAT for name in names.split()}
)
_SONNET_4_5_LONG: Final = (200_000, _Lines(6_000, 22_500, 7_500, 12_000, 600))
#: With a prompt of more tokens than so many, cached ones included, every token of the request has these prices.
_LONG: Final[Mapping[str, tuple[int, _Lines]]] = MappingProxyType(
    {
        "claude-haiku-5-5": (100_000, _Lines(500, 2_500, 625, 1_000, 50)),
        "claude-sonnet-4-5": _SONNET_4_5_LONG,
        "claude-sonnet-4-5-20250929": _SONNET_4_5_LONG,
    }
)


def nanos_of(usage: AnswerUsage) -> int:
    """Nano-dollars for one answer in a batch, rounded up once. Raises LookupError for a model without a price."""
    if not usage.is_charged:
        return 0
    standard = _standard(usage.model, usage.tokens) + sum(_standard(call.model, call.tokens) for call in usage.beside)
    share = _BATCH_IN_US if usage.geo == "us" else _BATCH
    return -(-standard * share // _TWENTIETHS) + usage.searches * _SEARCH_NANOS


def _standard(model: str, tokens: TokenCounts) -> int:
    lines = _BY_MODEL.get(model)
    if lines is None:
        raise LookupError(f"the sandbox has no price for {model}")
    above, long = _LONG.get(model, (0, lines))
    if above and tokens.input + tokens.write_5m + tokens.write_1h + tokens.read > above:
        lines = long
    return (
        tokens.input * lines.input
        + tokens.output * lines.output
        + tokens.write_5m * lines.write_5m
        + tokens.write_1h * lines.write_1h
        + tokens.read * lines.read
    )


#: The model that advises, which has a price of its own.
ADVISOR: Final = "claude-opus-5"
#: A refusal before any output is free, but for these categories (release note of 2026-09-24).
_CHARGED_REFUSALS: Final = frozenset({"bio", "frontier_llm", "reasoning_extraction"})
#: What public captures of batches say where nobody asked for a region.
GEO_UNKNOWN: Final = "not_available"


class TokenCounts(msgspec.Struct, frozen=True, gc=False):
    """The token lines of `usage`. `input` excludes what was read from the cache and written to it."""

    input: int
    output: int
    write_5m: int = 0
    write_1h: int = 0
    read: int = 0


class SideCall(msgspec.Struct, frozen=True, gc=False):
    """An iteration that `usage.iterations` lists beside the answer's own: its type, model and tokens."""

    kind: str
    model: str
    tokens: TokenCounts


class AnswerUsage(msgspec.Struct, frozen=True, gc=False):
    """The usage of one answer. `tokens` is the top level, without *beside*. `is_charged`: False for free refusals."""

    model: str
    tokens: TokenCounts
    beside: tuple[SideCall, ...] = ()
    searches: int = 0
    geo: str = GEO_UNKNOWN
    is_charged: bool = True


def usage_of(row: Row, batch: SandboxBatch) -> AnswerUsage:
    """The usage of the answer to *row*, which was answered in *batch*."""
    read, write_5m, write_1h = batch.cached(row)
    tokens = TokenCounts(row.tokens - read - write_5m - write_1h, _output(row), write_5m, write_1h, read)
    extras = row.extras
    if extras is None:
        return AnswerUsage(row.model, tokens)
    return AnswerUsage(
        row.model,
        tokens,
        beside=(_side_call(row, extras.beside),) if extras.beside else (),
        searches=extras.searches,
        geo=extras.geo or GEO_UNKNOWN,
        is_charged=not extras.category or extras.category in _CHARGED_REFUSALS,
    )


def _side_call(row: Row, kind: str) -> SideCall:
    """A compaction has read a long context; an advisor of another model the prompt."""
    words = 50 + row.digest[2]
    if kind == "compaction":
        return SideCall(kind, row.model, TokenCounts(50_000 + 256 * row.digest[3], words))
    return SideCall(kind, ADVISOR, TokenCounts(row.tokens + 500, words))


def _output(row: Row) -> int:
    """An answer has as many tokens as its text, up to `max_tokens`; a refusal one, or none if it has a category."""
    if row.fate is Fate.REFUSED:
        return 1 if row.extras is None or not row.extras.category else 0
    if row.stop == "max_tokens":
        return row.max_tokens
    return max(1, min(row.max_tokens, len(row.text) // CHARS_PER_TOKEN))
