"""A store from before tokens had names: nobody is named for what was done then; a server's as well as a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg
import pytest
from store.store_world import NOW, open_store, raw

from orchestrator.domain.ids import JobId
from orchestrator.domain.queries import ALL_JOBS, JobFilter
from orchestrator.store.identity import Trust
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.store.postgres.link import PostgresAddress
from orchestrator.store.postgres.migrate_postgres import prepare_server
from orchestrator.store.postgres.postgres_store import PostgresStore
from orchestrator.store.sql_rows import to_text
from orchestrator.store.sqlite_store import SqliteStore

#: The last schema without names.
BEFORE: Final = 22
JOB: Final = """
INSERT INTO job (public_id, name, state, source, content_hash, api_version, betas, priority, still_open, added_at,
                 created_at)
  VALUES ('a-1', 'a', 'running', '/a', 'h', '2023-06-01', '', 50, 0, 'T', 'T');
INSERT INTO event (at, job_id, kind) VALUES ('T', 1, 'job.created');
""".replace("'T'", f"'{to_text(NOW)}'")


async def check(store: SqliteStore | PostgresStore) -> None:
    job = await store.commands.get(JobId(1))
    assert job.submitted_by is None
    events = await store.read(lambda reads: reads.events(job.id))
    assert [(event.kind, event.actor) for event in events] == [("job.created", None)]
    for where, found in ((ALL_JOBS, [job]), (JobFilter(submitted_by="ana"), [])):
        assert await store.read(lambda reads, where=where: reads.jobs(limit=9, where=where)) == found  # type: ignore[misc]


@pytest.mark.sqlite
def test_a_file_from_before_names_nobody(tmp_path: Path) -> None:
    """Its jobs are everybody's to read, and an admin's to steer."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:BEFORE])
    with closing(raw(path)) as c:
        c.executescript(JOB)

    async def run() -> None:
        async with open_store(path, trust=Trust.ADOPTED) as store:
            await check(store)

    asyncio.run(run())


@pytest.mark.postgres
def test_a_server_from_before_names_nobody(new_database: Callable[..., str]) -> None:
    """The same."""
    url = new_database()
    older = [each for each in shipped_migrations("postgres") if each.version <= BEFORE]
    with psycopg.connect(url, autocommit=True) as connection:
        prepare_server(connection, "the database", now=NOW, sandbox=False, migrations=older)
        connection.execute("SET search_path TO orchestrator")
        connection.execute(JOB.encode())

    async def run() -> None:
        store = await PostgresStore.open(PostgresAddress.of(url), now=NOW, sandbox=False, adopt=True)
        try:
            await check(store)
        finally:
            await store.aclose()

    asyncio.run(run())
