"""Promise 1: a store whose file is removed or replaced under the engine takes nothing more in, and loses nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import META, NOW, open_store, planned, raw, running_job
from store.test_store_ownership import python

from orchestrator.domain.errors import StoreError, StoreLost, StoreOwned
from orchestrator.store.ownership import Lock

pytestmark = pytest.mark.sqlite


def _remove(path: Path) -> None:
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink()


def _remove_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def _remove_index(path: Path) -> None:
    path.with_name(f"{path.name}-shm").unlink()


def _move_over(path: Path) -> None:
    other = path.with_name("older.db")
    shutil.copy(path, other)
    other.replace(path)


def _move_away(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def _replace_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.mkdir()


def _empty_in_its_place(path: Path) -> None:
    path.unlink()
    path.touch()


WAYS = [_remove, _remove_log, _remove_index, _move_over, _move_away, _empty_in_its_place]


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_lost_takes_nothing_more_and_its_content_is_copied_aside(
    tmp_path: Path, way: Callable[[Path], None]
) -> None:
    """H4, F7: the next write is refused, says where the data is, and the copy has every committed row."""
    path = tmp_path / "state" / "store.db"

    async def work() -> None:
        async with open_store(path) as store:
            job = await running_job(store, 20)
            batch = await planned(store, job.id, 10)
            way(path)
            with pytest.raises(StoreLost) as lost:
                await store.submit.intend(batch, None, META, NOW)
            assert lost.value.exit_code == 8
            assert store.lost is not None
            with pytest.raises(StoreLost):
                await store.check_files()
            with pytest.raises(StoreLost):
                await running_job(store, 1, "late")
            copy = path.with_name("store.db.rescued-1")
            assert str(copy) in str(lost.value.cause)
            assert str(copy) in str(lost.value.hint)
            assert copy.stat().st_mode & 0o777 == 0o600
            with closing(sqlite3.connect(copy)) as c:
                assert c.execute("SELECT count(*) FROM request").fetchone() == (20,)
                assert c.execute("SELECT state FROM batch").fetchone() == ("planned",)
                assert c.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert not path.with_name("store.db.rescued-2").exists(), "one copy is enough"

    asyncio.run(work())


def test_a_copy_that_is_written_over_the_file_is_noticed_before_anything_is_sent(tmp_path: Path) -> None:
    """H4: `cp copy store` keeps the inode: another content is seen at the next write, an older count at the intent."""
    path = tmp_path / "store.db"

    async def over(spoil: Callable[[], object], name: str) -> None:
        async with open_store(path) as store:
            await running_job(store, 2000, name)
            await store.check_files()
            spoil()
            with pytest.raises(StoreLost, match="was written over"):
                await running_job(store, 1, "late")

    async def log_brought_home() -> None:
        async with open_store(path) as store:
            await running_job(store, 2000, "another")
            with closing(raw(path)) as outside:
                outside.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            await running_job(store, 1, "goes on")

    async def older() -> None:
        async with open_store(tmp_path / "other.db") as store:
            job = await running_job(store, 20)
            for nonce in "abc":
                await store.submit.intend(await planned(store, job.id, 5, nonce), None, META, NOW)
            batch = await planned(store, job.id, 5, "d")
            await store.submit._db.write(lambda c: c.execute("DROP TRIGGER meta_intents"))
            await store.submit._db.write(lambda c: c.execute("UPDATE meta SET intents = 1"))
            with pytest.raises(StoreLost, match="became older"):
                await store.submit.intend(batch, None, META, NOW)
            assert [b.id for b in await store.submit.sendable(10)] == [batch.id]

    asyncio.run(_made(path))
    old = path.read_bytes()
    asyncio.run(log_brought_home())
    shutil.copy(path, tmp_path / "kept.db")
    spoils = (lambda: os.truncate(path, 4096), lambda: path.write_bytes(old), lambda: path.write_bytes(b""))
    for number, spoil in enumerate(spoils):
        asyncio.run(over(spoil, f"spoil {number}"))
        for name in ("", "-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        shutil.copy(tmp_path / "kept.db", path)
    asyncio.run(older())


def test_what_was_copied_aside_is_put_back_and_goes_on(tmp_path: Path) -> None:
    """H4: the hint works: nothing is behind, nothing is asked."""
    path = tmp_path / "store.db"

    async def lose() -> None:
        async with open_store(path) as store:
            job = await running_job(store, 20)
            await store.submit.intend(await planned(store, job.id, 10), None, META, NOW)
            _remove(path)
            with pytest.raises(StoreLost):
                await store.check_files()

    async def go_on() -> None:
        async with open_store(path) as store:
            assert await store.reconcile.open() is None
            assert len(await store.submit.stranded()) == 1

    asyncio.run(lose())
    assert not path.with_name("store.db-wal").exists()
    path.with_name("store.db.rescued-1").rename(path)
    asyncio.run(go_on())


def test_a_write_that_comes_after_the_end_is_no_loss(tmp_path: Path) -> None:
    """H4: the last connection takes the log away itself; a step that a dying task left behind must not cry for it."""
    path = tmp_path / "store.db"

    async def work() -> None:
        async with open_store(path, inline=True) as store:
            await running_job(store, 2)
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            await running_job(store, 1, "late")
        assert store.lost is None

    asyncio.run(work())
    assert list(tmp_path.glob("*rescued*")) == []


def test_a_folder_that_was_moved_with_its_store_is_named(tmp_path: Path) -> None:
    """H4: nothing is lost, so nothing is copied: the words say where it is, and it goes on there."""
    path = tmp_path / "state" / "store.db"

    async def work() -> None:
        async with open_store(path) as store:
            await running_job(store, 20)
            _replace_folder(path)
            with pytest.raises(StoreLost, match="was moved") as lost:
                await running_job(store, 1, "late")
            assert f"--db {tmp_path / 'moved' / 'store.db'}" in str(lost.value.hint)

    async def go_on() -> None:
        async with open_store(path.parent.with_name("moved") / "store.db") as store:
            assert await store.reconcile.open() is None
            assert [job.name for job in await store.read(lambda reads: reads.unfinished())] == ["job"]

    asyncio.run(work())
    asyncio.run(go_on())


def test_no_engine_starts_before_what_was_copied_aside_is_seen_to(tmp_path: Path) -> None:
    """H4: else it would go on with the older file, and the hint, followed later, would lose what came in since."""
    path = tmp_path / "store.db"

    async def lose() -> None:
        async with open_store(path) as store:
            await running_job(store, 20)
            _move_over(path)
            with pytest.raises(StoreLost):
                await store.check_files()

    async def start() -> None:
        async with open_store(path):
            pass

    asyncio.run(lose())
    with pytest.raises(StoreError, match="rescued-1 lies beside") as refused:
        asyncio.run(start())
    assert refused.value.exit_code == 8
    path.with_name("store.db.rescued-1").replace(path)
    asyncio.run(start())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_store_of_another_user_is_not_worked_on(tmp_path: Path) -> None:
    """H1: its owner would read every prompt and answer, and change what is sent."""
    path = tmp_path / "store.db"
    asyncio.run(_made(path))
    os.chown(path, 65534, 65534)
    with pytest.raises(StoreError, match="belongs to another user"):
        asyncio.run(_made(path))


def test_a_store_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    """H1: a checkout has what mode it likes; the log gets that of the file."""
    path = tmp_path / "store.db"
    asyncio.run(_made(path))
    path.chmod(0o664)

    async def work() -> None:
        async with open_store(path) as store:
            await running_job(store, 1, "more")
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.with_name("store.db-wal").stat().st_mode & 0o777 == 0o600

    asyncio.run(work())


def test_a_folder_that_cannot_take_the_copy_is_said(tmp_path: Path) -> None:
    """H4: also where there is no room for the copy, nothing is stored any more, and the words say what to do."""
    path = tmp_path / "state" / "store.db"

    async def work() -> None:
        async with open_store(path) as store:
            await running_job(store, 20)
            shutil.rmtree(path.parent)
            with pytest.raises(StoreLost) as lost:
                await store.check_files()
            assert "could not be copied" in str(lost.value.cause)
            assert "restore a backup" in str(lost.value.hint)

    asyncio.run(work())


def test_an_engine_under_another_name_of_the_file_is_refused(tmp_path: Path) -> None:
    """M5: a bind mount, or a link that came later, leads to the same inode: its lock is held."""
    path, other = tmp_path / "one" / "store.db", tmp_path / "two" / "store.db"

    async def work() -> None:
        async with open_store(path):
            other.parent.mkdir()
            os.link(path, other)
            with Lock.take(other, patience_s=0) as lock, pytest.raises(StoreOwned, match="under another name"):
                lock.hold_file(other)

    asyncio.run(work())


MOUNT = """
    import ctypes, os, sys
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x20000) or libc.mount(b"none", b"/", None, 0x44000, None):
        sys.exit(77)
    one, two = sys.argv[1], sys.argv[2]
    if libc.mount(one.encode(), two.encode(), None, 4096, None):
        sys.exit(77)
    from pathlib import Path
    from orchestrator.domain.errors import StoreError
    from orchestrator.store.ownership import Lock
    with Lock.take(Path(two)) as lock:
        try:
            lock.hold_file(Path(two))
        except StoreError as exc:
            print(exc.message, "|", exc.hint)
"""


def test_a_database_that_is_mounted_by_itself_is_refused(tmp_path: Path) -> None:
    """M5: `docker -v s.db:/data/s.db`: log and lock would lie in another folder than on the host."""
    one, two = tmp_path / "one.db", tmp_path / "data" / "with blank.db"
    asyncio.run(_made(one))
    two.parent.mkdir()
    two.touch()
    with python(MOUNT, str(one), str(two)) as process:
        out, err = process.communicate(timeout=60)
    if process.returncode == 77:
        pytest.skip("this user may not mount")
    assert process.returncode == 0, err
    assert "is mounted by itself" in out
    assert "mount its folder" in out


async def _made(path: Path) -> None:
    async with open_store(path) as store:
        await running_job(store, 1)
