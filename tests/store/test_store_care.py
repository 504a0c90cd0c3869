"""Care for a store's file: a copy while it is in use, an audit that finds what does not fit, an older schema told."""

from __future__ import annotations

import asyncio
from contextlib import closing
from operator import attrgetter
from pathlib import Path

import pytest
from store.store_world import (
    NOW,
    collected,
    lines_of_table,
    lost,
    new_job,
    open_store,
    raw,
    running_job,
    settle_all,
    won,
)

from orchestrator.domain.errors import GuardRefused, OutputError, StoreError
from orchestrator.store.maintenance import audit, back_up
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.store.sqlite_reader import StoreReader
from orchestrator.store.sqlite_store import SqliteStore

pytestmark = pytest.mark.sqlite

#: Three jobs: one over (a success and a failure), one that runs, one whose import is not complete.
NAMES = ["over", "runs", "imports"]


async def fill(store: SqliteStore) -> None:
    """Put the three jobs there."""
    over = await running_job(store, 2, name="over")
    await settle_all(store, await collected(store, over.id, [won(1), lost(2)]), max_attempts=1)
    await store.settle.finish_jobs(NOW)
    await running_job(store, 3, name="runs")
    job = await store.ingest.begin(new_job("imports"), "imports-id", NOW)
    await store.ingest.add(job.id, lines_of_table(["a", "b"]), NOW)


def filled(path: Path) -> Path:
    """A store with them, closed."""

    async def run() -> None:
        async with open_store(path) as store:
            await fill(store)

    asyncio.run(run())
    return path


def test_a_backup_of_a_store_in_use_is_one_sound_file_with_everything_committed(tmp_path: Path) -> None:
    """Promise 1: what is only in the log is in the copy, too; the engine that writes meanwhile is not in its way."""
    target = tmp_path / "copy.db"

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            await fill(store)
            assert back_up(tmp_path / "store.db", target) == target.stat().st_size
            await running_job(store, 1, name="later")

    asyncio.run(run())
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.db"]
    assert audit(target) == []
    with StoreReader.open(target) as reads:
        assert sorted(map(attrgetter("name"), reads.jobs(limit=9))) == sorted(NAMES)
        assert len(reads.results(reads.find("over").id, above=0, limit=9)) == 2


def test_a_backup_replaces_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    """A name that is taken, a folder that is not there: told, and no draft stays."""
    path = filled(tmp_path / "store.db")
    (tmp_path / "taken.db").write_text("precious")
    (tmp_path / "dangling.db").symlink_to(tmp_path / "nowhere")
    before = sorted(entry.name for entry in tmp_path.iterdir())
    for name in ("taken.db", "dangling.db"):
        with pytest.raises(GuardRefused, match="there already"):
            back_up(path, tmp_path / name)
    with pytest.raises(OutputError, match="cannot write"):
        back_up(path, tmp_path / "no" / "folder.db")
    assert (tmp_path / "taken.db").read_text() == "precious"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


def test_a_sound_store_has_no_findings(tmp_path: Path) -> None:
    """In every state that a job can be in while somebody looks."""
    assert audit(filled(tmp_path / "store.db")) == []


DAMAGE: list[tuple[str, str]] = [
    ("UPDATE job SET queued = queued - 1, batched = batched + 1 WHERE name = 'runs'", "its counts are not those"),
    ("INSERT INTO stop_count VALUES (1, 4, 1)", "its counts of stop reasons"),
    ("UPDATE request SET stop = 4 WHERE state = 'succeeded'", "its counts of stop reasons"),
    ("DELETE FROM known_id WHERE custom_id = 'r3'", "be found by its custom_id"),
    ("DELETE FROM result WHERE id = 1", "have no result"),
    ("UPDATE result SET request_id = request_id + 1 WHERE id = 1", "have no result"),
    ("DELETE FROM payload WHERE first_id >> 32 = 2", "have no payload"),
    ("UPDATE payload SET data = substr(data, 1, length(data) - 1)", "the payload of the requests from 1 of job 1"),
    ("UPDATE request SET params_bytes = params_bytes + 1 WHERE id & 7 = 3", "the payload of the requests from"),
    ("DELETE FROM source_row", "2 of its requests have a row, and 0 are there"),
    ("UPDATE source_row SET data = substr(data, 1, length(data) - 1)", "the rows of the requests from 1 of job"),
    ("UPDATE job SET row_count = 0", "0 of its requests have a row, and 2 are there"),
    ("UPDATE request SET batch_id = 77 WHERE state = 'succeeded'", "refer to nothing"),
]


@pytest.mark.parametrize(("statement", "words"), DAMAGE, ids=[words for _, words in DAMAGE])
def test_what_does_not_fit_is_found(tmp_path: Path, statement: str, words: str) -> None:
    """Each thing that the audit looks at, broken behind the schema's back."""
    path = filled(tmp_path / "store.db")
    with closing(raw(path)) as c:
        c.execute("PRAGMA foreign_keys = OFF").fetchall()
        for (trigger,) in c.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            c.execute(f"DROP TRIGGER {trigger}")
        assert c.execute(statement).rowcount > 0
    found = audit(path)
    assert found, "nothing was found"
    assert any(words in finding for finding in found), found


def test_damaged_pages_are_found(tmp_path: Path) -> None:
    """What SQLite itself can see."""
    path = filled(tmp_path / "store.db")
    with closing(raw(path)) as c:
        page = c.execute("PRAGMA page_size").fetchone()[0]
        root = c.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'request_queued'").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(root - 1) * page + 200 : root * page] = bytes(page - 200)
    path.write_bytes(content)
    (finding, *_) = audit(path)
    assert "SQLite finds damage" in finding


def test_a_store_of_an_earlier_schema_is_told_before_it_is_read(tmp_path: Path) -> None:
    """A reader never changes a file: it says what brings it forward, and afterwards it reads it."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:1])
    with pytest.raises(StoreError, match="earlier version") as refused:
        StoreReader.open(path)
    assert "db migrate" in str(refused.value.hint)
    prepare(path, now=NOW, sandbox=False)
    with StoreReader.open(path) as reads:
        assert reads.jobs(limit=1) == []
