"""Space that a purge freed inside the file: told, and given back, with nothing of the store lost."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import NOW, collected, finish, lines, new_job, open_store, running_job, settle_all, won

from orchestrator.ports.job_store import BY_PERSON
from orchestrator.store.maintenance import audit, compact, space_of
from orchestrator.store.sqlite_reader import StoreReader

pytestmark = pytest.mark.sqlite

ROOT = Path(__file__).parents[2]


def purged(path: Path) -> Path:
    """A store with a job of 2 MB that was purged, and one that keeps its results."""

    async def run() -> None:
        async with open_store(path) as store:
            kept = await running_job(store, 2, name="kept")
            await settle_all(store, await collected(store, kept.id, [won(1), won(2)]), max_attempts=1)
            big = await store.ingest.begin(new_job("big"), "big-id", NOW)
            noise = [
                sqlite3.connect(":memory:").execute("SELECT hex(randomblob(1000))").fetchone()[0] for _ in range(2)
            ]
            for part in range(20):
                params = b'{"x":"%d%s"}' % (part, noise[part % 2].encode() * 10)
                await store.ingest.add(big.id, lines([f"b{part}-{i}" for i in range(50)], params=params), NOW)
            await finish(store, big.id, "big")
            await store.commands.cancel(big.id, NOW)
            await store.settle.finish_jobs(NOW)
            assert await store.purge.mark(big.id, BY_PERSON, NOW)
            while await store.purge.purge_some():
                pass

    asyncio.run(run())
    return path


def is_whole(path: Path) -> bool:
    """Sound, and everything that was kept is there."""
    with StoreReader.open(path) as reads:
        jobs = {job.name: job for job in reads.jobs(limit=9)}
        kept = jobs["kept"].requests.succeeded == 2
        return kept and jobs["big"].requests.canceled == 1000 and audit(path) == []


def test_what_is_free_inside_is_told_and_given_back(tmp_path: Path) -> None:
    """F16. The file is smaller afterwards, and still the same file."""
    path = purged(tmp_path / "store.db")
    before, size, node = space_of(path), path.stat().st_size, path.stat().st_ino
    assert before.used_bytes + before.free_bytes == size
    assert before.free_bytes > 0
    compact(path)
    after = space_of(path)
    assert (after.free_bytes, path.stat().st_ino) == (0, node)
    assert path.stat().st_size <= size - before.free_bytes
    assert is_whole(path)
    assert sorted(file.name for file in tmp_path.iterdir() if "etilqs" in file.name) == []


@pytest.mark.process
@pytest.mark.parametrize("steps", [1, 300, 3000])
def test_compacting_may_be_killed_at_any_moment(tmp_path: Path, steps: int) -> None:
    """F16. The old state or the new one, never half of it; the next try goes through."""
    path = purged(tmp_path / "store.db")
    program = (
        "import os, sys; from pathlib import Path; from orchestrator.store.maintenance import vacuum\n"
        "from orchestrator.store.connect import connect_writer\n"
        "connection = connect_writer(Path(sys.argv[1]))\n"
        f"connection.set_progress_handler(lambda: os.kill(os.getpid(), 9), {steps})\n"
        "vacuum(connection)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert is_whole(path)
    compact(path)
    assert space_of(path).free_bytes == 0
    assert is_whole(path)


def test_somebody_who_reads_an_old_state_keeps_it(tmp_path: Path) -> None:
    """F16. An outside reader sees its snapshot to the end; the file shrinks afterwards."""
    path = purged(tmp_path / "store.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        count = other.execute("SELECT count(*) FROM request").fetchone()
        compact(path)
        assert other.execute("SELECT count(*) FROM request").fetchone() == count
        other.execute("COMMIT")
    assert is_whole(path)
