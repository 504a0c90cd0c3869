"""One owner (promise 10): a lock file beside the database, freed by the kernel; nobody opens the database itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from orchestrator.domain.errors import StoreError, StoreOwned
from orchestrator.store.ownership import Lock, lock_path

pytestmark = pytest.mark.sqlite

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, *argv: str) -> subprocess.Popen[str]:
    """A Python process that runs *code* with the project and these helpers importable."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", textwrap.dedent(code), *argv]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


HOLD = """
    import sys
    from pathlib import Path
    from orchestrator.store.ownership import Lock
    with Lock.take(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline() or __import__("signal").pause()
"""


def test_a_second_owner_is_refused_within_its_patience(tmp_path: Path) -> None:
    """In this process and, by the same file, in any other."""
    with Lock.take(tmp_path / "store.db", patience_s=0):
        start = time.monotonic()
        with pytest.raises(StoreOwned) as refused:
            Lock.take(tmp_path / "store.db", patience_s=0.1)
        assert time.monotonic() - start >= 0.1
        assert refused.value.exit_code == 5
    Lock.take(tmp_path / "store.db", patience_s=0).release()


@pytest.mark.process
def test_a_killed_owner_frees_the_store(tmp_path: Path) -> None:
    """`kill -9` leaves nothing to clean up: the next start takes over within two seconds."""
    with python(HOLD, str(tmp_path / "store.db")) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(StoreOwned):
            Lock.take(tmp_path / "store.db", patience_s=0)
        owner.send_signal(signal.SIGKILL)
        with Lock.take(tmp_path / "store.db"):
            pass


def test_a_symbolic_link_leads_to_the_same_lock(tmp_path: Path) -> None:
    """Two names of one store are one store."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "store.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "store.db")
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    for name in (tmp_path / "link.db", tmp_path / "folder" / "store.db"):
        assert lock_path(name) == tmp_path / "real" / "store.db.lock"
        with Lock.take(tmp_path / "real" / "store.db", patience_s=0), pytest.raises(StoreOwned):
            Lock.take(name, patience_s=0)


def test_the_lock_file_is_private_and_stays(tmp_path: Path) -> None:
    """Removing it would let two owners in; a link in its place is not followed."""
    old = os.umask(0)
    try:
        Lock.take(tmp_path / "new" / "deep" / "store.db", patience_s=0).release()
    finally:
        os.umask(old)
    lock = tmp_path / "new" / "deep" / "store.db.lock"
    assert lock.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "deep").stat().st_mode & 0o777 == 0o700
    (tmp_path / "trap.db.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError, match="lock file"):
        Lock.take(tmp_path / "trap.db", patience_s=0)
    assert not (tmp_path / "victim").exists()


WATCHED = """
    import asyncio, os, sys
    from pathlib import Path
    opened = []
    base = os.path.realpath(sys.argv[1])
    def watch(event, args):
        if event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
            opened.append(os.path.realpath(os.fsdecode(args[0])))
    sys.addaudithook(watch)
    from store.store_world import *
    async def main():
        for _ in range(2):
            async with open_store(Path(base)) as store:
                job = await running_job(store, 20, name=str(os.urandom(2).hex()))
                nonce = "ab"[_]
                batch = await collected(store, job.id, [won(n) for n in range(1, 21)], nonce)
                await settle_all(store, batch)
                await store.settle.finish_jobs(NOW)
                from orchestrator.store.sqlite_reader import StoreReader
                with StoreReader.open(Path(base)) as reads:
                    assert reads.find("@last").requests.succeeded == 20
    asyncio.run(main())
    assert any(name.endswith(".lock") for name in opened), "the hook sees nothing"
    print([name for name in opened if name in {base, base + "-wal", base + "-shm", base + "-journal"}])
"""


@pytest.mark.process
def test_nobody_opens_the_database_but_sqlite(tmp_path: Path) -> None:
    """Closing a descriptor of our own would drop SQLite's locks (POSIX): an audit hook watches a whole workload."""
    with python(WATCHED, str(tmp_path / "store.db")) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == "[]\n"
