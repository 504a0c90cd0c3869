"""Ends a PostgreSQL server when the last process that uses it is gone, however it went: a kill leaves nothing running.

Usage: python postgres_keeper.py USERS DATA URL_FILE OWNER PG_CTL. Whoever uses the server holds a shared lock on the
file USERS; the kernel takes it back when that process dies. The keeper waits for an exclusive one, stops the server,
and removes the folder of DATA, and URL_FILE. While it lives it locks `keeper` beside DATA, which has its pid.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path


def main(users: Path, data: Path, url_file: Path, owner: str, pg_ctl: str) -> None:
    """Wait, then clean up. Returns at once in the process that was started: the one that waits is its child."""
    draft = data.with_name("keeper.new")
    alive = os.open(draft, os.O_RDWR | os.O_CREAT)
    fcntl.flock(alive, fcntl.LOCK_EX)
    draft.rename(data.with_name("keeper"))  # whoever sees it sees it locked
    if pid := os.fork():
        os.write(alive, str(pid).encode())
        return
    os.setsid()  # a Ctrl-C at the tests is not meant for us
    used = os.open(users, os.O_RDWR)
    fcntl.flock(used, fcntl.LOCK_EX)
    end(data, owner, pg_ctl)
    url_file.unlink(missing_ok=True)


def end(data: Path, owner: str, pg_ctl: str) -> None:
    """Stop the server of *data*, if it runs, and remove its folder."""
    stop = [pg_ctl, "-D", str(data), "-m", "immediate", "-w", "stop"]
    as_owner = {"user": owner, "group": owner, "extra_groups": ()} if owner else {}
    subprocess.run(stop, cwd="/", capture_output=True, check=False, **as_owner)  # type: ignore[call-overload]  # or nothing
    shutil.rmtree(data.parent, ignore_errors=True)


if __name__ == "__main__":
    _users, _data, _url, _owner, _pg_ctl = sys.argv[1:]
    main(Path(_users), Path(_data), Path(_url), _owner, _pg_ctl)
