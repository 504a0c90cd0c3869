"""`make demo-fleet` shows what it says, on whatever machine has PostgreSQL's programs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support.length import IS_LONG
from support.postgres import PostgresServer

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.timeout(900)
def test_one_of_three_daemons_is_killed_and_nothing_is_lost(postgres_server: PostgresServer) -> None:
    """By the sandbox's own books; the server of the run only shows that there can be one."""
    requests = "2000" if IS_LONG else "200"
    command = [sys.executable, "tools/demo_fleet.py", "--requests", requests]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "tests"), str(ROOT)))}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as demo:
        try:
            said, trouble = demo.communicate(timeout=800)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(demo.pid, signal.SIGKILL)  # with the daemons that it started, if it took too long
    assert (demo.returncode, trouble) == (0, ""), said
    assert re.search(r"kill -9 +worker-\d, the busiest", said)
    assert re.search(rf"requests {int(requests):,} · .* · lost 0 · paid twice 0\n$", said)
