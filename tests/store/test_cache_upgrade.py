"""A store from before the prompt cache was planned for: its jobs go on as they were, and what is new to them is new."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest
from store.conformance.cases_of_prefixes import LEAST, marked_job, params
from store.store_world import LATER, NOW, ROOM, WIDE, open_store, raw

from orchestrator.domain.ids import JobId, Nonce, RequestId, request_id
from orchestrator.domain.packing import pack
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.spending import CacheReport
from orchestrator.store.identity import Trust
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.store.payload import encode_block
from orchestrator.store.sql_rows import to_text

#: The last schema that knew no prefixes.
BEFORE = 10
JOB = """
INSERT INTO job (public_id, name, state, source, content_hash, api_version, betas, priority, still_open, added_at,
                 created_at)
  VALUES ('a-1', 'a', 'importing', '/a', 'h', 'v', '', 50, 0, 'T', 'T');
"""


@pytest.mark.sqlite
def test_requests_that_were_taken_in_before_are_sent_in_their_order(tmp_path: Path) -> None:
    """Their markers are theirs, nobody is sent ahead, no marker is added; the next job is primed as any."""
    path, bodies = tmp_path / "store.db", [params("a")] * 4
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:BEFORE])
    with closing(raw(path)) as c:
        c.executescript(JOB.replace("'T'", f"'{to_text(NOW)}'"))
        keys = [request_id(JobId(1), number) for number in range(1, 5)]
        add = "INSERT INTO request (id, custom_id, line, params_bytes, state) VALUES (?, ?, ?, ?, 'queued')"
        c.executemany(add, [(key, f"r{key}", 1, len(body)) for key, body in zip(keys, bodies, strict=True)])
        values = (RequestId(keys[0]), 4, encode_block(bodies))
        c.execute("INSERT INTO payload (first_id, count, data) VALUES (?, ?, ?)", values)
        c.execute("UPDATE job SET total = 4, queued = 4, state = 'running'")
        c.commit()

    async def run() -> None:
        async with open_store(path, trust=Trust.ADOPTED) as store:
            job = await store.commands.get(JobId(1))
            assert job.cache is CacheUse.PRIME
            assert await store.prefixes.shared(job.id, LEAST) == []
            assert (await store.read(lambda reads: reads.cost(reads.get(job.id)))).cache == CacheReport()
            found = await store.plan.queued(job.id, 9, lambda rows: pack(rows, WIDE))
            batch = await store.plan.plan(job, found, Nonce("a" * 20), ROOM, LATER)
            assert batch is not None
            assert await store.params.slice(batch, 0, 1 << 20) == list(enumerate(bodies, 1))
            new = await marked_job(store, "a", "a", "a")
            assert [group.waiting for group in await store.prefixes.groups(new.id, LEAST, 9)] == [3]

    asyncio.run(run())
