"""A store is moved while its batches are at the API: real daemons, a sandbox server, and its own books at the end."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest
from faces.cli_world import Program, program_in, request, select_a_moment, write_lines
from store.store_world import raw
from store.test_moving import content

from orchestrator.sandbox.ledger import Audit, witness

pytestmark = pytest.mark.postgres
COUNT: Final = 10


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(COUNT)])
        yield found


@contextmanager
def sandbox(program: Program, port: int, speed: str) -> Iterator[dict[str, str]]:
    """The API on *port*, with the batches that it had there before."""
    words = ("sandbox", "--port", str(port), "--speed", speed, "--journal", "books.jsonl")
    with program.started(*words, "--batch-time", "10m", "20m") as server:
        server.line()
        yield {
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
            "ANTHROPIC_API_KEY": "sandbox",  # for the program it is the real API
            "ORCHESTRATOR_BATCHING__MAX_REQUESTS": "4",
        }


def a_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def moved(program: Program, env: dict[str, str], old: str, new: str) -> str:
    done = program("db", "move", "--db", old, "--to", new, env=env)
    assert done.code == 0, done.err
    return new


def states(path: Path) -> list[str]:
    with closing(raw(path)) as c:
        return [state for (state,) in c.execute("SELECT state FROM batch ORDER BY id")]


def is_billed_once(folder: Path) -> bool:
    audit = Audit(witness(folder / "books.jsonl").rows)
    answered = [json.loads(line)["custom_id"] for line in (folder / "out.jsonl").read_text().splitlines()]
    for line in (folder / "in.jsonl").read_text().splitlines():
        params = line.partition('"params": ')[2][:-1]
        asked = json.loads(line)["custom_id"]
        audit.ask(hashlib.sha256(params.encode()).hexdigest(), is_answered=answered.count(asked) == 1)
    books = audit.books()
    return books.is_clean and (books.requests, books.batches) == (COUNT, 3)


@pytest.mark.parametrize("last", ["a file", "a database"])
def test_a_job_that_is_under_way_is_moved_there_and_back(
    program: Program, tmp_path: Path, new_database: Callable[[], str], last: str
) -> None:
    """The same store comes back, the job ends wherever it is then, and every request was billed once."""
    port = a_port()
    with sandbox(program, port, "1") as env:  # batches take longer than any test
        with program.started("serve", "--db", "a.db", "--listen", "", env=env) as engine:
            engine.says("the engine runs on")
            assert program("submit", "in.jsonl", "--db", "a.db", env=env).code == 0
            while states(tmp_path / "a.db") != ["in_progress"] * 3:
                select_a_moment()
            assert engine.signal(signal.SIGTERM).code == 0
        before = content(tmp_path / "a.db")
        there = moved(program, env, "a.db", new_database())
        here = moved(program, env, there, str(tmp_path / "b.db"))
        assert content(tmp_path / "b.db") == before
        assert states(tmp_path / "b.db") == ["in_progress"] * 3
    if last == "a database":
        here = moved(program, env, here, new_database())
    with (
        sandbox(program, port, "100000") as env,
        program.started("serve", "--db", here, "--listen", "", env=env) as engine,
    ):
        assert program("wait", "@last", "--db", here, env=env).code == 0
        assert program("results", "@last", "-o", "out.jsonl", "--db", here, env=env).code == 0
        assert engine.signal(signal.SIGTERM).code == 0
    assert program("db", "check", "--db", here, env=env).code == 0
    assert is_billed_once(tmp_path)
