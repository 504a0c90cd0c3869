"""Entries of the list that are not batches as documented, for clients that must bear them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from orchestrator.domain.batches_api import BatchListObject, MessageBatchObject
from orchestrator.sandbox.chance import unit
from orchestrator.sandbox.faults import FaultPlan

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


def odd_page(page: BatchListObject, plan: FaultPlan, *, seed: int, foreign: Callable[[str], bool]) -> object:
    """*page*, in which for a share of the batches the entry is odd, always the same ones and in the same way."""
    if not plan.amount("odd_entries"):
        return page
    data = [_entry(batch, seed, foreign) if plan.happens("odd_entries", batch.id) else batch for batch in page.data]
    return {"data": data, "has_more": page.has_more, "first_id": page.first_id, "last_id": page.last_id}


def _entry(batch: MessageBatchObject, seed: int, foreign: Callable[[str], bool]) -> object:
    shapes = (*_NAMED, *_NAMELESS) if foreign(batch.id) else _NAMED
    return shapes[int(unit(seed, "odd", batch.id) * len(shapes))](_decode.decode(_encode(batch)))
