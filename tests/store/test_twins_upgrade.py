"""A store from before identical requests were found: its jobs send each of theirs, and new ones may say otherwise."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from store.store_world import NOW, finish, lines, new_job, open_store, planned, raw
from store.test_cache_upgrade import JOB

from orchestrator.domain.ids import JobId, request_id
from orchestrator.store.identity import Trust
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.store.payload import encode_block
from orchestrator.store.sql_rows import to_text

#: The last schema that knew no twins.
BEFORE = 18


@pytest.mark.sqlite
def test_requests_that_were_taken_in_before_are_all_sent(tmp_path: Path) -> None:
    """Four that are identical make a batch of four; of a new job that says `dedupe` one is sent."""
    path, body = tmp_path / "store.db", b'{"max_tokens":1}'
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:BEFORE])
    with closing(raw(path)) as c:
        c.executescript(JOB.replace("'T'", f"'{to_text(NOW)}'"))
        keys = [request_id(JobId(1), number) for number in range(1, 5)]
        add = "INSERT INTO request (id, custom_id, line, params_bytes, state) VALUES (?, ?, 1, ?, 'queued')"
        c.executemany(add, [(key, f"r{key}", len(body)) for key in keys])
        values = (keys[0], 4, encode_block([body] * 4))
        c.execute("INSERT INTO payload (first_id, count, data) VALUES (?, ?, ?)", values)
        c.execute("UPDATE job SET total = 4, queued = 4, state = 'running'")
        c.commit()

    async def run() -> None:
        async with open_store(path, trust=Trust.ADOPTED) as store:
            old = await store.commands.get(JobId(1))
            assert (old.dedupe, old.twins, old.to_send) == (False, 0, 4)
            assert (await planned(store, old.id)).count == 4
            new = await store.ingest.begin(replace(new_job("new"), dedupe=True), "new", NOW)
            await store.ingest.add(new.id, lines("abcd", params=body), NOW)
            assert sum([len(many) async for many in store.ingest.twins(new.id, stays_open=False)]) == 3
            assert (await finish(store, new.id)).to_send == 1

    asyncio.run(run())
