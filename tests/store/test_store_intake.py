"""Intake: whole or not at all, every duplicate named with both lines, every byte back as it came."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from operator import attrgetter, methodcaller
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.store_world import (
    LATER,
    NOW,
    PARAMS,
    ended,
    finish,
    lines,
    new_job,
    open_store,
    planned,
    raw,
    running_job,
    settle_all,
    won,
)

from orchestrator.domain.errors import GuardRefused, StoreError
from orchestrator.domain.ids import JobId
from orchestrator.ports.job_store import Content, Duplicate, DuplicatesCursor, IngestOutcome
from orchestrator.ports.reads import Reads
from orchestrator.ports.streams import InputLine, InputProblem
from orchestrator.store.ingestion import _discard_some
from orchestrator.store.payload import Block, encode_block
from orchestrator.store.sqlite_store import SqliteStore

BULKY = ("request", "known_id", "payload", "refused_line", "job")


def rows_of(path: Path, *tables: str) -> dict[str, int]:
    """How many rows each table has."""
    with closing(raw(path)) as c:
        sql = "SELECT count(*) FROM "
        return {table: c.execute(sql + table).fetchone()[0] for table in tables}


def duplicate(line: int, custom_id: str, first_line: int) -> Duplicate:
    """A line left out."""
    return Duplicate(line=line, custom_id=custom_id, first_line=first_line, params=PARAMS)


async def repeats_of(store: SqliteStore, job: JobId, *, leave_out: bool) -> list[Duplicate]:
    """Every repeat of an import, by line."""
    found: list[Duplicate] = []
    after: DuplicatesCursor | None = DuplicatesCursor()
    while after is not None:
        some, after = await store.ingest.repeated(job, after, leave_out=leave_out)
        found += some
    return sorted(found, key=attrgetter("line"))


def test_duplicates_are_named_with_both_lines_within_a_chunk_and_across(tmp_path: Path) -> None:
    """The user mends a file with this: the line at fault, and the line that has the id already."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await store.ingest.begin(new_job(), "job-1", NOW)
            for first_line, ids in ((1, "abaca"), (6, "dbde"), (10, "ae")):
                await store.ingest.add(job.id, lines(list(ids), first_line=first_line), NOW)
            told = [
                duplicate(3, "a", 1), duplicate(5, "a", 1), duplicate(7, "b", 2), duplicate(8, "d", 6),
                duplicate(10, "a", 1), duplicate(11, "e", 9),
            ]  # fmt: skip
            assert await repeats_of(store, job.id, leave_out=False) == told
            assert await repeats_of(store, job.id, leave_out=True) == told
            assert await repeats_of(store, job.id, leave_out=True) == []
            done = await finish(store, job.id, "h")
            assert done.requests.total == 5
            numbers = await store.plan.queued(job.id, 10, list)
            assert [number for number, _ in numbers] == [1, 2, 4, 6, 9], "the first of each stays, as it is numbered"
            for custom_id, line in zip("abcde", (1, 2, 4, 6, 9), strict=True):
                assert (await store.read(methodcaller("request", job.id, custom_id))).line == line

    asyncio.run(run())


def test_the_number_of_a_request_that_was_left_out_is_not_given_again(tmp_path: Path) -> None:
    """Its params still lie in their block: a request that took its number would be sent with the params of another."""

    def wide(ids: str, *, first_line: int) -> list[InputLine]:
        return [InputLine(n, one, b'{"line":%d}' % n) for n, one in enumerate(ids, first_line)]

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await store.ingest.begin(new_job(still_open=True), "job-1", NOW)
            await store.ingest.add(job.id, wide("abab", first_line=11), NOW)
            await store.ingest.add(job.id, wide("ab", first_line=21), NOW)  # nothing of this block stays
            assert len(await repeats_of(store, job.id, leave_out=True)) == 4
            await finish(store, job.id, still_open=True)
            assert await store.ingest.extend(job.id, wide("cdef", first_line=31), NOW) == []
            batch = await planned(store, job.id)
            sent = await store.params.slice(batch.id, 0, 10_000)
            assert [bytes(params) for _, params in sent] == [b'{"line":%d}' % n for n in (11, 12, 31, 32, 33, 34)]

    asyncio.run(run())


@pytest.mark.parametrize("custom_id", ["a\0b", "\0", "日本", "a'; DROP TABLE job; --", "x" * 5000, "1", " "])
def test_any_text_is_a_custom_id_and_is_found_again(tmp_path: Path, custom_id: str) -> None:
    """NUL too: SQLite's json_each would cut there, and the second copy would come in."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await store.ingest.begin(new_job(), "job-1", NOW)
            await store.ingest.add(job.id, lines([custom_id, "other"]), NOW)
            await store.ingest.add(job.id, lines([custom_id, custom_id], first_line=8), NOW)
            again = await repeats_of(store, job.id, leave_out=True)
            assert again == [duplicate(8, custom_id, 1), duplicate(9, custom_id, 1)]
            await finish(store, job.id, "h")
            view = await store.read(lambda reads: reads.request(job.id, custom_id))
            assert (view.custom_id, view.line) == (custom_id, 1)
            assert await store.collect.numbers(job.id, [custom_id, "other"]) == {custom_id: 1, "other": 2}

    asyncio.run(run())


def test_repeats_are_found_across_many_runs_and_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are sorted in runs and merged in steps, whatever the sizes are."""
    monkeypatch.setattr("orchestrator.store.custom_ids.RUN", 7)
    monkeypatch.setattr("orchestrator.store.custom_ids._MERGED_AT_ONCE", 5)
    monkeypatch.setattr("orchestrator.store.ingestion._REPEATS_AT_ONCE", 3)
    chance = random.Random(4)
    ids = [f"id-{chance.randint(1, 120)}" for _ in range(300)]

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await store.ingest.begin(new_job(), "job-1", NOW)
            for start in range(0, 300, 9):
                await store.ingest.add(job.id, lines(ids[start : start + 9], first_line=start + 1), NOW)
            expected = [
                duplicate(line, one, ids.index(one) + 1) for line, one in enumerate(ids, 1) if ids.index(one) + 1 < line
            ]
            assert await repeats_of(store, job.id, leave_out=True) == expected
            done = await finish(store, job.id, "h")
            assert done.requests.total == len(set(ids)) == 300 - len(expected)
            for custom_id in set(ids):
                view = await store.read(methodcaller("request", job.id, custom_id))
                assert (view.custom_id, view.line) == (custom_id, ids.index(custom_id) + 1)
            assert await store.collect.numbers(job.id, ["nobody", ids[5]]) == {ids[5]: ids.index(ids[5]) + 1}

    asyncio.run(run())


@pytest.mark.parametrize("leave_out", [True, False])
def test_an_id_that_repeats_without_end_is_told_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, leave_out: bool
) -> None:
    """A file whose ids are all the same costs no more memory, and holds the writer no longer, than any other."""
    monkeypatch.setattr("orchestrator.store.ingestion._REPEATS_AT_ONCE", 3)

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await store.ingest.begin(new_job(), "job-1", NOW)
            await store.ingest.add(job.id, lines(["other", *["same"] * 10, "zzz", "zzz"]), NOW)
            found: list[Duplicate] = []
            after: DuplicatesCursor | None = DuplicatesCursor()
            while after is not None:
                some, after = await store.ingest.repeated(job.id, after, leave_out=leave_out)
                assert len(some) <= 3
                found += some
            assert found == [*(duplicate(line, "same", 2) for line in range(3, 12)), duplicate(13, "zzz", 12)]

    asyncio.run(run())


def test_only_an_import_takes_requests_without_being_asked(tmp_path: Path) -> None:
    """What counts the requests refuses them: a job that runs, and is not open, is complete."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 3)
            with pytest.raises(GuardRefused, match="takes no more"):
                await store.ingest.add(job.id, lines(["late"]), NOW)
            assert (await store.commands.get(job.id)).requests.total == 3

    asyncio.run(run())
    assert rows_of(tmp_path / "store.db", "request", "payload") == {"request": 3, "payload": 1}


def test_a_discarded_import_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing: an import that is given up takes its rows along, and is safe to repeat."""
    monkeypatch.setattr("orchestrator.store.custom_ids.RUN", 5_000)
    path = tmp_path / "store.db"

    async def run() -> None:
        async with open_store(path) as store:
            kept = await running_job(store, 3, name="kept")
            before = rows_of(path, *BULKY)
            job = await store.ingest.begin(new_job(), "job-1", NOW)
            for part in range(3):
                await store.ingest.add(job.id, lines(f"x{part}-{i}" for i in range(4_000)), NOW)
            assert rows_of(path, "known_id") == {"known_id": 8_003}, "a run, and some ids that do not fill one yet"
            problem = InputProblem(line=5, field="f", message="m", remedy="r", raw=b"raw")
            await store.ingest.add_refused(job.id, [problem])
            await store.ingest.discard(job.id)
            await store.ingest.discard(job.id)
            assert rows_of(path, *BULKY) == before
            assert (await store.commands.get(kept.id)).requests.total == 3
            assert store.ingest._unsorted == {}

    asyncio.run(run())


@pytest.mark.parametrize("slices", [0, 1, 3, 4, 6, 7])
def test_an_import_whose_discard_was_killed_is_gone_after_the_next_start(
    tmp_path: Path, slices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after any slice: the start finishes it, once, and touches nothing else."""
    monkeypatch.setattr("orchestrator.store.custom_ids.RUN", 5_000)
    path = tmp_path / "store.db"

    async def killed() -> None:
        async with open_store(path) as store:
            await running_job(store, 3, name="kept")
            job = await store.ingest.begin(new_job(), "job-1", NOW)
            for part in range(3):
                await store.ingest.add(job.id, lines(f"x{part}-{i}" for i in range(6_000)), NOW)
            for _ in range(slices):  # runs of ids first, then requests
                assert await store._database.write(partial(_discard_some, job.id))

    async def restarted() -> None:
        async with open_store(path) as store:
            assert await store.discard_leftovers() == 1
            assert await store.discard_leftovers() == 0
            found = await store.read(lambda reads: reads.jobs(limit=10))
            assert [job.name for job in found] == ["kept"]

    asyncio.run(killed())
    asyncio.run(restarted())
    assert rows_of(path, "request", "known_id", "payload", "job") == {
        "request": 3, "known_id": 3, "payload": 1, "job": 1
    }  # fmt: skip


def test_a_job_that_runs_is_never_discarded(tmp_path: Path) -> None:
    """A cancelled intake may ask for it: its last write was committed. And the schema refuses, whoever asks."""
    path = tmp_path / "store.db"

    async def run() -> None:
        async with open_store(path) as store:
            job = await running_job(store, 3)
            await store.ingest.discard(job.id)
            assert (await store.commands.get(job.id)).requests.queued == 3
            for statement in ("DELETE FROM request", "DELETE FROM job"):
                with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError), match="never deleted"):
                    await store._database.write(methodcaller("execute", statement))

    asyncio.run(run())
    assert rows_of(path, "request", "payload", "job") == {"request": 3, "payload": 1, "job": 1}


def test_an_open_job_grows_all_or_none_and_then_closes(tmp_path: Path) -> None:
    """The library adds requests while earlier ones run; each call stands as a whole."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 0, still_open=True)
            assert await store.ingest.extend(job.id, lines(["a", "b"]), NOW) == []
            # The same item numbers come again with every call: they do not make a duplicate look like itself.
            assert await store.ingest.extend(job.id, lines(["a", "c"]), LATER) == [duplicate(1, "a", 1)]
            assert await store.ingest.extend(job.id, lines(["c", "c"]), LATER) == [duplicate(2, "c", 1)]
            grown = await store.commands.get(job.id)
            assert (grown.requests.total, grown.added_at) == (2, NOW), "nothing of a refused call is stored"
            assert await store.settle.finish_jobs(NOW) == []
            await settle_all_of(store, job.id)
            assert await store.settle.finish_jobs(NOW) == [], "an open job waits for more"
            assert await store.ingest.close_open(job.id, NOW)
            assert not await store.ingest.close_open(job.id, NOW)
            assert [done.id for done in await store.settle.finish_jobs(NOW)] == [job.id]
            with pytest.raises(GuardRefused, match="no more requests"):
                await store.ingest.extend(job.id, lines(["z"]), NOW)

    asyncio.run(run())


async def settle_all_of(store: SqliteStore, job: JobId) -> None:
    """Everything of the job succeeds."""
    batch = await ended(store, job)
    await store.collect.store_lines(batch, [won(1), won(2)], NOW)
    await store.collect.collected(batch, NOW)
    (done,) = await store.settle.to_settle()
    await settle_all(store, done)


def test_the_same_content_is_found_only_with_the_same_headers(tmp_path: Path) -> None:
    """Promise 7: the same command twice attaches; another API version or beta is another job."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 1)
            content = Content(hash="hash of job", size_bytes=1)
            again = await store.ingest.begin(new_job("any name"), "again-1", NOW)
            how, same = await store.ingest.conclude(again.id, new_job("any name"), content, NOW, force_new=False)
            assert (how, same.id) == (IngestOutcome.SAME, job.id)
            assert same.betas == ("a", "b"), "kept in order: the order of --beta is no difference"
            with closing(raw(store.path)) as c:
                c.execute("UPDATE job SET betas = 'a'")
            how, made = await store.ingest.conclude(again.id, new_job("any name"), content, NOW, force_new=False)
            assert (how, made.id) == (IngestOutcome.MADE, again.id)
            other = await store.ingest.begin(new_job("any name"), "other-1", NOW)
            how, old = await store.ingest.conclude(
                other.id, new_job("any name"), replace(content, hash="h2"), NOW, force_new=False
            )
            assert (how, old.id) == (IngestOutcome.CHANGED, again.id), "the same file held something else"

    asyncio.run(run())


def two_refused(job: JobId, after: int) -> Callable[[Reads], list[InputProblem]]:
    """A page of at least two."""
    return lambda reads: reads.refused(job, after=after, limit=2)


def test_refused_lines_are_read_in_whole_lines(tmp_path: Path) -> None:
    """A line may have several problems: a page never ends between two of them."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 1)
            problems = [
                InputProblem(line=line, field=f"f{n}", message="m", remedy="r", raw=b"\x00raw")
                for line in (2, 5, 9)
                for n in range(3)
            ]
            await store.ingest.add_refused(job.id, problems)
            read, after = [], 0
            while page := await store.read(two_refused(job.id, after)):
                read += page
                after = page[-1].line
            assert read == problems

    asyncio.run(run())


PARAMS_BYTES = st.binary(min_size=1, max_size=200) | st.just(PARAMS) | st.just(b"\n\0\xff" * 9000)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    chunks=st.lists(st.lists(PARAMS_BYTES, min_size=1, max_size=8), min_size=1, max_size=5), piece=st.integers(1, 4000)
)
def test_params_come_back_byte_for_byte(chunks: list[list[bytes]], piece: int) -> None:
    """Bytes in = bytes out, in order, whatever is in them and however the body is sliced."""

    async def run(path: Path) -> list[tuple[int, bytes]]:
        async with open_store(path, inline=True) as store:
            job = await store.ingest.begin(new_job(), "job-1", NOW)
            number = 1
            for chunk in chunks:
                given_lines = [InputLine(i, f"r{i}", params) for i, params in enumerate(chunk, number)]
                number += len(chunk)
                await store.ingest.add(job.id, given_lines, NOW)
            await finish(store, job.id, "h")
            batch = await planned(store, job.id)
            taken: list[tuple[int, bytes]] = []
            while more := await store.params.slice(batch.id, taken[-1][0] if taken else 0, piece):
                taken += more
            return taken

    with tempfile.TemporaryDirectory() as folder:
        expected = list(enumerate((params for chunk in chunks for params in chunk), 1))
        assert asyncio.run(run(Path(folder) / "store.db")) == expected


@pytest.mark.sqlite
def test_a_damaged_block_is_never_sent(tmp_path: Path) -> None:
    """Every single flipped bit is noticed (or harmless), and so is a cut or a missing block: nothing of it leaves."""
    params = [b"%d" % i * 50 for i in range(1, 9)]
    data = encode_block(params)
    whole = Block(10, 8, data)
    assert [whole.params(10 + i, len(p)) for i, p in enumerate(params)] == params
    assert whole.holds(17)
    assert not whole.holds(18)
    assert not whole.holds(9)
    noticed = 0
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            block = Block(10, 8, bytes(broken))
        except StoreError:
            noticed += 1
        else:
            assert [block.params(10 + i, len(p)) for i, p in enumerate(params)] == params
    assert noticed > 8 * len(data) - 8, "zstd ignores one bit of its header"
    for cut in (0, 1, 5, len(data) - 1):
        with pytest.raises(StoreError, match="damaged"):
            Block(10, 8, data[:cut])
    for row in (None, (1, 8, data), (10, 7, data), (10, 9, data), (10, 10**6, data)):
        with pytest.raises(StoreError, match="damaged"):
            Block.of(17, row)
    with pytest.raises(StoreError, match="damaged"):
        whole.params(10, 51)

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 3)
            batch = await planned(store, job.id)
            with closing(raw(store.path)) as c:
                c.execute("DROP TRIGGER payload_kept")
                c.execute("DELETE FROM payload")
            with pytest.raises(StoreError, match="damaged"):
                await store.params.slice(batch.id, 0, 100)

    asyncio.run(run())
