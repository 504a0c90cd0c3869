"""A store from before requests decided the API version: its jobs keep theirs, and have no reason for it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import NOW, open_store, raw

from orchestrator.domain.ids import JobId
from orchestrator.store.identity import Trust
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.store.sql_rows import to_text

#: The last schema that knew no reasons.
BEFORE = 17
JOB = """
INSERT INTO job (public_id, name, state, source, content_hash, api_version, betas, priority, still_open, added_at,
                 created_at)
  VALUES ('a-1', 'a', 'running', '/a', 'h', '2023-06-01', '', 50, 0, 'T', 'T');
"""


@pytest.mark.sqlite
def test_a_job_from_before_keeps_its_version_without_a_reason(tmp_path: Path) -> None:
    """It was chosen then."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:BEFORE])
    with closing(raw(path)) as c:
        c.executescript(JOB.replace("'T'", f"'{to_text(NOW)}'"))

    async def run() -> None:
        async with open_store(path, trust=Trust.ADOPTED) as store:
            job = await store.commands.get(JobId(1))
            assert (job.api_version, job.version_reason) == ("2023-06-01", None)

    asyncio.run(run())
