"""Commands where the disk is full or nothing may be written: reading works, the rest says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from faces.cli_world import FAST, request, write_lines
from support.places import closed_folder, fill_up, only_reading, small_disk

from orchestrator.cli.main import run

Run = Callable[..., tuple[int, str, str]]
READING = (
    ("ls",),
    ("status",),
    ("results", "@last", "-o", "-"),
    ("errors", "@last"),
    ("watch", "@last"),
    ("wait", "@last"),
    ("db", "check"),
    ("webhooks", "ls"),
)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command in this process, in a folder of its own: `command(db, "ls")`; its code, stdout and stderr."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with tempfile.TemporaryDirectory(prefix="orc-") as folder:
        for name, value in {**FAST, "XDG_RUNTIME_DIR": folder, "HOME": folder}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        monkeypatch.chdir(folder)
        Path(folder).chmod(0o755)
        write_lines(Path("in.jsonl"), [request(number) for number in range(3)])

        def call(db: Path, *args: str) -> tuple[int, str, str]:
            capfd.readouterr()
            code = run([*args, "--db", str(db)])
            return code, *capfd.readouterr()

        yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def finished(command: Run, db: Path) -> None:
    """A store at *db* with a job that is over, alone in its one file. All that reads was called once: it is loaded."""
    assert command(db, "run", "in.jsonl", "--sandbox", "-q")[0] == 0
    for args in READING:
        assert command(db, *args)[0] == 0
    for beside in ("-wal", "-shm"):
        db.with_name(db.name + beside).unlink(missing_ok=True)  # which reading made


def all_can_be_read(command: Run, db: Path) -> None:
    """Every command that only looks does its work."""
    for args in READING:
        code, _, err = command(db, *args)
        assert (code, "error" in err) == (0, False), (args, err)
    results = command(db, "results", "@last", "-o", "-")[1].splitlines()
    assert [json.loads(line)["custom_id"] for line in results] == ["r-0", "r-1", "r-2"]


def test_a_full_disk_can_be_read(command: Run) -> None:
    """F20, M8. Reading makes a file beside a store; where there is no room for it, the store alone is read."""
    with small_disk("4m") as disk:
        db = disk / "store.db"
        finished(command, db)
        fill_up(disk)
        all_can_be_read(command, db)
        assert command(db, "check", str(Path("in.jsonl").resolve()))[0] == 0
        with tempfile.TemporaryDirectory() as elsewhere:
            assert command(db, "db", "backup", f"{elsewhere}/copy.db")[0] == 0
            assert command(Path(elsewhere) / "copy.db", "db", "check")[0] == 0
        code, out, _ = command(db, "doctor", "--sandbox")
        assert code == 8
        assert "make space" in out


@pytest.mark.parametrize(
    "args",
    [
        ("run", "in.jsonl", "--sandbox", "--new", "-o", "/dev/null"),
        ("submit", "in.jsonl", "--sandbox", "--new"),
        ("serve", "--sandbox", "--listen", ""),
        ("retry", "@last", "--sandbox"),
        ("db", "prune", "--older-than", "0s", "--sandbox"),
    ],
    ids=lambda args: args[0],
)
def test_work_on_a_full_disk_says_that_it_is_full(command: Run, args: tuple[str, ...]) -> None:
    """M8. Exit 8 and "full", whatever SQLite calls it; nothing waits for ever, and nothing is a bug of ours."""
    with small_disk("4m") as disk:
        db = disk / "store.db"
        assert command(db, "run", "in.jsonl", "--sandbox", "-q", "-o", "/dev/null")[0] == 0
        fill_up(disk)
        code, _, err = command(db, *args)
        assert code == 8, err
        assert "the disk that holds the store is full" in err
        assert "free some space" in err


def test_compacting_says_how_much_space_it_needs_before_it_begins(command: Run) -> None:
    """F16. Where there is too little of it nothing is begun; the store stays as it was."""
    with small_disk("8m") as disk:
        db = disk / "store.db"
        write_lines(Path("many.jsonl"), [request(number) for number in range(500)])
        assert command(db, "run", "many.jsonl", "--sandbox", "-q", "-o", "/dev/null")[0] == 0
        assert "`orchestrator db compact" in command(db, "db", "prune", "--older-than", "0s", "--sandbox")[2]
        ballast = fill_up(disk)
        os.truncate(ballast, ballast.stat().st_size - 200_000)
        code, _, err = command(db, "db", "compact")
        assert code == 8
        assert "beside the store for a while" in err
        ballast.unlink()
        done = json.loads(command(db, "db", "compact", "--json")[1])
        assert (done["bytes"], done["given_back_bytes"] > 100_000) == (db.stat().st_size, True)
        assert command(db, "db", "check")[0] == 0


def test_a_store_that_does_not_fit_is_not_made(command: Run) -> None:
    """M8. Closing a new file writes its log back, and says nothing if it cannot: half a store took its place."""
    for room in (40, 150, 250, 350, 400, 450, 500, 600):
        with small_disk("4m") as disk:
            ballast = fill_up(disk)
            os.truncate(ballast, ballast.stat().st_size - room * 4096)
            db = disk / "store.db"
            code, _, err = command(db, "submit", "in.jsonl", "--sandbox")
            if code == 0:
                assert command(db, "db", "check")[0] == 0
                continue
            assert (code, "full" in err) == (8, True), err
            assert not [file for file in disk.iterdir() if ".new" in file.name]
            ballast.unlink()
            assert command(db, "submit", "in.jsonl", "--sandbox")[0] == 0
            assert command(db, "db", "check")[0] == 0


def test_a_folder_without_write_permission_can_be_read(command: Run) -> None:
    """F20. A store of a colleague, or on a read-only mount; what would write says what is in the way."""
    with closed_folder() as folder:
        db = folder / "store.db"
        finished(command, db)
        with only_reading(folder):
            all_can_be_read(command, db)
            assert sorted(file.name for file in folder.iterdir() if "-" in file.name) == []
            for args in (("submit", "in.jsonl", "--sandbox", "--new"), ("serve", "--sandbox", "--listen", "")):
                code, _, err = command(db, *args)
                assert code == 8
                assert "check the folder's permissions" in err


def test_a_log_that_cannot_be_read_where_it_is_is_told(command: Run) -> None:
    """F20. With work in the log the file alone would be an old state: never shown as if it were the store."""
    with closed_folder() as folder:
        db, copied = folder / "store.db", Path("work.db")
        finished(command, copied)
        with closing(sqlite3.connect(copied, isolation_level=None)) as open_one:
            open_one.execute("CREATE TABLE beside (x)")
            for beside in ("", "-wal"):
                shutil.copy(f"{copied}{beside}", f"{db}{beside}")
        assert Path(f"{db}-wal").stat().st_size > 0
        with only_reading(folder):
            code, _, err = command(db, "ls")
        assert code == 8
        assert "nothing can be written in" in err
        assert "copy the file and its -wal" in err


def test_a_daemon_of_the_real_api_says_that_the_disk_is_full(
    command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """M8. Its token is the first thing that it writes."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    with small_disk("4m") as disk:
        assert command(disk / "store.db", "submit", "in.jsonl")[0] == 0
        fill_up(disk)
        code, _, err = command(disk / "store.db", "serve", "--listen", "127.0.0.1:0")
        assert (code, "the disk that holds the store is full" in err) == (8, True)
        assert not [file for file in disk.iterdir() if "token" in file.name]


def test_a_token_or_settings_that_cannot_be_written_leave_nothing(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M8. An empty file would be "there already" for the next try."""
    with small_disk("1m") as disk:
        monkeypatch.chdir(disk)
        ballast = fill_up(disk)
        code, _, err = command(disk / "x.db", "service", "token", str(disk / "token"))
        assert (code, "make space" in err) == (2, True)
        assert command(disk / "x.db", "config", "init")[0] == 2
        assert not (disk / "orchestrator.toml").exists()
        ballast.unlink()
        assert command(disk / "x.db", "service", "token", str(disk / "token"))[0] == 0
        assert command(disk / "x.db", "config", "init")[0] == 0
        monkeypatch.chdir("/")
