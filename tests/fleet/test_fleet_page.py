"""docs/how-to/run-a-fleet.md is true: its blocks are run as they stand, but for the server's name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from docs.documents import ROOT, blocks
from faces.cli_world import Program, program_in, sandbox_at
from support.forked import folder_with_command
from support.postgres import PostgresServer

pytestmark = pytest.mark.postgres
PAGE: Final = ROOT / "docs/how-to/run-a-fleet.md"
OURS: Final = "tests/fleet/test_fleet_page.py"
NAMED: Final = "postgresql://orch@db.example.com/orch"
SET_UP, MOVE = [block.text for block in blocks(PAGE) if block.run_by == OURS]
(RECIPE,) = [block.text for block in blocks(PAGE) if block.language == "python"]
#: A daemon in the background is awaited, as a person would who reads what it prints.
READY: Final = "for _ in $(seq 600); do orchestrator health >/dev/null 2>&1 && break; sleep 0.1; done\n"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with program_in(tmp_path) as found:
        yield found


@contextmanager
def environment(program: Program) -> Iterator[dict[str, str]]:
    """A sandbox in place of the API, and the command on the PATH."""
    with sandbox_at(program) as api:
        path = f"{folder_with_command()}:{Path(sys.executable).parent}:/usr/bin:/bin"
        own = {"PATH": path, "ORCHESTRATOR_SANDBOX": "1", "ORCHESTRATOR_SERVER__LISTEN": "127.0.0.1:0"}
        yield {**program.env(), **own, **api}


def shell(program: Program, env: dict[str, str], script: str) -> str:
    command = ["bash", "-eu", "-o", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=program.folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.long
def test_the_set_up_works_as_it_stands(program: Program, own_server: Callable[..., PostgresServer]) -> None:
    """`doctor` finds nothing to mend on a server that keeps what it says it keeps."""
    server = own_server(settings={"fsync": "on", "full_page_writes": "on"})
    script = SET_UP.replace(NAMED, server.new_database()).replace("serve &", "serve >/dev/null 2>&1 &")
    script = script.replace("orchestrator submit", f"{READY}orchestrator submit", 1)
    with environment(program) as env:
        told = shell(program, env, f"{script}kill %1\nwait\n")
    assert "durability" in told
    assert "fail " not in told


def test_the_move_works_as_it_stands(program: Program, new_database: Callable[[], str]) -> None:
    """There and back, and the results are those of before."""
    with environment(program) as env:
        shell(program, env, "orchestrator run examples/reviews.jsonl -o one.jsonl --db store.db")
        shell(program, env, MOVE.replace(NAMED, new_database()))
        shell(program, env, "orchestrator results @last -o two.jsonl --db back.db")
    assert (program.folder / "one.jsonl").read_bytes() == (program.folder / "two.jsonl").read_bytes()


def test_the_recipe_hands_a_partition_in_once(
    program: Program, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition that is run again finds its job; another one is another."""
    rows = [json.loads(line) for line in (ROOT / "examples/reviews.jsonl").read_text().splitlines()]
    code = f"import json, subprocess, tempfile\n{RECIPE.partition('jobs =')[0]}"
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the page's own
    with environment(program) as env:
        for name, value in {**env, "ORCHESTRATOR_DATABASE__URL": new_database()}.items():
            monkeypatch.setenv(name, value)
        first, again, other = (list(names["hand_in"](number, rows[number:5])) for number in (0, 0, 1))
    assert first[0]["id"] == again[0]["id"] != other[0]["id"]
