"""The file itself: private, never taken from others, never half made, never half upgraded."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sqlite3
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import LATER, NOW, open_store, raw, running_job
from support.forked import DEVNULL, PIPE, start_script

from orchestrator.domain.errors import NoSuchThing, StoreError
from orchestrator.store.migrate import APPLICATION_ID, SCHEMA_VERSION, Migration, prepare, shipped_migrations
from orchestrator.store.ownership import Lock
from orchestrator.store.sql_rows import to_text
from orchestrator.store.sqlite_reader import StoreReader
from orchestrator.store.sqlite_store import SqliteStore

pytestmark = pytest.mark.sqlite

ROOT = Path(__file__).resolve().parents[2]
NEXT = Migration(version=SCHEMA_VERSION + 1, name="next", sql="CREATE TABLE more (id INTEGER PRIMARY KEY) STRICT;\n")
BROKEN = Migration(
    version=SCHEMA_VERSION + 1, name="broken", sql="CREATE TABLE more (id INTEGER);\nINSERT INTO nowhere VALUES (1);\n"
)
COPY = f"store.db.before-{SCHEMA_VERSION + 1:04d}"


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A umask that somebody's shell may have."""
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def mode(path: Path) -> int:
    """Permission bits."""
    return path.stat().st_mode & 0o777


def digest(path: Path) -> str:
    """The file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def store_with_a_job(path: Path) -> None:
    """A store as this version leaves it, closed."""

    async def fill() -> None:
        async with open_store(path) as store:
            await running_job(store, 3)

    asyncio.run(fill())


@pytest.mark.usefixtures("umask")
def test_every_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Prompts and answers are nobody else's: 0600 for the file, its log, its index, its lock, its mark and its copy."""
    path = tmp_path / "state" / "deep" / "store.db"

    async def work() -> None:
        async with open_store(path) as store:
            await running_job(store, 3)
            names = {p.name: mode(p) for p in path.parent.iterdir()}
            ours = ("store.db", "store.db-wal", "store.db-shm", "store.db.lock", "store.db.mark")
            assert names == dict.fromkeys(ours, 0o600)

    asyncio.run(work())
    assert mode(path.parent) == mode(path.parent.parent) == 0o700
    prepare(path, now=NOW, sandbox=False, migrations=[*shipped_migrations(), NEXT])
    assert mode(path.with_name(COPY)) == 0o600


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    """It may be the user's own; only what we make is ours to close."""
    tmp_path.chmod(0o755)
    prepare(tmp_path / "store.db", now=NOW, sandbox=False)
    assert mode(tmp_path) == 0o755
    assert [p.name for p in tmp_path.iterdir()] == ["store.db"], "nothing is left of the making"


def test_a_link_that_somebody_put_there_is_not_followed(tmp_path: Path) -> None:
    """In a shared folder a link in our place could make us write anywhere."""
    path, victim = tmp_path / "store.db", tmp_path / "victim"
    path.symlink_to(victim)
    with pytest.raises(StoreError, match="symbolic link"):
        prepare(path, now=NOW, sandbox=False)
    assert not victim.exists()
    path.unlink()
    (tmp_path / "store.db.new").symlink_to(victim)
    prepare(path, now=NOW, sandbox=False)
    assert not victim.exists()


def test_a_hard_link_is_refused(tmp_path: Path) -> None:
    """Each name would have a log of its own: that is how two owners corrupt a store."""
    store_with_a_job(tmp_path / "store.db")
    os.link(tmp_path / "store.db", tmp_path / "other.db")
    with pytest.raises(StoreError, match="second name"):
        prepare(tmp_path / "other.db", now=NOW, sandbox=False)


def other_program(path: Path) -> None:
    """Some other program's database."""
    with closing(sqlite3.connect(path)) as c:
        c.execute("CREATE TABLE notes (text)")
        c.execute("PRAGMA application_id = 77")


def newer(path: Path) -> None:
    """A store of a program that is not written yet."""
    store_with_a_job(path)
    prepare(path, now=LATER, sandbox=False, migrations=[*shipped_migrations(), NEXT])


def marked_newer(path: Path) -> None:
    """A store whose version mark alone is ahead: readers and owners must agree about it."""
    store_with_a_job(path)
    with closing(raw(path)) as c:
        c.execute("PRAGMA user_version = 99")


def changed(path: Path) -> None:
    """A store whose migration is not the one we ship."""
    store_with_a_job(path)
    with closing(raw(path)) as c:
        c.execute("UPDATE schema_migration SET checksum = 'other'")


def sandbox(path: Path) -> None:
    """A store of sandbox work."""
    prepare(path, now=NOW, sandbox=True)


def tables_only(path: Path) -> None:
    """A database with nothing in it, of nobody."""
    with closing(sqlite3.connect(path)) as c:
        c.execute("PRAGMA user_version = 3")


REFUSALS = [
    (lambda path: path.touch(), "not a store"),
    (lambda path: path.write_bytes(b"x" * 5000), "not a store"),
    (lambda path: path.write_bytes(b"SQLite format 3\0"), "damaged"),
    (other_program, "not a store"),
    (tables_only, "not a store"),
    (newer, "newer version"),
    (marked_newer, "newer version"),
    (changed, "another form of migration 1"),
    (sandbox, "sandbox work"),
]


@pytest.mark.parametrize(
    ("make", "words"),
    REFUSALS,
    ids=["empty", "garbage", "stub", "foreign", "nobody", "newer", "marked", "changed", "sandbox"],
)
def test_a_file_that_is_not_ours_is_refused_and_not_touched(tmp_path: Path, make, words: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - Callable[[Path], object]
    """Exit 8, the bytes as they were, and no file beside it: an empty one may be what a broken disk left of a store."""
    path = tmp_path / "store.db"
    make(path)
    (tmp_path / COPY).unlink(missing_ok=True)
    for name in ("store.db.lock", "store.db.mark"):
        (tmp_path / name).unlink(missing_ok=True)
    before, stamp = digest(path), path.stat().st_mtime_ns
    with pytest.raises(StoreError, match=words) as refused:
        prepare(path, now=NOW, sandbox=False)
    assert refused.value.exit_code == 8
    assert refused.value.hint is not None
    assert (digest(path), path.stat().st_mtime_ns) == (before, stamp)
    assert [p.name for p in tmp_path.iterdir()] == ["store.db"]


def test_a_newer_store_with_a_log_is_refused_and_not_touched(tmp_path: Path) -> None:
    """Its owner was killed: the log stays with the file for the program that knows it."""
    path = tmp_path / "store.db"
    newer(path)
    with closing(raw(path)) as c, closing(raw(path)) as keeper:
        c.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        c.execute("INSERT INTO more VALUES (1)")
        keeper.execute("SELECT count(*) FROM more").fetchall()
        before = digest(path), digest(tmp_path / "store.db-wal")
        with pytest.raises(StoreError, match="newer version"):
            prepare(path, now=NOW, sandbox=False)
        with pytest.raises(StoreError, match="newer version"):
            StoreReader.open(path)
        assert (digest(path), digest(tmp_path / "store.db-wal")) == before


def test_a_log_without_its_database_is_not_mixed_into_a_new_one(tmp_path: Path) -> None:
    """SQLite would play the old log into the new file. It may be all that is left of somebody's work."""
    path = tmp_path / "store.db"
    (tmp_path / "store.db-wal").write_bytes(b"frames")
    with pytest.raises(StoreError, match="its log") as refused:
        prepare(path, now=NOW, sandbox=False)
    assert "put the database file back" in str(refused.value.hint)
    assert not path.exists()


def test_readers_say_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    """`status` on a wrong path is a sentence, not a traceback."""
    with pytest.raises(NoSuchThing, match="there is no store"):
        StoreReader.open(tmp_path / "nowhere.db")
    other_program(tmp_path / "other.db")
    with pytest.raises(StoreError, match="not a store"):
        StoreReader.open(tmp_path / "other.db")
    (tmp_path / "garbage.db").write_bytes(b"x" * 5000)
    with pytest.raises(StoreError, match="not a store of this program"):
        StoreReader.open(tmp_path / "garbage.db")


def test_an_upgrade_leaves_a_copy_beside_the_store(tmp_path: Path) -> None:
    """The way back is a file of the older schema with everything in it; a second start changes nothing more."""
    path = tmp_path / "store.db"
    store_with_a_job(path)
    wanted = [*shipped_migrations(), NEXT]
    prepare(path, now=LATER, sandbox=False, migrations=wanted)
    with closing(raw(path)) as c:
        assert c.execute("PRAGMA user_version").fetchone()[0] == NEXT.version
        assert c.execute("SELECT count(*) FROM more").fetchone()[0] == 0
        assert c.execute("SELECT total FROM job").fetchone()[0] == 3
        assert [row[0] for row in c.execute("SELECT version FROM schema_migration")] == list(range(1, NEXT.version + 1))
    copy = tmp_path / COPY
    with closing(raw(copy)) as c:
        assert c.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        assert c.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert c.execute("SELECT total FROM job").fetchone()[0] == 3
    before = digest(path), copy.stat().st_mtime_ns
    prepare(path, now=LATER, sandbox=False, migrations=wanted)
    assert (digest(path), copy.stat().st_mtime_ns) == before


def test_a_migration_that_fails_in_its_middle_leaves_the_old_schema(tmp_path: Path) -> None:
    """One transaction: old or new, never half; the older program goes on with it."""
    path = tmp_path / "store.db"
    store_with_a_job(path)
    for _ in range(2):
        with pytest.raises(StoreError):
            prepare(path, now=LATER, sandbox=False, migrations=[*shipped_migrations(), BROKEN])
    with closing(raw(path)) as c:
        assert c.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert c.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'more'").fetchone()[0] == 0
    prepare(path, now=LATER, sandbox=False)


#: A finished job of the first schema: one request succeeded, one failed; their results lie in the other order.
FIRST_SCHEMA = """
INSERT INTO meta (id, lineage, created_at, sandbox, spread) VALUES (1, 'l', 'T', 0, 5);
INSERT INTO job (public_id, name, state, source, content_hash, api_version, betas, priority, still_open, added_at,
                 created_at)
  VALUES ('a-1', 'a', 'importing', '/a', 'h', 'v', '', 50, 0, 'T', 'T');
INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, depth, sent_at,
                   cursor_date, remote_id, created_at, ended_at, settled_at, collected)
  VALUES (1, 'aaaaaaaaaaaaaaaaaaaa', 'settled', 2, 9, 'd', 'v', '', 'T', 0, 'T', 'T', 'msgbatch_1', 'T', 'T', 'T', 1);
INSERT INTO request (id, custom_id, line, params_bytes, state)
  VALUES (4294967297, 'r1', 1, 2, 'queued'), (4294967298, 'r2', 2, 2, 'queued'), (4294967299, 'r3', 3, 2, 'queued');
UPDATE job SET state = 'running';
UPDATE request SET state = 'batched', batch_id = 1 WHERE id < 4294967299;
INSERT INTO result (request_id, body) VALUES (4294967298, x'22'), (4294967297, x'11');
UPDATE request SET state = 'succeeded' WHERE id = 4294967297;
UPDATE request SET state = 'failed', error_type = 'e' WHERE id = 4294967298;
"""


def test_results_of_the_first_schema_are_found_after_the_upgrade(tmp_path: Path) -> None:
    """Promise 1: a store of the first program keeps every answer under its request, and its counts."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:1])
    with closing(raw(path)) as c:
        c.execute("PRAGMA foreign_keys = ON").fetchall()
        c.execute("DROP TRIGGER meta_kept")
        c.execute("DELETE FROM meta")
        c.executescript(FIRST_SCHEMA.replace("'T'", f"'{to_text(NOW)}'"))
    prepare(path, now=LATER, sandbox=False)
    with StoreReader.open(path) as reads:
        job = reads.find("a")
        counts = (job.requests.total, job.requests.queued, job.requests.succeeded, job.requests.failed)
        assert counts == (3, 1, 1, 1)
        rows = [(row.custom_id, row.body) for row in reads.results(job.id, above=0, limit=9)]
    assert rows == [("r1", b"\x11"), ("r2", b"\x22")]


def test_a_damaged_store_is_not_upgraded(tmp_path: Path) -> None:
    """A row that refers to nothing would be carried on for ever: the upgrade is refused, the file stays older."""
    path = tmp_path / "store.db"
    store_with_a_job(path)
    with closing(raw(path)) as c:
        c.execute("PRAGMA foreign_keys = OFF").fetchall()
        c.execute("INSERT INTO attention VALUES (99, 'k', 0, 'm', 't')")
    with pytest.raises(StoreError, match="damaged") as refused:
        prepare(path, now=LATER, sandbox=False, migrations=[*shipped_migrations(), NEXT])
    assert "attention" in str(refused.value.cause)
    prepare(path, now=LATER, sandbox=False)


DIES = """
    import os, signal, sqlite3, sys
    from pathlib import Path
    from orchestrator.store import connect, migrate
    from store.store_world import NOW
    from store.test_store_files import NEXT
    path, at, upgrade = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "upgrade"
    steps = 0
    def die(event, args):  # every file operation of ours and every statement of SQLite is a place to die
        global steps
        if event in {"open", "os.rename", "sqlite3.connect", "os.remove", "os.mkdir"}:
            steps += 1
            if steps > at:
                os.kill(os.getpid(), signal.SIGKILL)
    def trace(_statement):
        die("open", ())
    connect_writer = connect.connect_writer
    def traced(path):
        c = connect_writer(path)
        c.set_trace_callback(trace)
        return c
    connect.connect_writer = traced
    wanted = migrate.shipped_migrations()
    sys.addaudithook(die)
    migrate.prepare(path, now=NOW, sandbox=False, migrations=[*wanted, NEXT] if upgrade else wanted)
    print("whole", steps)
"""


def killed_at(path: Path, step: int, what: str) -> bool:
    """Prepare *path* in a process that is killed at its *step*-th step; False if it got to the end before."""
    code = textwrap.dedent(DIES)
    with start_script(code, str(path), str(step), what, env=os.environ, stdout=DEVNULL, stderr=PIPE) as process:
        _, err = process.communicate(timeout=60)
        assert process.returncode in {0, -signal.SIGKILL}, err
        return process.returncode != 0


@pytest.mark.process
@pytest.mark.parametrize("step", [0, 1, 2, 4, 6, 8, 12, 16, 20, 23, 24, 25, 26])
def test_a_first_start_that_is_killed_leaves_no_store_or_a_whole_one(tmp_path: Path, step: int) -> None:
    """`kill -9` at any statement and file operation: the next start makes it, or finds it made."""
    path = tmp_path / "new" / "store.db"
    assert killed_at(path, step, "create")
    if path.exists():
        with closing(raw(path)) as c:
            assert c.execute("SELECT count(*) FROM meta").fetchone()[0] == 1
    prepare(path, now=NOW, sandbox=False)
    with closing(raw(path)) as c:
        assert c.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert c.execute("PRAGMA user_version").fetchone()[0] == len(shipped_migrations())


@pytest.mark.process
@pytest.mark.parametrize("step", [1, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13])
def test_an_upgrade_that_is_killed_leaves_the_old_schema_or_the_new(tmp_path: Path, step: int) -> None:
    """Never half; the work in it stays."""
    path = tmp_path / "store.db"
    store_with_a_job(path)
    assert killed_at(path, step, "upgrade")
    with closing(raw(path)) as c:
        version = c.execute("PRAGMA user_version").fetchone()[0]
        made = c.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'more'").fetchone()[0]
        assert version == SCHEMA_VERSION + made
    prepare(path, now=NOW, sandbox=False, migrations=[*shipped_migrations(), NEXT])
    with closing(raw(path)) as c:
        assert c.execute("PRAGMA user_version").fetchone()[0] == NEXT.version
        assert c.execute("SELECT total FROM job").fetchone()[0] == 3


def test_a_store_knows_who_it_is(tmp_path: Path) -> None:
    """The lineage and the size jitter are made once; another store has others."""

    async def met(path: Path) -> tuple[str, int]:
        async with open_store(path) as store:
            meta = await store.read(lambda reads: reads.meta())
            assert 1 <= meta.size_jitter <= 999
            assert await store.plan.size_jitter() == meta.size_jitter
            assert meta.duplicates_total == 0
            assert not meta.sandbox
            return meta.lineage, meta.size_jitter

    first = asyncio.run(met(tmp_path / "a.db"))
    assert asyncio.run(met(tmp_path / "a.db")) == first
    assert asyncio.run(met(tmp_path / "b.db"))[0] != first[0]


def test_the_lock_is_given_back_when_a_store_closes(tmp_path: Path) -> None:
    """The next process need not wait; the log is gone with a clean close."""
    path = tmp_path / "store.db"
    store_with_a_job(path)
    assert not (tmp_path / "store.db-wal").exists()
    with Lock.take(path, patience_s=0):
        pass

    async def again() -> None:
        store = await SqliteStore.open(path, lock=Lock.take(path, patience_s=0), now=NOW, sandbox=False)
        await store.aclose()

    asyncio.run(again())
