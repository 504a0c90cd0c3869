"""A store from before answers could be asked for again: they can be now, and what is known of their cost stays."""

from __future__ import annotations

# ruff: noqa: S608 - constants
import asyncio
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import NOW, audit, open_store, raw

from orchestrator.domain.ids import JobId, request_id
from orchestrator.store.identity import Trust
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.store.payload import encode_block
from orchestrator.store.sql_rows import to_text

#: The last schema where a success was frozen for ever.
BEFORE = 21
AT = to_text(NOW)
BODY = (
    b'{"type":"succeeded","message":{"stop_reason":"refusal","model":"m","usage":{"input_tokens":3,"output_tokens":2}}}'
)
JOB = f"""
INSERT INTO job (public_id, name, state, source, content_hash, api_version, betas, priority, still_open, added_at,
                 created_at)
  VALUES ('a-1', 'a', 'importing', '/a', 'h', 'v', '', 50, 0, '{AT}', '{AT}');
INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, depth, sent_at,
                   cursor_date, remote_id, created_at, ended_at, collected, settled_at)
  VALUES (1, 'aaaaaaaaaaaaaaaaaaaa', 'settled', 3, 9, 'd', 'v', '', '{AT}', 0, '{AT}', '{AT}', 'msgbatch_1', '{AT}',
          '{AT}', 1, '{AT}');
INSERT INTO price (model, geo, day, rates, source)
  VALUES ('', '', '{AT[:10]}', NULL, ''), ('m', '', '{AT[:10]}', '[1,1,1,1,1]', 's');
INSERT INTO ledger VALUES (1, 1, 'kept', 1, 0, 0, 0, 0, 0, 0, 0, 1, NULL, NULL);
INSERT INTO ledger VALUES (1, 2, 'kept', 1, 3, 2, 0, 0, 0, 0, 70, 0, 4.0, 4900.0);
INSERT INTO spending (scope, key, spent_nanos)
  VALUES ('day', '{AT[:10]}', 70), ('month', '{AT[:7]}', 70), ('total', '', 70);
"""
ANSWER = """
INSERT INTO result (id, request_id, input_tokens, output_tokens, body, price_id, cost_nanos)
  VALUES (?, ?, ?, ?, ?, ?, ?)
"""
#: A plain one, one that the ledger's migration found, and one that it did not.
ANSWERS = [(2, 70), (None, None), (None, None)]


@pytest.mark.sqlite
def test_successes_of_a_store_from_before_are_asked_for_again(tmp_path: Path) -> None:
    """Also those without a price, which an earlier version stored: in the ledger, or in none of its lines."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:BEFORE])
    keys = [request_id(JobId(1), number) for number in range(1, 4)]
    with closing(raw(path)) as c:
        c.executescript(JOB)
        add = "INSERT INTO request (id, custom_id, line, params_bytes, state) VALUES (?, ?, ?, 2, 'queued')"
        c.executemany(add, [(key, f"r{key}", 1) for key in keys])
        c.executemany("INSERT INTO known_id VALUES (1, 0, ?, ?)", [(f"r{key}", key) for key in keys])
        c.execute("INSERT INTO payload VALUES (?, 3, ?)", (keys[0], encode_block([b"{}"] * 3)))
        for number, (key, (price, nanos)) in enumerate(zip(keys, ANSWERS, strict=True), 1):
            c.execute(ANSWER, (number, key, 3, 2, BODY, price, nanos))
            c.execute("UPDATE request SET state = 'batched', batch_id = 1 WHERE id = ?", (key,))
            done = "UPDATE request SET state = 'succeeded', attempts = 1, result_id = ?, stop = 4 WHERE id = ?"
            c.execute(done, (number, key))
        c.execute("INSERT INTO stop_count VALUES (1, 4, 3)")
        c.execute("UPDATE job SET total = 3, succeeded = 3, state = 'running', spent_nanos = 70, unpriced = 1")
        c.execute("UPDATE job SET state = 'finished', finished_at = ?", (AT,))
        c.commit()

    async def run() -> None:
        async with open_store(path, trust=Trust.ADOPTED) as store:
            assert await store.retries.retry(JobId(1), ("refusal",), NOW) == 3
            job = await store.commands.get(JobId(1))
            assert (job.state, job.requests.queued, job.requests.succeeded) == ("running", 3, 0)
            cost = (await store.read(lambda reads: reads.cost(job))).total
            assert (cost.nanos, cost.unpriced) == (70, 2)

    asyncio.run(run())
    assert audit(path) == []
