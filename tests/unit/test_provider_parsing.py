"""The API's answers, read strictly: what no program can calculate with is unreadable, never stored."""

from __future__ import annotations

import json

import pytest

from orchestrator.provider.parsing import Unreadable, read_batch, read_meta

GOOD: dict[str, object] = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {"processing": 3, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
    "created_at": "2026-11-23T12:00:00Z",
    "expires_at": "2026-11-24T12:00:00+00:00",
}


def test_a_batch_is_read_with_both_ways_to_write_utc() -> None:
    """Both were seen on the wire."""
    batch = read_batch(json.dumps(GOOD).encode())
    assert (batch.expires_at - batch.created_at).total_seconds() == 86_400


@pytest.mark.parametrize(
    "odd",
    [
        {"created_at": "0001-01-01T00:00:00Z"},
        {"created_at": "0001-01-01T00:00:00+01:00"},
        {"expires_at": "9999-12-31T23:59:59-05:00"},
        {"ended_at": "9999-12-31T23:59:59Z"},
        {"request_counts": {"processing": 2**70, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}},
    ],
    ids=str,
)
def test_a_time_or_count_that_cannot_be_makes_the_answer_unreadable(odd: dict[str, object]) -> None:
    """One zero time from a server once stopped the whole store: it could be written but not read back."""
    with pytest.raises(Unreadable):
        read_batch(json.dumps({**GOOD, **odd}).encode())


@pytest.mark.parametrize("date", ["Mon, 01 Jan 0999 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday", ""])
def test_a_date_that_cannot_be_is_no_date(date: str) -> None:
    """The Date header is the clock that doubt is measured by."""
    assert read_meta({"date": date}).date is None
