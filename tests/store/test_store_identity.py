"""Promise 2: a store knows by the mark beside it whether something was sent that it does not know of."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import META, NOW, open_store, planned, raw, running_job

from orchestrator.domain.errors import GuardRefused, StoreError
from orchestrator.store.identity import Standing, Trust, refuse_strange
from orchestrator.store.maintenance import check_up
from orchestrator.store.mark import Mark, MarkRecord, mark_path, read_mark
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.store.ownership import Lock
from orchestrator.store.sqlite_store import SqliteStore

pytestmark = pytest.mark.sqlite

#: The last schema without a mark.
UNMARKED = 5


async def send_one(path: Path, name: str = "job") -> None:
    """One more intent."""
    async with open_store(path) as store:
        job = await running_job(store, 4, name)
        await store.submit.intend(await planned(store, job.id, nonce=name[0]), None, META, NOW)


async def lacks(path: Path) -> tuple[str, int] | None:
    """Opens the store; why and how much the API must be asked for."""
    async with open_store(path) as store:
        search = await store.reconcile.open()
        return None if search is None else (search.cause, search.missing)


@pytest.mark.parametrize("version", range(1, UNMARKED + 1))
def test_a_store_of_every_earlier_schema_goes_on_without_a_question(tmp_path: Path, version: int) -> None:
    """H3: it gets its mark with the upgrade; the copy that the upgrade left is behind once something was sent."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:version])
    assert asyncio.run(lacks(path)) is None
    marked = read_mark(path)
    assert marked is not None
    assert marked.intents == 0
    asyncio.run(send_one(path))
    assert asyncio.run(lacks(path)) is None
    shutil.copy(tmp_path / f"store.db.before-{version + 1:04d}", path)
    assert asyncio.run(lacks(path)) == ("behind", 1)
    with closing(raw(path)) as c:
        assert c.execute("SELECT secret FROM meta").fetchone() == (marked.secret,)


def test_a_store_counts_on_after_it_was_found_behind(tmp_path: Path) -> None:
    """H3: a number is never given twice, so that each later copy can be told apart as well."""
    path = tmp_path / "store.db"
    asyncio.run(send_one(path, "a"))
    shutil.copy(path, tmp_path / "one.db")
    asyncio.run(send_one(path, "b"))
    asyncio.run(send_one(path, "c"))
    shutil.copy(tmp_path / "one.db", path)
    assert asyncio.run(lacks(path)) == ("behind", 2)
    with closing(raw(path)) as c:
        assert c.execute("SELECT intents FROM meta").fetchone() == (3,)
        assert c.execute("SELECT count(*) FROM reconciliation").fetchone() == (1,)
    assert asyncio.run(lacks(path)) == ("behind", 2), "one search, however often it is opened"


def test_a_checkup_says_how_a_store_stands(tmp_path: Path) -> None:
    """H3: what `doctor` tells: its own, behind, and still to be searched for."""
    path = tmp_path / "store.db"
    asyncio.run(send_one(path, "a"))
    shutil.copy(path, tmp_path / "one.db")
    asyncio.run(send_one(path, "b"))
    facts = check_up(path, thoroughly=False)
    assert (facts.standing, facts.searching) == (Standing.OWN, False)
    shutil.copy(tmp_path / "one.db", path)
    facts = check_up(path, thoroughly=False)
    assert (facts.standing, facts.searching) == (Standing.BEHIND, False)
    asyncio.run(lacks(path))
    facts = check_up(path, thoroughly=False)
    assert (facts.standing, facts.searching) == (Standing.OWN, True)


def test_the_store_of_somebody_else_in_its_place_asks_first(tmp_path: Path) -> None:
    """H3: the mark is of another store."""
    path, other = tmp_path / "one" / "store.db", tmp_path / "two" / "store.db"
    asyncio.run(send_one(path))
    asyncio.run(send_one(other))
    other.replace(path)
    with pytest.raises(GuardRefused, match="is a copy of a store"):
        asyncio.run(lacks(path))


@pytest.mark.parametrize("spoil", [b"", b"x" * 1024, b"\0" * 1024, b"\xff" * 100])
def test_a_mark_that_cannot_be_read_is_none(tmp_path: Path, spoil: bytes) -> None:
    """H3: rather ask than guess."""
    path = tmp_path / "store.db"
    asyncio.run(send_one(path))
    mark_path(path).write_bytes(spoil)
    assert read_mark(path) is None
    with pytest.raises(GuardRefused):
        asyncio.run(lacks(path))


def test_a_write_that_was_torn_leaves_the_number_before(tmp_path: Path) -> None:
    """H3: a power cut in the middle of a write of the mark."""
    path = tmp_path / "store.db"
    marked = MarkRecord(lineage="l", secret="s", sandbox=False, intents=6)  # noqa: S106 - nobody's
    mark = Mark.open(path, marked)
    mark.reach(7)
    mark.close()
    found = read_mark(path)
    assert found is not None
    assert found.intents == 7
    content = bytearray(mark_path(path).read_bytes())
    newest = content.index(b'"intents":7') // 512
    content[newest * 512 + 40 : newest * 512 + 60] = b"\0" * 20
    with mark_path(path).open("r+b") as file:
        file.write(content)
    found = read_mark(path)
    assert found is not None
    assert found.intents == 6


def test_a_mark_that_is_deleted_while_its_store_is_open_is_made_again(tmp_path: Path) -> None:
    """H3: whoever cleans up takes it away: the next intent puts it back."""
    path = tmp_path / "store.db"

    async def work() -> None:
        async with open_store(path) as store:
            job = await running_job(store, 4)
            mark_path(path).unlink()
            assert await store.submit.intend(await planned(store, job.id, 2), None, META, NOW) is not None

    asyncio.run(work())
    found = read_mark(path)
    assert found is not None
    assert found.intents == 1
    assert asyncio.run(lacks(path)) is None


def test_a_mark_without_its_store_refuses_a_new_one_only_if_something_was_sent(tmp_path: Path) -> None:
    """H3: an empty store that was deleted costs nobody anything."""
    path = tmp_path / "store.db"
    assert asyncio.run(lacks(path)) is None
    path.unlink()
    assert asyncio.run(lacks(path)) is None
    asyncio.run(send_one(path))
    path.unlink()
    with pytest.raises(StoreError, match="is gone, but its mark"):
        asyncio.run(lacks(path))


def test_a_store_that_came_with_a_folder_is_not_begun_on_its_own_word(tmp_path: Path) -> None:
    """H1: a file in the working directory names it, and it says of itself that it needs no mark: a person is asked."""
    path = tmp_path / "store.db"
    asyncio.run(send_one(path))
    with closing(raw(path)) as c:
        c.execute("UPDATE meta SET marked = 0")
    mark_path(path).unlink()

    async def start(trust: Trust) -> None:
        with Lock.take(path, patience_s=0) as lock:
            store = await SqliteStore.open(path, lock=lock, now=NOW, sandbox=False, trust=trust)
            await store.aclose()

    for trust in (Trust.PLANTED, Trust.OWN):
        with pytest.raises(GuardRefused, match="is a copy of a store"):
            asyncio.run(start(trust))
    asyncio.run(start(Trust.ADOPTED))
    asyncio.run(start(Trust.PLANTED))


def test_a_store_of_an_earlier_schema_that_came_with_a_folder_asks_as_well(tmp_path: Path) -> None:
    """H1: it had no marks, so nothing tells whose it is."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:UNMARKED])
    with pytest.raises(GuardRefused):
        refuse_strange(path, None, sandbox=False, trust=Trust.PLANTED)
    refuse_strange(path, None, sandbox=False, trust=Trust.OWN)


def test_a_new_store_takes_no_place_of_one_of_the_other_kind(tmp_path: Path) -> None:
    """H3: what a sandbox's store sent says nothing to one of real work, adopted or not."""
    path = tmp_path / "store.db"
    marked = MarkRecord(lineage="l", secret="s", sandbox=True, intents=1)  # noqa: S106 - nobody's
    for trust in Trust:
        with pytest.raises(StoreError, match="is of sandbox work"):
            refuse_strange(path, marked, sandbox=False, trust=trust)
