"""The list of batches as of an instant, its pages, and its faults: late entries, missing ones, malformed ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from orchestrator.domain.batches_api import BatchListObject, MessageBatchObject, batch_not_found
from orchestrator.sandbox.faults import FaultPlan
from orchestrator.sandbox.sandbox_batch import SandboxBatch
from orchestrator.sandbox.seeded import unit

#: A batch that one listing misses is missed in one of its first so many.
_MISSED_WITHIN: Final = 6


class Listing:
    """Which batches of a workspace the list shows."""

    def __init__(self, *, seed: int, plan: FaultPlan) -> None:
        self._seed = seed
        self._plan = plan
        self._listings: Counter[str] = Counter()

    def shows(self, batch: SandboxBatch, now: datetime) -> bool:
        """True if a list as of *now* has *batch*. Call it once for each listing."""
        gone = batch.deleted or batch.is_hidden(now)
        return not gone and batch.created_at + self._lag(batch) <= now and not self._misses(batch)

    def _lag(self, batch: SandboxBatch) -> timedelta:
        """The delay before the list shows *batch*. Most are small, as in real lists."""
        same, own = self._plan.amount("list_lag"), self._plan.amount("list_lag_each")
        return timedelta(seconds=same + own * unit(self._seed, "lag", batch.id) ** 4 if own else same)

    def _misses(self, batch: SandboxBatch) -> bool:
        """True for one listing, among the first ones, for the share of batches in `list_miss`."""
        share = self._plan.amount("list_miss")
        if not share or unit(self._seed, "missed", batch.id) >= share:
            return False
        self._listings[batch.id] += 1
        return self._listings[batch.id] == 1 + int(unit(self._seed, "missed in", batch.id) * _MISSED_WITHIN)


def place_of(shown: Sequence[SandboxBatch], cursor: str) -> int:
    """The position of *cursor* in *shown*. Raises ApiError 404."""
    for place, batch in enumerate(shown):
        if batch.id == cursor:
            return place
    raise batch_not_found(cursor)


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, object])
_DEEP: Final = b'{"id":%b,"deep":' + b"[" * 2000 + b"]" * 2000 + b"}"
_NO_JSON: Final = b'{"id":%b,"score":NaN}'
Entry = Mapping[str, object]

#: What keeps its id. A list may show any batch like this; asked for alone it is as it should be.
_NAMED: Final[tuple[Callable[[Entry], object], ...]] = (
    lambda entry: {**entry, "processing_status": "archived"},
    lambda entry: {**entry, "expires_at": None},
    lambda entry: {**entry, "created_at": "soon"},
    lambda entry: {**entry, "request_counts": {"processing": -1}},
    lambda entry: {**entry, "type": None},
    lambda entry: {"id": entry["id"]},
    lambda entry: msgspec.Raw(_DEEP % _encode(entry["id"])),
    lambda entry: msgspec.Raw(_NO_JSON % _encode(entry["id"])),
)
#: What nobody can be asked about: only for neighbours' batches, because a batch must stay findable by its id.
_NAMELESS: Final[tuple[Callable[[Entry], object], ...]] = (
    lambda entry: {**entry, "id": None},
    lambda entry: {"created_at": entry["created_at"]},
    lambda _: None,
    lambda _: [],
)


def malformed_page(page: BatchListObject, plan: FaultPlan, *, seed: int, foreign: Callable[[str], bool]) -> object:
    """*page* with malformed entries for a share of the batches, always the same ones in the same way.

    Clients must bear entries that are not batches as documented.
    """
    if not plan.amount("odd_entries"):
        return page
    data = [_entry(batch, seed, foreign) if plan.happens("odd_entries", batch.id) else batch for batch in page.data]
    return {"data": data, "has_more": page.has_more, "first_id": page.first_id, "last_id": page.last_id}


def _entry(batch: MessageBatchObject, seed: int, foreign: Callable[[str], bool]) -> object:
    shapes = (*_NAMED, *_NAMELESS) if foreign(batch.id) else _NAMED
    return shapes[int(unit(seed, "odd", batch.id) * len(shapes))](_decode.decode(_encode(batch)))
