"""The socket's path: the same for everybody who means the same database, and in a folder that is ours alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.config import database_folder, database_sockets, default_socket_path
from orchestrator.domain.errors import UsageError


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, unlike `tmp_path`: a socket's path has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="orc-") as folder:
        yield Path(folder).resolve()


def test_every_way_to_write_a_database_gives_the_same_socket(short: Path) -> None:
    """Promise 10: whoever opens the same store finds its owner."""
    (short / "link").symlink_to(short)
    env = {"XDG_RUNTIME_DIR": str(short)}
    paths = [short / "a.db", short / "link" / "a.db", short / "x" / ".." / "a.db"]
    assert len({default_socket_path(path, env) for path in paths}) == 1
    assert default_socket_path(short / "b.db", env) != default_socket_path(short / "a.db", env)
    assert default_socket_path(paths[0], env).name.removesuffix(".sock").removeprefix("orchestrator-").isalnum()


def test_what_a_daemon_knows_of_a_database_has_a_folder_by_its_address(short: Path) -> None:
    """Promise 9: no password is in the name, which is the same when the password is another."""
    folders = {
        database_folder(url, {"XDG_STATE_HOME": str(short)})
        for url in (
            "postgresql://orch@db/orch?sslmode=require&application_name=x",
            "postgres://orch:hush@db/orch?application_name=x&sslmode=require&sslpassword=hush",
            "postgresql://orch:other@db/orch?password=hush&application_name=x&sslmode=require",
        )
    }
    (folder,) = folders
    assert folder.parent == short / "orchestrator"
    others = ["postgresql://orch@db/orch", "postgresql://orch@db2/orch", "postgresql://o@db/orch", "postgresql://db/x"]
    home = {"HOME": str(short)}
    assert len({database_folder(url, home) for url in others} | folders) == 5
    assert database_folder(others[0], home).is_relative_to(short / ".local/state/orchestrator")
    with pytest.raises(UsageError, match="no place for a daemon's token"):
        database_folder(others[0], {})


def test_daemons_on_one_database_have_sockets_side_by_side(short: Path) -> None:
    """Several of them on one machine do not fight over a socket, and all of them are found."""
    env = {"XDG_RUNTIME_DIR": str(short)}
    folder, prefix = database_sockets("postgresql://orch:hush@db/orch", env)
    assert (folder, prefix) == database_sockets("postgres://orch@db/orch", env)
    assert folder == short
    assert prefix != database_sockets("postgresql://orch@db/other", env)[1]


@pytest.mark.parametrize("runtime", ["", "relative", "/does/not/exist"])
def test_without_a_runtime_folder_a_private_one_is_made(short: Path, runtime: str) -> None:
    """Nobody else may enter the folder that commands pass through."""
    path = default_socket_path(short / "a.db", {"XDG_RUNTIME_DIR": runtime}, temporary=short)
    assert path.parent.parent == short
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert default_socket_path(short / "a.db", {}, temporary=short) == path


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_runtime_folder_that_others_can_write_to_is_not_trusted(short: Path, mode: int) -> None:
    """L8: anybody could put a socket there that takes our commands and prompts."""
    runtime = short / "run"
    runtime.mkdir()
    runtime.chmod(mode)
    path = default_socket_path(short / "a.db", {"XDG_RUNTIME_DIR": str(runtime)}, temporary=short)
    assert path == default_socket_path(short / "a.db", {}, temporary=short)
    runtime.chmod(0o700)
    path = default_socket_path(short / "a.db", {"XDG_RUNTIME_DIR": str(runtime)}, temporary=short)
    assert path.parent == runtime


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_runtime_folder_of_somebody_else_is_trusted_only_by_who_means_his_database(short: Path) -> None:
    """L8: root looks at a service that has a user of its own; the owner of the store has all of it anyway."""
    runtime, mine, his = short / "run", short / "mine.db", short / "his.db"
    runtime.mkdir(mode=0o700)
    for path in (mine, his):
        path.touch()
    os.chown(runtime, 65534, 65534)
    os.chown(his, 65534, 65534)
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    assert default_socket_path(his, env, temporary=short).parent == runtime
    assert default_socket_path(mine, env, temporary=short).parent.parent == short
    assert default_socket_path(short / "none.db", env, temporary=short).parent.parent == short


@pytest.mark.parametrize("trap", ["symlink", "dangling", "file", "open"])
def test_a_folder_that_is_not_ours_alone_is_refused(short: Path, trap: str) -> None:
    """In /tmp anybody may have put something of that name there first."""
    folder = default_socket_path(short / "a.db", {}, temporary=short).parent
    elsewhere = short / "elsewhere"
    if trap == "open":
        folder.chmod(0o755)
    else:
        folder.rmdir()
    if trap == "symlink":
        elsewhere.mkdir(mode=0o700)
    if trap in {"symlink", "dangling"}:
        folder.symlink_to(elsewhere)
    if trap == "file":
        folder.write_text("")
    with pytest.raises(UsageError, match="folder for the socket cannot be used"):
        default_socket_path(short / "a.db", {}, temporary=short)


def test_a_path_too_long_for_a_socket_is_refused_before_it_fails(tmp_path: Path) -> None:
    """The system would only say "AF_UNIX path too long"."""
    folder = tmp_path / ("d" * 90)
    folder.mkdir()
    with pytest.raises(UsageError, match="too long") as caught:
        default_socket_path(tmp_path / "a.db", {"XDG_RUNTIME_DIR": str(folder)})
    assert "XDG_RUNTIME_DIR" in str(caught.value.hint)
