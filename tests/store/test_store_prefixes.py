"""Lists by how the custom ids begin, and lists from their ends: exactly what a look at every row would find."""

from __future__ import annotations

import asyncio
from itertools import product
from operator import methodcaller
from pathlib import Path
from typing import Final

import pytest
from store.store_world import (
    NOW,
    PARAMS,
    collected,
    finish,
    in_progress,
    lines,
    lost,
    new_job,
    open_store,
    settle_all,
    won,
)

from orchestrator.domain.ids import JobId
from orchestrator.domain.queries import ALL_REQUESTS, RequestBodies, RequestFilter, RequestRow
from orchestrator.domain.result_choice import RequestChoice
from orchestrator.domain.states import RequestState
from orchestrator.ports.reads import Reads
from orchestrator.store import custom_ids
from orchestrator.store.sqlite_store import SqliteStore

#: In no order; some begin with others, some hold what no other text ends before.
IDS: Final = [
    *(
        "b-3",
        "a",
        "b-1",
        "ab",
        "é",
        "b",
        "a\0",
        "b-2",
        "😀",
        "\U0010ffff",
        "b-10",
        "B-1",
        "a\x01",
        "c",
        "d",
        "b-1\U0010ffff",
    ),
    *(f"r-{number:02}" for number in range(20, 0, -1)),
]
PREFIXES: Final = [
    "",
    "a",
    "b-",
    "b-1",
    "a\0",
    "B",
    "é",
    "😀",
    "\U0010ffff",
    "r-",
    "r-0",
    "r-07",
    "nobody",
    "b-1\U0010ffff",
]
FILTERS: Final = [
    ALL_REQUESTS,
    *(RequestFilter(state=state) for state in RequestState),
    RequestFilter(error_type="expired"),
    RequestFilter(stop_reason="end_turn"),
    RequestFilter(cause="no such"),
]


async def a_job(store: SqliteStore) -> JobId:
    """In three runs and an open one: some succeeded, some failed, some are at the API, the others wait."""
    job = (await store.ingest.begin(new_job(still_open=True), "job-id", NOW)).id
    for start in range(0, 30, 10):
        await store.ingest.add(job, lines(IDS[start : start + 10], first_line=start + 1), NOW)
    await finish(store, job, still_open=True)
    assert await store.ingest.extend(job, lines(IDS[30:], first_line=31), NOW) == []
    answers = [won(number) if number % 3 else lost(number) for number in range(1, 22)]
    await settle_all(store, await collected(store, job, answers, "a", limit=21), max_attempts=1)
    await in_progress(store, job, limit=4, nonce="b")
    return job


def wanted(rows: list[RequestRow], prefix: str, where: RequestFilter) -> list[int]:
    """What a look at every row finds."""
    return [
        row.number
        for row in rows
        if row.custom_id.startswith(prefix)
        and where.state in (None, row.state)
        and where.error_type in (None, row.error_type)
        and where.stop_reason in (None, row.stop_reason)
        and where.cause is None
    ]


def check(job: JobId, reads: Reads) -> None:
    """Every filter with every prefix, whole and in pages, from both ends."""
    rows = reads.requests(job, limit=100)
    assert len(rows) == len(IDS)
    for prefix, plain in product(PREFIXES, FILTERS):
        where = RequestFilter(
            state=plain.state, error_type=plain.error_type, stop_reason=plain.stop_reason, cause=plain.cause,
            id_prefix=prefix,
        )  # fmt: skip
        found = wanted(rows, prefix, plain)
        for at in (0, 15):
            after = [row.number for row in reads.requests(job, above=at, limit=3, where=where)]
            assert after == [number for number in found if number > at][:3], (prefix, plain, at)
            before = [row.number for row in reads.requests_before(job, below=at or None, limit=3, where=where)]
            assert before == [number for number in reversed(found) if number < (at or 99)][:3], (prefix, plain, at)


@pytest.mark.parametrize("looked_at", [2, 5_000])
def test_a_list_by_the_beginning_of_ids_is_exact_whatever_else_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    """Whether few ids begin so or more than are looked at one by one; in every run of them, and in pages both ways."""
    monkeypatch.setattr("orchestrator.store.custom_ids.RUN", 10)
    monkeypatch.setattr("orchestrator.store.request_pages._LOOKED_AT", looked_at)

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await a_job(store)
            await store.read(lambda reads: check(job, reads))

    asyncio.run(run())


def test_results_of_what_is_wanted_are_those_that_are_settled(tmp_path: Path) -> None:
    """A page in which nothing is settled is passed over, so that no results are the end."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = (await store.ingest.begin(new_job(), "job-id", NOW)).id
            await store.ingest.add(job, lines(f"{'ab'[number % 2]}{number}" for number in range(1, 10)), NOW)
            await finish(store, job)
            await settle_all(
                store, await collected(store, job, [won(1), lost(2), won(3)], "a", limit=3), max_attempts=1
            )
            await store.plan.fail_queued(job, 9, ("invalid", "too large"), b"{}", NOW)
            begin = RequestChoice(within=RequestFilter(id_prefix="b"))
            for above, found in ((0, ["b1"]), (1, ["b3"]), (3, ["b9"]), (9, [])):
                page = await store.read(
                    lambda reads, above=above: reads.results(job, above=above, limit=1, choice=begin)  # type: ignore[misc]
                )
                assert [result.custom_id for result in page] == found

    asyncio.run(run())


def test_what_begins_alike_lies_between_two_texts() -> None:
    """Behind the last code point that a text can have comes nothing."""
    assert custom_ids.between("ab") == ("ab", "ac")
    assert custom_ids.between("a\U0010ffff") == ("a\U0010ffff", "b")
    assert custom_ids.between("\ud7ff") == ("\ud7ff", "\ue000")
    low, high = custom_ids.between("\U0010ffff")
    assert low < "\U0010ffff" * 300 < high


def test_bodies_of_a_page_are_read_up_to_a_size(tmp_path: Path) -> None:
    """A prompt of a hundred megabytes on a page costs nobody anything; of a purged job there is none."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = (await store.ingest.begin(new_job(), "job-id", NOW)).id
            await store.ingest.add(job, lines(["a", "b"]), NOW)
            await store.ingest.add(job, lines(["c"], first_line=3, params=PARAMS + b" " * 500), NOW)
            await finish(store, job)
            await settle_all(
                store, await collected(store, job, [won(1), lost(2), won(3)], "a", limit=3), max_attempts=1
            )

            async def bodies(most: int) -> list[RequestBodies]:
                return await store.read(
                    lambda reads: reads.bodies_of(job, reads.requests_before(job, below=None, limit=9), most=most)
                )

            assert [found.params for found in await bodies(len(PARAMS))] == [None, PARAMS, PARAMS]
            third, second, first = await bodies(5_000)
            assert third.params == PARAMS + b" " * 500
            stored = [(await store.read(methodcaller("request_at", job, number))).result for number in (1, 2, 3)]
            assert [first.result, second.result, third.result] == stored
            assert None not in stored
            assert await bodies(1) == [RequestBodies()] * 3

    asyncio.run(run())
