"""Acceptance check 2: every command says the same, and ends alike, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from faces.cli_world import Program, program_in, sandbox_at
from faces.command_script import SCRIPT, Said, played, write_inputs

from orchestrator.cli.group import LazyGroup, command_paths
from orchestrator.cli.main import cli

#: What is only of a file, or says what a store is; and the two that serve, which the script starts by itself.
_APART: Final = {"doctor", "config show", "db backup", "db compact", "db move", "serve", "sandbox"}


def plays(folder: Path, env: dict[str, str]) -> list[Said]:
    """The script in a home of its own in *folder*."""
    folder.mkdir()
    with program_in(folder) as program, sandbox_at(program) as api:
        return list(played(program, {**api, **env}))


def test_the_script_has_every_command() -> None:
    """A new command is played as well."""
    assert isinstance(cli, LazyGroup)
    names = {" ".join(path) for path in command_paths(cli)}
    assert {name for name in names if not any(line.startswith(name) for line in SCRIPT)} == _APART


#: Every line of the script and `serve` in one fresh interpreter, and what it has loaded then.
_LOADED: Final = """
import json, os, signal, sys, threading
from pathlib import Path
from orchestrator.cli.main import run
from orchestrator.store.location import SqliteLocation
def stop():
    while not SqliteLocation(Path(os.environ["ORCHESTRATOR_DATABASE__PATH"])).has_engine:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
for line in json.loads(sys.argv[1]):
    run(line.split())
threading.Thread(target=stop).start()
code = run(["serve", "--listen", "127.0.0.1:0"])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_without_a_url_no_command_loads_what_a_server_needs(program: Program) -> None:
    """Acceptance check 1: SQLite is the default, and needs nothing new."""
    write_inputs(program)
    lines = [*SCRIPT, "doctor", "config show", "db backup copy.db", "db compact"]
    order = [sys.executable, "-c", _LOADED, json.dumps(lines)]
    env = program.env({"ORCHESTRATOR_SANDBOX": "1"})
    ended = subprocess.run(order, env=env, cwd=program.folder, stdout=subprocess.PIPE, check=True, timeout=60)
    code, loaded = json.loads(ended.stdout.splitlines()[-1])
    assert code == 0
    assert {"aiosqlite", "anthropic", "uvicorn"} <= set(loaded)  # it did something
    assert not {"psycopg", "psycopg_binary", "pgqueuer", "asyncpg"} & set(loaded)


#: What `status` has only of a store that several daemons may share.
DAEMONS: Final = re.compile(r'(?m)^fleet .*\n( \S+ version .*\n)*|,\n *"daemons": \[[^\]]*\]')
#: What `db prune` and `rm` have only of a file, the first only where something of it became free.
FREE: Final = re.compile(r"(?m)^.*( are free inside the file | in free space of the store's file ).*\n")


@pytest.mark.long
@pytest.mark.postgres
def test_every_command_says_the_same_on_both(tmp_path: Path, new_database: Callable[[], str]) -> None:
    """Acceptance check 2: the same output, and the same exit codes."""
    with ThreadPoolExecutor() as pool:
        on_file = pool.submit(plays, tmp_path / "file", {})
        on_server = pool.submit(plays, tmp_path / "server", {"ORCHESTRATOR_DATABASE__URL": new_database()})
    for here, there in zip(on_file.result(), on_server.result(), strict=True):
        of_the_file = FREE.sub("", here.err)
        assert replace(there, out=DAEMONS.sub("", there.out)) == replace(here, err=of_the_file)
