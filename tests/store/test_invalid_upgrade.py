"""A store from before answers had a schema: its attempts are what they were, and may be invalid answers from now on."""

from __future__ import annotations

# ruff: noqa: S608 - constants
import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import NOW, audit, open_store, raw

from orchestrator.domain.ids import JobId, request_id
from orchestrator.store.identity import Trust
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.store.payload import encode_block
from orchestrator.store.sql_rows import to_text

#: The last schema that knew none.
BEFORE = 16
AT = to_text(NOW)
JOB = f"""
INSERT INTO job (public_id, name, state, source, content_hash, api_version, betas, priority, still_open, added_at,
                 created_at)
  VALUES ('a-1', 'a', 'importing', '/a', 'h', 'v', '', 50, 0, '{AT}', '{AT}');
INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, depth, sent_at,
                   cursor_date)
  VALUES (1, 'aaaaaaaaaaaaaaaaaaaa', 'submitting', 3, 9, 'd', 'v', '', '{AT}', 0, '{AT}', '{AT}');
"""
ADD = "INSERT INTO attempt (batch_id, request_id, kind, outcome, at, body) VALUES (1, ?, ?, ?, ?, ?)"
ATTEMPTS = "SELECT * FROM attempt ORDER BY batch_id, request_id"


@pytest.mark.sqlite
def test_attempts_are_what_they_were_and_still_never_change(tmp_path: Path) -> None:
    """The table is written anew for two more outcomes: every row, guard and index of it is there again."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:BEFORE])
    keys = [request_id(JobId(1), number) for number in range(1, 5)]
    with closing(raw(path)) as c:
        c.executescript(JOB)
        add = "INSERT INTO request (id, custom_id, line, params_bytes, state) VALUES (?, ?, ?, 2, 'queued')"
        c.executemany(add, [(key, f"r{key}", 1) for key in keys])
        c.executemany("INSERT INTO known_id VALUES (1, 0, ?, ?)", [(f"r{key}", key) for key in keys])
        c.execute("INSERT INTO payload VALUES (?, 4, ?)", (keys[0], encode_block([b"{}"] * 4)))
        c.execute("UPDATE job SET total = 4, queued = 4, state = 'running'")
        outcomes = zip(keys[:3], ("again", "credit", "failed"), strict=True)
        c.executemany(ADD, [(key, "errored", outcome, AT, b"{}") for key, outcome in outcomes])
        before = c.execute(ATTEMPTS).fetchall()
        c.commit()

    async def run() -> None:
        async with open_store(path, trust=Trust.ADOPTED) as store:
            job = await store.commands.get(JobId(1))
            assert (job.schema, job.retry_invalid) == (None, 1)
            details = await store.read(lambda reads: reads.request(job.id, f"r{keys[0]}"))
            assert [attempt.kind for attempt in details.failed_attempts] == ["errored"]

    asyncio.run(run())
    assert audit(path) == []
    with closing(raw(path)) as c:
        assert c.execute(ATTEMPTS).fetchall() == before
        c.execute(ADD, (keys[3], "succeeded", "invalid", AT, b"{}"))
        for refused in ((keys[3], "x", "odd", AT, b""), (keys[0], "x", "again", AT, b"")):
            with pytest.raises(sqlite3.IntegrityError):
                c.execute(ADD, refused)
        for change in ("SET outcome = 'again'", "SET body = x'00'", "SET cost_nanos = 1"):
            with pytest.raises(sqlite3.IntegrityError):
                c.execute(f"UPDATE attempt {change}")
        with pytest.raises(sqlite3.IntegrityError):
            c.execute("DELETE FROM attempt")
        assert "attempt_request" in {row[1] for row in c.execute("PRAGMA index_list(attempt)")}
