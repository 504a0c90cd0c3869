"""The server that tests use: one a run, nothing left of it, and databases of one's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from support.postgres import PostgresServer, await_end, keeper_of

pytestmark = [pytest.mark.postgres, pytest.mark.process]
USER = """import sys; from pathlib import Path; from support.postgres import join_server
print(join_server(Path(sys.argv[1])).url, flush=True); sys.stdin.read()"""


def user_of(folder: Path) -> subprocess.Popen[str]:
    """A process that uses the server in *folder* until its standard input ends."""
    order = [sys.executable, "-c", USER, str(folder)]
    root = Path(__file__).parent.parent
    return subprocess.Popen(order, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_run_has_one_server_and_a_killed_run_none(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Workers share it; it outlives the one that started it, and ends with the last, even if that one is killed."""
    with user_of(tmp_path) as first, user_of(tmp_path) as second:
        assert first.stdout is not None
        assert second.stdout is not None
        url = first.stdout.readline().strip()
        assert second.stdout.readline().strip() == url
        data = Path((tmp_path / "server").read_text().splitlines()[0])
        first.kill()
        first.wait()
        psycopg.connect(url).close()
        second.kill()
    await_end(tmp_path)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    assert not data.parent.exists()


def test_a_server_whose_keeper_was_killed_ends_when_the_next_one_begins(
    postgres_server: PostgresServer, own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    """Somebody ends every Python that he sees: the server stays, and nobody waits for its end."""
    with user_of(tmp_path) as user:
        assert user.stdout is not None
        url = user.stdout.readline().strip()
        keeper = keeper_of(tmp_path)
        os.kill(int(keeper.read_text()), signal.SIGKILL)
        user.kill()
    psycopg.connect(url).close()
    own_server()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    assert not keeper.parent.exists()


def test_a_database_is_made_from_a_template(postgres_server: PostgresServer, new_database: Callable[..., str]) -> None:
    """A test has its own, and what it writes is in no other."""

    def fill(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE t (id int)")

    template = postgres_server.template("one table", fill)
    for _ in range(2):
        with psycopg.connect(new_database(template)) as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
            connection.execute("INSERT INTO t VALUES (1)")


def test_a_server_of_its_own_can_be_restarted(own_server: Callable[..., PostgresServer]) -> None:
    """As after a power cut: connections break, what was committed is there."""
    server = own_server(auth="scram-sha-256", settings={"fsync": "on"})
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.url.replace("secret", "wrong"))
    server.execute("CREATE TABLE t AS SELECT 1")
    with psycopg.connect(server.url) as before:
        server.restart()
        with pytest.raises(psycopg.OperationalError):
            before.execute("SELECT 1")
    assert server.execute("TABLE t") == [(1,)]
