"""The contract of rows: what requests were made of is kept, read beside their results, and goes with the prompts."""

from __future__ import annotations

import msgspec
import pytest
from store.conformance.contract import case
from store.store_world import (
    BODY,
    LATER,
    NOW,
    PARAMS,
    batch_of,
    collected,
    finish,
    lines,
    lines_of_table,
    lost,
    new_job,
    planned,
    row_of,
    running_job,
    settle_all,
    won,
)

from orchestrator.domain.errors import Purged
from orchestrator.domain.ids import JobId
from orchestrator.domain.queries import RequestBodies, RequestFilter, SettledCursor
from orchestrator.domain.result_choice import ALL_OF_A_JOB, RequestChoice
from orchestrator.domain.result_outcome import Outcome
from orchestrator.domain.row_columns import ColumnKind
from orchestrator.domain.states import RequestState
from orchestrator.ports.job_store import Content, DuplicatesCursor, IngestOutcome
from orchestrator.ports.store import Store
from orchestrator.ports.streams import InputLine


async def rows_of(store: Store, job: JobId, *, above: int = 0, limit: int = 9) -> list[bytes]:
    """The rows of a page of results."""
    page = await store.read(lambda reads: reads.results(job, above=above, limit=limit, rows=True))
    return [result.row for result in page]


async def with_rows(store: Store, *chunks: list[InputLine], name: str = "table") -> JobId:
    """A job of *chunks* that is over: every request succeeded."""
    job = await store.ingest.begin(new_job(name), f"{name}-id", NOW)
    for chunk in chunks:
        await store.ingest.add(job.id, chunk, NOW)
    await finish(store, job.id, name)
    total = sum(map(len, chunks))
    await settle_all(store, await collected(store, job.id, [won(n) for n in range(1, total + 1)], nonce=name[0]))
    await store.settle.finish_jobs(NOW)
    return job.id


@case
async def a_row_comes_back_byte_for_byte_beside_its_result(store: Store) -> None:
    """In both orders and page by page; only if it is asked for; a neighbour has its own."""
    job = await with_rows(store, lines_of_table(["a", "b", "c"]), lines_of_table(["d"], first_line=4))
    other = await with_rows(store, lines_of_table(["x"]), name="other")
    wanted = [row_of(name) for name in "abcd"]
    assert await rows_of(store, job) == wanted
    assert [await rows_of(store, job, above=at, limit=1) for at in range(4)] == [[row] for row in wanted]
    assert await rows_of(store, job, above=4) == []
    assert await rows_of(store, other) == [row_of("x")]
    plain = await store.read(lambda reads: reads.results(job, above=0, limit=9))
    assert [(result.custom_id, result.row, result.body) for result in plain] == [(name, b"", BODY) for name in "abcd"]
    settled, _ = await store.read(lambda reads: reads.settled_results(job, after=SettledCursor(), limit=9, rows=True))
    assert [result.row for result in settled] == wanted
    assert (await store.read(lambda reads: reads.request(job, "c"))).row == row_of("c")


@case
async def requests_that_are_wanted_come_as_lines_of_an_input(store: Store) -> None:
    """Page by page, with their rows if that is asked for; listed by the same choice."""
    job = await with_rows(store, lines_of_table(["a", "b", "c"]))
    more = await store.read(lambda reads: reads.request_lines(job, ALL_OF_A_JOB, after="a", limit=9, rows=True))
    assert [(line.custom_id, row_of(line.custom_id) in line.text) for line in more] == [("b", True), ("c", True)]
    (first,) = await store.read(lambda reads: reads.request_lines(job, ALL_OF_A_JOB, after=None, limit=1))
    assert (first.custom_id, row_of("a") in first.text, first.text[-1:]) == ("a", False, b"\n")
    failed = RequestChoice(states=frozenset({RequestState.FAILED}))
    for choice, wanted in ((ALL_OF_A_JOB, [2, 3]), (failed, [])):
        listed = await store.read(lambda reads, of=choice: reads.chosen_requests(job, of, above=1, limit=9))  # type: ignore[misc]
        assert [row.number for row in listed] == wanted


@case
async def requests_are_listed_from_the_end_and_by_how_their_ids_begin(store: Store) -> None:
    """With what their answers took, and what they say, where that is not too long."""
    job = await with_rows(store, lines_of_table(["a-1", "b-1", "a-2"]))
    begin = RequestFilter(id_prefix="a-")
    rows = await store.read(lambda reads: reads.requests_before(job, below=None, limit=9, where=begin))
    assert [(row.number, row.input_tokens) for row in rows] == [(3, None), (1, None)]
    counted = await store.read(lambda reads: reads.with_counts(job, rows))
    assert [(row.number, row.cost_nanos) for row in counted] == [(3, 0), (1, 0)]
    bodies = await store.read(lambda reads: reads.bodies_of(job, rows, most=1000))
    assert bodies == [RequestBodies(params=PARAMS, result=BODY)] * 2
    assert await store.read(lambda reads: reads.bodies_of(job, rows, most=1)) == [RequestBodies()] * 2
    chosen = RequestChoice(within=begin)
    results = await store.read(lambda reads: reads.results(job, above=1, limit=9, rows=True, choice=chosen))
    assert [(result.custom_id, result.row, result.body) for result in results] == [("a-2", row_of("a-2"), BODY)]


@case
async def requests_without_a_row_have_none(store: Store) -> None:
    """Between others, in a chunk of their own before, among and behind those with rows, and in a job without any."""
    mixed = lines_of_table(["b", "c"], first_line=2)
    mixed[0] = msgspec.structs.replace(mixed[0], row=b"")
    job = await with_rows(
        store, lines(["a"]), mixed, lines(["d", "e"], first_line=4), lines_of_table(["f"], first_line=6), lines(["g"])
    )
    assert await rows_of(store, job) == [b"", b"", row_of("c"), b"", b"", row_of("f"), b""]
    assert await rows_of(store, job, above=3, limit=2) == [b"", b""]
    for name in "abg":
        assert (await store.read(lambda reads, name=name: reads.request(job, name))).row is None  # type: ignore[misc]
    plain = await with_rows(store, lines(["x", "y"]), name="plain")
    assert await rows_of(store, plain) == [b"", b""]


@case
async def rows_are_many_blocks_where_they_are_large(store: Store) -> None:
    """A page takes what it needs of each, whatever lies between."""
    large = [
        msgspec.structs.replace(line, row=b'{"text":"%b"}' % (b"%d" % line.line * 20_000))
        for line in lines(map(str, range(300)))
    ]
    job = await with_rows(store, large)
    assert await rows_of(store, job, limit=300) == [line.row for line in large]
    assert await rows_of(store, job, above=150, limit=3) == [line.row for line in large[150:153]]


@case
async def rows_go_with_an_import_that_is_discarded_and_a_job_that_is_purged(store: Store) -> None:
    """Of that one alone. What is handed in again attaches, and leaves nothing of its own."""
    kept = await with_rows(store, lines_of_table(["a"]), name="kept")
    left = await store.ingest.begin(new_job("left"), "left-id", NOW)
    await store.ingest.add(left.id, lines_of_table(["b"]), NOW)
    await store.ingest.discard(left.id)
    again = await store.ingest.begin(new_job("again"), "again-id", NOW)
    await store.ingest.add(again.id, lines_of_table(["a"]), NOW)
    how, found = await store.ingest.conclude(
        again.id, new_job(), Content(hash="kept", size_bytes=1), NOW, force_new=False
    )
    assert (how, found.id) == (IngestOutcome.SAME, kept)
    await store.ingest.discard(again.id)
    gone = await with_rows(store, lines_of_table(["c"]), name="gone")
    assert await store.purge.mark(gone, "person", LATER)
    assert (await store.read(lambda reads: reads.request(gone, "c"))).row is None
    while await store.purge.purge_some():
        pass
    assert await rows_of(store, kept) == [row_of("a")]


@case
async def a_repeated_request_is_told_with_its_row_and_can_be_left_out(store: Store) -> None:
    """So that the line can be handed in again; the rows of the others stay theirs."""
    job = await store.ingest.begin(new_job(), "table-id", NOW)
    await store.ingest.add(job.id, lines_of_table(["a", "a", "b"]), NOW)
    (told,), _ = await store.ingest.repeated(job.id, DuplicatesCursor(), leave_out=True)
    assert (told.line, told.row) == (2, row_of("a"))
    await finish(store, job.id)
    await settle_all(store, await collected(store, job.id, [won(1), won(3)]))
    await store.settle.finish_jobs(NOW)
    assert await rows_of(store, job.id) == [row_of("a"), row_of("b")]


@case
async def an_open_job_grows_with_rows(store: Store) -> None:
    """Each addition has its own; a repeated id is told with its row."""
    job = await running_job(store, 0, still_open=True)
    assert await store.ingest.extend(job.id, lines_of_table(["a"]), NOW) == []
    (told,) = await store.ingest.extend(job.id, lines_of_table(["a"]), NOW)
    assert told.row == row_of("a")
    assert await store.ingest.extend(job.id, lines(["b"]), NOW) == []
    assert await store.ingest.extend(job.id, lines_of_table(["c"]), NOW) == []
    for name, row in (("a", row_of("a")), ("b", None), ("c", row_of("c"))):
        assert (await store.read(lambda reads, name=name: reads.request(job.id, name))).row == row  # type: ignore[misc]


@case
async def a_request_that_goes_again_keeps_its_row(store: Store) -> None:
    """A retry sends the same request; what it was made of is not handed in anew."""
    job = await store.ingest.begin(new_job(), "table-id", NOW)
    await store.ingest.add(job.id, lines_of_table(["a"]), NOW)
    await finish(store, job.id)
    await settle_all(store, await collected(store, job.id, [lost(1, Outcome.FAILED)]), max_attempts=1)
    await store.settle.finish_jobs(NOW)
    assert await rows_of(store, job.id) == [row_of("a")]
    await store.retries.retry(job.id, (), LATER)
    batch = await planned(store, job.id, nonce="b")
    assert (await batch_of(store, batch.id)).count == 1
    assert (await store.read(lambda reads: reads.request(job.id, "a"))).row == row_of("a")


@case
async def the_columns_of_rows_are_told_in_the_order_of_the_first_that_has_them(store: Store) -> None:
    """Of all rows, settled or not, across blocks; a job without rows has none; a purged one says that it is."""
    made = lines(["a", "b", "c", "d"])
    rows = [b"", b'{"id":1,"t":"x"}', b'{"t":null,"late":true}', b'{"id":2.5}']
    parts = [msgspec.structs.replace(line, row=row) for line, row in zip(made, rows, strict=True)]
    job = await store.ingest.begin(new_job("open"), "open-id", NOW)
    for part in parts:
        await store.ingest.add(job.id, [part], NOW)
    await finish(store, job.id, "open")
    wanted = [("id", ColumnKind.NUMBER), ("t", ColumnKind.TEXT), ("late", ColumnKind.BOOLEAN)]
    found = await store.read(lambda reads: reads.row_columns(job.id))
    assert [(column.name, column.kind) for column in found] == wanted
    plain = await with_rows(store, lines(["x"]), name="plain")
    assert await store.read(lambda reads: reads.row_columns(plain)) == ()
    assert await store.purge.mark(plain, "person", LATER)
    with pytest.raises(Purged):
        await store.read(lambda reads: reads.row_columns(plain))
