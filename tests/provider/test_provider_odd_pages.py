"""A page of the list in which some entries cannot be read: each costs only itself (promise 5)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from provider.provider_world import batch_json

from orchestrator.domain.api_answers import ResponseMeta
from orchestrator.provider.parsing import Unreadable, read_page

GOOD = batch_json(count=3, remote_id="msgbatch_good")
LAST = batch_json(count=4, remote_id="msgbatch_last")


def text(entry: object) -> bytes:
    return entry if isinstance(entry, bytes) else json.dumps(entry).encode()


def page_of(*entries: object, **fields: object) -> bytes:
    rest = json.dumps({"has_more": False, "first_id": None, "last_id": "msgbatch_last", **fields}).encode()
    return b'{"data":[' + b", ".join(map(text, entries)) + b"]," + rest[1:]


ODD: list[object] = [
    {**GOOD, "processing_status": "archived"},
    {**GOOD, "processing_status": None},
    {**GOOD, "id": "batch_1"},
    {**GOOD, "id": 7},
    {**GOOD, "id": ""},
    {**GOOD, "id": None},
    {**GOOD, "type": "message"},
    {**GOOD, "expires_at": None},
    {**GOOD, "created_at": None},
    {**GOOD, "created_at": "yesterday"},
    {**GOOD, "created_at": "0001-01-01T00:00:00Z"},
    {**GOOD, "ended_at": 5},
    {**GOOD, "request_counts": None},
    {**GOOD, "request_counts": []},
    {**GOOD, "request_counts": {"processing": -1, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}},
    {**GOOD, "request_counts": {"processing": 2**70, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}},
    {},
    {"id": {"a": 1}},
    None,
    True,
    7,
    "msgbatch_text",
    [],
    [GOOD],
    b"[" * 5000 + b"]" * 5000,
    b'{"id":"msgbatch_deep","x":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
    b'{"id":"msgbatch_nan","x":NaN}',
    b'{"id":"msgbatch_\xff\xfe"}',
    b'{"\xff":1}',
    b'{"id":"msgbatch_half\\ud83d"}',
    b'{"id":"msgbatch_brackets","x":"]}]}\\"","y":Infinity}',
    b'{"id":01}',
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:60])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_entry_that_cannot_be_read_costs_only_itself(odd: object, place: int) -> None:
    """F8: one foreign entry, any field and any shape, stopped every send and every poll."""
    entries: list[object] = [GOOD, LAST]
    entries.insert(place, odd)
    page = read_page(page_of(*entries), ResponseMeta())
    assert [batch.id for batch in page.batches] == ["msgbatch_good", "msgbatch_last"]
    assert len(page.malformed) == 1
    assert page.malformed[0].why
    assert page.last_id in {"msgbatch_last", page.malformed[0].id}


def test_what_can_be_told_of_an_odd_entry_is_kept() -> None:
    """F8: a doubt asks whether it could be ours: its size and its time say no, or nothing does."""
    (odd,) = read_page(page_of({**GOOD, "processing_status": "archived"}), ResponseMeta()).malformed
    assert (odd.id, odd.mark, odd.total) == ("msgbatch_good", "msgbatch_good", 3)
    assert odd.created_at == datetime(2026, 11, 20, 18, 37, 24, 100435, tzinfo=UTC)
    (bare,) = read_page(page_of({"id": None, "created_at": "0001-01-01T00:00:00Z"}), ResponseMeta()).malformed
    assert (bare.id, bare.total, bare.created_at) == (None, None, None)
    assert bare.mark.startswith("unreadable-")


def test_an_odd_entry_without_an_id_has_a_name_that_its_bytes_give() -> None:
    """F8: so a person can say something about it, look after look."""
    first, again, other = (
        read_page(page_of(entry), ResponseMeta()).malformed[0].mark for entry in ({"a": 1}, {"a": 1}, {"a": 2})
    )
    assert first == again != other


def test_a_walk_goes_on_below_the_last_entry_that_has_an_id() -> None:
    """F8: the API's own last_id serves where no entry has one."""
    assert read_page(page_of(GOOD, {**LAST, "type": "x"}), ResponseMeta()).last_id == "msgbatch_last"
    assert read_page(page_of(GOOD, None), ResponseMeta()).last_id == "msgbatch_good"
    assert read_page(page_of(None, last_id="msgbatch_theirs"), ResponseMeta()).last_id == "msgbatch_theirs"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"data":[',
        b"<html></html>",
        page_of(GOOD)[:-5],
        page_of(GOOD, has_more=None),
        page_of(GOOD, has_more="yes"),
        page_of(GOOD, last_id=7),
        json.dumps({"data": {}, "has_more": False}).encode(),
        json.dumps({"data": None, "has_more": False}).encode(),
        json.dumps({"has_more": False}).encode(),
        json.dumps({"data": [GOOD]}).encode(),
        b"[" * 100_000,
        b'{"data":' + b"[" * 100_000,
        page_of(GOOD, b'{"x":NaN}', has_more=None),
    ],
)
def test_a_page_whose_own_fields_cannot_be_used_is_no_page(body: bytes) -> None:
    """F8: without them a walk does not know whether it is over."""
    with pytest.raises(Unreadable):
        read_page(body, ResponseMeta())
