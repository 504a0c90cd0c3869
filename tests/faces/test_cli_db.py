"""`db`: a copy of the store, an audit of it, its schema brought forward, as a person types it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from faces.cli_world import Program, program_in, request, write_lines
from store.store_world import raw

from orchestrator.store.migrate import SCHEMA_VERSION, prepare, shipped_migrations


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(4)])
        yield found


def test_a_backup_can_be_read_and_is_never_overwritten(program: Program, tmp_path: Path) -> None:
    """Taken, checked, read in the store's place; a second one under the same name is refused."""
    assert program("run", "in.jsonl", "--sandbox", "--db", "s.db").code == 0
    done = program("db", "backup", "copy.db", "--sandbox", "--db", "s.db", "--json")
    assert (done.code, done.facts["bytes"]) == (0, (tmp_path / "copy.db").stat().st_size)
    assert program("results", "@last", "--sandbox", "--db", "copy.db").out.count("\n") == 4
    again = program("db", "backup", "copy.db", "--sandbox", "--db", "s.db")
    assert (again.code, again.out) == (5, "")
    assert "is there already" in again.err


def test_a_check_says_sound_or_what_is_not(program: Program, tmp_path: Path) -> None:
    """Exit 0 or 8, in words and in JSON."""
    assert program("run", "in.jsonl", "--sandbox", "--db", "s.db").code == 0
    sound = program("db", "check", "--sandbox", "--db", "s.db")
    assert (sound.code, "is sound" in sound.out) == (0, True)
    with closing(raw(tmp_path / "s.db")) as c:
        c.execute("DROP TRIGGER known_id_kept")
        c.execute("DELETE FROM known_id")
    broken = program("db", "check", "--sandbox", "--db", "s.db", "--json")
    assert (broken.code, broken.facts["sound"]) == (8, False)
    assert "custom_id" in broken.facts["findings"][0]


def test_a_store_of_an_earlier_version_is_migrated_by_name(program: Program, tmp_path: Path) -> None:
    """Reading it is refused with the remedy; the remedy works; twice it does nothing."""
    prepare(tmp_path / "s.db", now=datetime.now(UTC), sandbox=True, migrations=shipped_migrations()[:1])
    refused = program("ls", "--sandbox", "--db", "s.db")
    assert refused.code == 8
    assert "db migrate" in refused.err
    done = program("db", "migrate", "--sandbox", "--db", "s.db", "--json")
    assert (done.code, done.facts["schema_before"], done.facts["schema"]) == (0, 1, SCHEMA_VERSION)
    assert "nothing to do" in program("db", "migrate", "--sandbox", "--db", "s.db").err
    assert program("ls", "--sandbox", "--db", "s.db").code == 0


def test_a_misspelt_address_is_nowhere_to_move_to(program: Program, tmp_path: Path) -> None:
    """It would be a file, in a folder that is called as the password; the database's slip is refused as well."""
    for db in ("s.db", "postgresql://o@h/x"):
        refused = program("db", "move", "--db", db, "--to", "postgress://o:hush@h/x")
        assert (refused.code, "postgresql://USER@HOST/NAME" in refused.err, "hush" in refused.err) == (2, True, False)
    assert [each.name for each in tmp_path.iterdir() if "postgres" in each.name] == []


@pytest.mark.parametrize("command", [("check",), ("migrate",), ("backup", "copy.db")])
def test_without_a_store_there_is_nothing_to_care_for(
    program: Program, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Exit 4, and no store is made."""
    done = program("db", *command, "--db", "nowhere.db")
    assert (done.code, list(tmp_path.glob("nowhere*"))) == (4, [])


def test_old_results_are_pruned_and_told_to_be_gone(program: Program, tmp_path: Path) -> None:
    """First which, then gone: the results with exit 4, the retry with 5; the same input is a new job."""
    store = ("--sandbox", "--db", "s.db")
    assert program("run", "in.jsonl", "-o", "one.jsonl", *store).code == 0
    assert program("db", "prune", *store).code == 2, "how old is not said"
    assert program("db", "prune", "--older-than", "1h", "--json", *store).facts["pruned"] == []
    (job,) = program("db", "prune", "--older-than", "0s", "--dry-run", "--json", *store).facts["pruned"]
    assert program("results", job, "-o", "two.jsonl", *store).code == 0
    done = program("db", "prune", "--older-than", "0s", *store)
    assert (done.code, job in done.out) == (0, True)
    gone = program("results", job, "-o", "three.jsonl", *store)
    assert (gone.code, "were deleted" in gone.err, (tmp_path / "three.jsonl").exists()) == (4, True, False)
    assert program("retry", job, *store).code == 5
    assert program("db", "check", *store).code == 0
    assert program("status", job, "--json", *store).facts["state"] == "finished"
    assert program("run", "in.jsonl", "-o", "four.jsonl", *store).code == 0
    assert len(program("ls", "--json", *store).facts["jobs"]) == 2


@pytest.mark.postgres
def test_a_store_is_moved_into_a_database_and_back(program: Program, new_database: Callable[[], str]) -> None:
    """The old one says where it went, with exit 5; the new one knows the finished job. Passwords are not shown."""
    url = new_database().replace("postgres@", "postgres:secret@")
    assert program("run", "in.jsonl", "--sandbox", "--db", "s.db", "-o", "one.jsonl").code == 0
    done = program("db", "move", "--to", url, "--sandbox", "--db", "s.db")
    assert (done.code, "secret" in done.err, "1 job with 4 requests moved" in done.err) == (0, False, True)
    old = program("status", "--sandbox", "--db", "s.db")
    assert (old.code, "was moved to postgresql://postgres:***@" in old.err) == (5, True)
    assert program("results", "@last", "--sandbox", "--db", url).out.count("\n") == 4
    assert program("db", "check", "--sandbox", "--db", url).code == 0
    back = program("db", "move", "--to", "back.db", "--sandbox", "--db", url, "--json")
    assert (back.facts["jobs"], back.facts["requests"]) == (1, 4)
    assert "was moved to" in program("ls", "--sandbox", "--db", url).err
    again = program("run", "in.jsonl", "--sandbox", "--db", "back.db", "-o", "two.jsonl")
    assert (again.code, "is there already: finished" in again.err) == (0, True)


@pytest.mark.parametrize(("db", "to"), [("s.db", "t.db"), ("postgresql://h/a", "postgresql://h/b")])
def test_a_store_is_moved_from_one_kind_to_the_other(program: Program, db: str, to: str) -> None:
    """Within one kind the kind's own programs do it: exit 2, and what those are."""
    done = program("db", "move", "--to", to, "--db", db)
    assert (done.code, "pg_dump" in done.err) == (2, True)
