"""Results in folders that everybody may write to: nobody else decides where they go, or who reads them (F10)."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from orchestrator.domain.errors import OutputError
from orchestrator.results import check_writable, open_sink

STRANGER = 54321
FOR_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of another user")


def write(path: Path) -> None:
    async def written() -> None:
        sink = open_sink(path)
        try:
            await sink.write(b"answers\n")
            await sink.commit()
        finally:
            await sink.abort()

    asyncio.run(written())


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def linked(at: Path, target: Path, *, owner: int) -> Path:
    at.symlink_to(target)
    os.chown(at, owner, owner, follow_symlinks=False)
    return at


@FOR_ROOT
@pytest.mark.parametrize("place", ["out.jsonl", "folder/out.jsonl", "two/out.jsonl"])
def test_a_link_that_another_user_put_there_is_not_followed(tmp_path: Path, shared: Path, place: str) -> None:
    """F10: the last link, one of a folder, and one behind a link of ours; told before the work, and at its end."""
    (tmp_path / "theirs").mkdir()
    linked(shared / "out.jsonl", tmp_path / "theirs" / "x", owner=STRANGER)
    linked(shared / "folder", tmp_path / "theirs", owner=STRANGER)
    linked(shared / "two", shared / "folder", owner=0)
    for attempt in (check_writable, write):
        with pytest.raises(OutputError, match="another user"):
            attempt(shared / place)
    assert list((tmp_path / "theirs").iterdir()) == []


@FOR_ROOT
def test_links_of_ours_and_of_the_folders_owner_are_followed(tmp_path: Path, shared: Path) -> None:
    """F10: and in a folder of one's own any link is."""
    os.chown(shared, STRANGER, STRANGER)
    linked(shared / "ours", tmp_path / "a", owner=0)
    linked(shared / "owners", tmp_path / "b", owner=STRANGER)
    linked(tmp_path / "private", tmp_path / "c", owner=STRANGER)
    for link in (shared / "ours", shared / "owners", tmp_path / "private"):
        check_writable(link)
        write(link)
        assert link.is_symlink()
        assert link.read_bytes() == b"answers\n"


@FOR_ROOT
@pytest.mark.parametrize("mode", [0o644, 0o666, 0o600])
def test_a_file_that_another_user_put_there_lends_no_owner_and_no_mode(shared: Path, mode: int) -> None:
    """F10: an empty file waits in /tmp for root's answers: they are root's alone."""
    path = shared / "out.jsonl"
    path.touch()
    path.chmod(mode)
    os.chown(path, STRANGER, STRANGER)
    write(path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, os.getegid(), 0o600)
    assert path.read_bytes() == b"answers\n"


@FOR_ROOT
def test_a_file_of_the_folders_owner_keeps_its_owner(shared: Path) -> None:
    """F10: root writes for somebody into his own folder, as before."""
    os.chown(shared, STRANGER, STRANGER)
    path = shared / "out.jsonl"
    path.touch()
    path.chmod(0o640)
    os.chown(path, STRANGER, STRANGER)
    write(path)
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (STRANGER, 0o640)


@FOR_ROOT
def test_a_pipe_that_another_user_put_there_gets_nothing(shared: Path) -> None:
    """F10: it is read by whoever made it."""
    pipe = shared / "out.jsonl"
    os.mkfifo(pipe)
    os.chown(pipe, STRANGER, STRANGER)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OutputError, match="another user"):
            write(pipe)
        assert os.read(reading, 10) == b""
    finally:
        os.close(reading)


@FOR_ROOT
def test_a_file_that_cannot_be_replaced_later_is_told_before_the_work() -> None:
    """F10: in such a folder nobody but root replaces what another user put there."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o1777)
        (folder / "out.jsonl").touch()
        os.chown(folder / "out.jsonl", STRANGER + 1, STRANGER + 1)
        os.seteuid(STRANGER)
        try:
            with pytest.raises(OutputError, match="another user"):
                check_writable(folder / "out.jsonl")
            check_writable(folder / "mine.jsonl")
        finally:
            os.seteuid(0)
