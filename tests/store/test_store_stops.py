"""How successes ended, and which failures are of one cause: counted, listed, kept through upgrades."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from store.store_world import (
    LATER,
    NOW,
    audit,
    collected,
    ended,
    finish,
    lines,
    lost,
    new_job,
    open_store,
    raw,
    running_job,
    settle_all,
    won,
)
from store.test_store_lists import instructions, numbers

from orchestrator.domain.ids import JobId
from orchestrator.domain.model import JudgedLine
from orchestrator.domain.notices import EndpointSpec
from orchestrator.domain.result_outcome import KNOWN_STOPS, MOST_STOP_NAMES, OTHER_STOP, USUAL_STOPS, Outcome
from orchestrator.domain.states import RequestState
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.store.sqlite_reader import StoreReader
from orchestrator.store.sqlite_store import SqliteStore


def stopped(number: int, stop_reason: str | None) -> JudgedLine:
    """A line that brings a success that ended so."""
    body = json.dumps({"type": "succeeded", "message": {"stop_reason": stop_reason}}).encode()
    return msgspec.structs.replace(won(number, body), stop_reason=stop_reason)


def failed(number: int, message: str, error_type: str = "invalid_request_error") -> JudgedLine:
    """A line that says what is wrong with a request."""
    return msgspec.structs.replace(
        lost(number, Outcome.FAILED, "errored"), error_type=error_type, error_message=message
    )


MIXED = ["end_turn", "refusal", "max_tokens", "end_turn", None, "pause_turn", "brand_new", "refusal"]


async def mixed(store: SqliteStore) -> JobId:
    """A job of ten whose eight answers ended as `MIXED`, and two failures."""
    job = await running_job(store, 10)
    rows = [stopped(number, reason) for number, reason in enumerate(MIXED, 1)]
    batch = await collected(store, job.id, [*rows, failed(9, "row 1 is bad"), failed(10, "row 2 is bad")])
    await settle_all(store, batch)
    await store.settle.finish_jobs(NOW)
    return job.id


def test_successes_are_counted_by_stop_reason_beside_their_rows(tmp_path: Path) -> None:
    """F13: how many were refused, cut and paused is known of a job and of all; what has none is not counted."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await mixed(store)
            status = await store.read(lambda reads: reads.status(reads.get(job)))
            counts = {"end_turn": 2, "refusal": 2, "brand_new": 1, "max_tokens": 1, "pause_turn": 1}
            assert status.stop_reasons == counts
            assert (await store.read(lambda reads: reads.totals())).stop_reasons == counts
            view = await store.read(lambda reads: reads.request(job, "r2"))
            assert (view.stop_reason, view.input_tokens, view.output_tokens) == ("refusal", 3, 5)
        assert audit(store.path) == []

    asyncio.run(run())


def test_a_repeated_download_counts_nothing_twice(tmp_path: Path) -> None:
    """F13: lines come again after a crash or a broken stream; a count is of settled rows, not of lines."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 4)
            batch = await ended(store, job.id)
            for seen in ([1, 2], [1, 2, 3], [2, 2, 3, 4], [1, 2, 3, 4]):
                rows = [stopped(number, "refusal" if number % 2 else "end_turn") for number in seen]
                await store.collect.store_lines(batch, rows, NOW)
            status = await store.read(lambda reads: reads.status(reads.get(job.id)))
            assert status.stop_reasons == {"end_turn": 2, "refusal": 2}
        assert audit(store.path) == []

    asyncio.run(run())


def test_names_without_end_are_bounded(tmp_path: Path) -> None:
    """F13: an API that says something new each time fills neither the store nor a page."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 100)
            batch = await ended(store, job.id)
            for first in (1, 51):
                rows = [stopped(number, f"new_{number}") for number in range(first, first + 50)]
                await store.collect.store_lines(batch, rows, NOW)
            counts = (await store.read(lambda reads: reads.status(reads.get(job.id)))).stop_reasons
            assert len(counts) == MOST_STOP_NAMES - len(KNOWN_STOPS) + 1
            assert (sum(counts.values()), counts[OTHER_STOP]) == (100, 100 - MOST_STOP_NAMES + len(KNOWN_STOPS))
        assert audit(store.path) == []

    asyncio.run(run())


def test_tokens_are_kept_for_each_request(tmp_path: Path) -> None:
    """F13: what was read from the cache and written into it is not thrown away: it is a part of the price."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 1)
            line = msgspec.structs.replace(
                won(1), cache_read_tokens=7, cache_write_5m_tokens=0, cache_write_1h_tokens=11
            )
            await collected(store, job.id, [line])
            view = await store.read(lambda reads: reads.request(job.id, "r1"))
            assert (view.input_tokens, view.output_tokens) == (3, 5)
            assert (view.cache_read_tokens, view.cache_write_5m_tokens, view.cache_write_1h_tokens) == (7, 0, 11)

    asyncio.run(run())


def test_requests_are_listed_by_stop_reason(tmp_path: Path) -> None:
    """F13: the refused ones can be looked at, alone, in their batch, and page by page."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await mixed(store)
            await running_job(store, 3, name="other")
            listed = {
                name: await store.read(numbers(job, stop_reason=name))
                for name in ("refusal", "end_turn", "max_tokens", "brand_new", "nothing", "")
            }
            assert listed == {
                "refusal": [2, 8], "end_turn": [1, 4], "max_tokens": [3], "brand_new": [7], "nothing": [], "": []
            }  # fmt: skip
            batch = (await store.read(lambda reads: reads.batches(job)))[0].id
            assert await store.read(numbers(job, stop_reason="refusal", batch=batch)) == [2, 8]
            assert await store.read(numbers(job, stop_reason="refusal", state=RequestState.SUCCEEDED)) == [2, 8]
            assert await store.read(numbers(job, stop_reason="refusal", state=RequestState.FAILED)) == []
            assert await store.read(numbers(job, stop_reason="refusal", above=2)) == [8]
            assert await store.read(numbers(job, cause="row N is bad")) == [9, 10]
            assert await store.read(numbers(job, cause="row N is bad", state=RequestState.FAILED, above=9)) == [10]

    asyncio.run(run())


@pytest.mark.sqlite
def test_a_few_refusals_among_many_answers_are_found_at_once(tmp_path: Path) -> None:
    """F13: a list costs what it shows. The index leaves out the usual ends, so settling does not pay for it."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            jobs = []
            for name, count in (("small", 500), ("large", 10_000)):
                job = await store.ingest.begin(new_job(name), name, NOW)
                for start in range(1, count + 1, 5000):
                    some = lines(f"r{n}" for n in range(start, min(start + 5000, count + 1)))
                    await store.ingest.add(job.id, some, NOW)
                await finish(store, job.id, name)
                rows = [stopped(n, "refusal" if n > count - 2 else "end_turn") for n in range(1, count + 1)]
                await collected(store, job.id, rows, nonce=name[0], limit=count)
                jobs.append(job.id)
            cost = [instructions(store.path, numbers(job, limit=20, stop_reason="refusal")) for job in jobs]
            assert cost[1] <= 1.2 * cost[0] + 20, cost

    asyncio.run(run())


@pytest.mark.sqlite
def test_a_store_knows_the_usual_names_by_the_numbers_of_the_domain(tmp_path: Path) -> None:
    """F13: the same names in the domain and in the schema, and an index that leaves out the usual ends."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False)
    with closing(raw(path)) as c:
        names = c.execute("SELECT id, name FROM stop_reason ORDER BY id").fetchall()
        (index,) = c.execute("SELECT sql FROM sqlite_schema WHERE name = 'request_stop'").fetchone()
    assert names == list(enumerate(KNOWN_STOPS))
    assert index.endswith(f"WHERE stop > {max(KNOWN_STOPS.index(name) for name in USUAL_STOPS)}")


def test_failures_that_differ_in_numbers_are_one_group(tmp_path: Path) -> None:
    """F15: sixty prompts that are too long are one line with a true example, not sixty lines."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 62)
            rows = [failed(n, f"prompt is too long: {200_000 + n * 37} tokens > 200000 maximum") for n in range(1, 61)]
            rows += [failed(61, "no such model", "not_found_error"), failed(62, "no such model", "not_found_error")]
            await collected(store, job.id, rows)
            groups = await store.read(lambda reads: reads.errors(job.id, examples=2))
            assert [(g.error_type, g.cause, g.error_message, g.count) for g in groups] == [
                (
                    "invalid_request_error",
                    "prompt is too long: N tokens > N maximum",
                    "prompt is too long: 200037 tokens > 200000 maximum",
                    60,
                ),
                ("not_found_error", "no such model", "no such model", 2),
            ]
            assert groups[0].examples == (("r1", 1), ("r2", 2))
            await store.settle.settle(
                (await store.read(lambda reads: reads.batches_page(job=job.id, limit=1)))[0], 3, NOW
            )
            await store.settle.finish_jobs(NOW)
            await store.retries.retry(job.id, (), NOW)
            assert await store.read(lambda reads: reads.errors(job.id)) == []

    asyncio.run(run())


def test_a_notice_carries_how_answers_ended(tmp_path: Path) -> None:
    """F13: who is told that a job is over need not ask how many were refused; a hostile name stays a text in JSON."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            await store.notices.mirror([EndpointSpec(url="http://127.0.0.1:9/")], NOW)
            job = await running_job(store, 3)
            names = ["refusal", '"},"x":{"\\', "end_turn"]
            await settle_all(store, await collected(store, job.id, [stopped(n, t) for n, t in enumerate(names, 1)]))
            await store.settle.finish_jobs(NOW)
            with closing(raw(store.path)) as c:
                (payload,) = c.execute("SELECT payload FROM delivery WHERE type = 'job.finished'").fetchone()
            assert json.loads(payload)["data"]["job"]["stop_reasons"] == dict.fromkeys(names, 1)

    asyncio.run(run())


OLD_JOB = """
INSERT INTO job (public_id, name, state, source, content_hash, api_version, betas, priority, still_open, added_at,
                 created_at)
  VALUES ('a-1', 'a', 'importing', '/a', 'h', 'v', '', 50, 0, 'T', 'T');
INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, depth, sent_at,
                   cursor_date, remote_id, created_at, ended_at, collected)
  VALUES (1, 'aaaaaaaaaaaaaaaaaaaa', 'ended', 10, 9, 'd', 'v', '', 'T', 0, 'T', 'T', 'msgbatch_1', 'T', 'T', 1);
INSERT INTO request (id, custom_id, line, params_bytes, state)
  SELECT 4294967296 + value, 'r' || value, value, 2, 'queued' FROM json_each('[1,2,3,4,5,6,7,8,9,10]');
UPDATE job SET total = 10, queued = 10, state = 'running';
UPDATE request SET state = 'batched', batch_id = 1;
UPDATE job SET queued = 0, batched = 10;
"""


def fill(c: sqlite3.Connection, version: int) -> None:
    """A finished job of ten, as a program of schema *version* leaves it: seven answers and three failures."""
    c.executescript(OLD_JOB.replace("'T'", "'2026-11-23T12:00:00.000000Z'"))
    odd_usage = {"input_tokens": "x"}
    reasons = ["end_turn", "refusal", "refusal", None, 5, "größe"]
    bodies = [json.dumps({"message": {"stop_reason": each, "usage": odd_usage}}).encode() for each in reasons]
    succeed = "UPDATE request SET state = 'succeeded', result_id = :number WHERE id = :key"
    if version == 1:  # its results knew their requests, not the other way round
        succeed = succeed.replace(", result_id = :number", "")
    for number, body in enumerate([*bodies, b"\xff"], 1):
        values = {"number": number, "key": 1 << 32 | number, "body": body}
        c.execute("INSERT INTO result (id, request_id, body) VALUES (:number, :key, :body)", values)
        c.execute(succeed, values)
    c.execute("UPDATE job SET batched = 3, succeeded = 7")
    for number, message in ((8, "row 8 is bad"), (9, "row 17 is bad"), (10, None)):
        change = "UPDATE request SET state = 'failed', error_type = 'e', error_message = ? WHERE id = ?"
        c.execute(change, (message, 1 << 32 | number))
    c.execute("UPDATE batch SET state = 'settled', settled_at = ended_at")
    c.execute("UPDATE job SET state = 'finished', finished_at = created_at")


#: The last schema that did not count how answers ended.
UNCOUNTED = 4


@pytest.mark.sqlite
@pytest.mark.parametrize("version", range(1, UNCOUNTED + 1))
def test_what_an_older_program_settled_is_counted_after_the_upgrade(tmp_path: Path, version: int) -> None:
    """F13, F15: from every earlier schema; what its bodies do not say stays unknown, and is not counted."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:version])
    with closing(raw(path)) as c:
        fill(c, version)
    prepare(path, now=LATER, sandbox=False)
    with StoreReader.open(path) as reads:
        job = reads.find("a")
        assert reads.status(job).stop_reasons == {"refusal": 2, "end_turn": 1, OTHER_STOP: 1}
        assert [(group.cause, group.count) for group in reads.errors(job.id)] == [("row N is bad", 2), ("", 1)]
        assert numbers(job.id, stop_reason="refusal")(reads) == [2, 3]
        assert [row.stop_reason for row in reads.requests(job.id, above=3, limit=4)][::3] == [None, None]
    assert [words for words in audit(path) if "stop reasons" in words or "counts" in words] == []
