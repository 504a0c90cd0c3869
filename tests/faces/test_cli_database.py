"""`--db postgresql://…`: what is refused, in which words, and that no password is among them (promise 9)."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from faces.cli_world import Program, program_in, request, sandbox_at, write_lines
from support.postgres import PostgresServer

from orchestrator import Orchestrator

NOWHERE = "postgresql://orch:hush-hush@127.0.0.1:1/orch"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(found.folder / "in.jsonl", [request(1)])
        yield found


@pytest.mark.parametrize(
    "line", ["ls", "status", "submit in.jsonl", "run in.jsonl", "db check", "config show", "health"]
)
def test_no_command_shows_the_password(program: Program, line: str) -> None:
    """By a flag, by a variable, at any loudness; a server that is away is a store error."""
    env = {"ANTHROPIC_API_KEY": "sk-x"}
    for more, words in ({"ORCHESTRATOR_DATABASE__URL": NOWHERE}, []), ({}, ["--db", NOWHERE]):
        done = program(*line.split(), *words, "-v", env={**env, **more})
        assert done.code == {"config show": 0, "health": 1}.get(line, 8)
        assert "hush" not in done.out + done.err
        assert ("orch:***@127.0.0.1:1" in done.out) is (line == "config show")


def test_a_wrong_address_names_the_setting(program: Program) -> None:
    """Exit code 2, and how it is written."""
    for words, env in (
        (["--db", "postgresql://a:hush/b@c/d"], {}),
        ([], {"ORCHESTRATOR_DATABASE__URL": "hush:hush@c"}),
    ):
        done = program("ls", *words, env=env)
        assert done.code == 2
        assert "[database] url: expected an address such as" in done.err
        assert "hush/" not in done.err
        assert ":hush" not in done.err


def test_a_path_that_a_url_hides_is_told_once(program: Program) -> None:
    """Whoever set both wonders where his jobs are; `--db` says by itself what is meant."""
    env = {"ORCHESTRATOR_DATABASE__URL": NOWHERE, "ORCHESTRATOR_SANDBOX": "1"}
    for line in ("config show", "doctor", "serve"):
        done = program(*line.split(), env=env)
        assert done.err.count("[database] path (ORCHESTRATOR_DATABASE__PATH) is not used: [database] url is set") == 1
        assert "is not used" not in program(*line.split(), "-q", env=env).err
        assert "is not used" not in program(*line.split(), "--db", NOWHERE, "--sandbox").err
    assert program("ls", "--db", "other.db", env=env).code == 4


def test_the_sandbox_of_one_process_is_not_for_many(program: Program) -> None:
    """Exit code 2 before anything is asked of the database, and how a sandbox server is started."""
    done = program("run", "in.jsonl", "--sandbox", "--db", NOWHERE)
    assert "--sandbox with [database] url needs a sandbox server" in done.err
    assert "`orchestrator sandbox" in done.err
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:8788" in done.err
    assert done.code == 2


def test_what_is_of_a_file_is_refused_with_what_the_server_has(program: Program) -> None:
    """Exit code 2, without asking the server."""
    for line, words in (("db backup copy.db", "pg_dump"), ("db compact", "VACUUM is PostgreSQL's own")):
        done = program(*line.split(), "--db", NOWHERE)
        assert (done.code, words in done.err) == (2, True)


def test_without_the_extra_it_is_named(program: Program) -> None:
    """Exit code 2, and what to install."""
    code = "import sys; sys.modules['psycopg'] = None; from orchestrator.cli.main import run; sys.exit(run(['ls']))"
    env = program.env({"ORCHESTRATOR_DATABASE__URL": NOWHERE})
    ended = subprocess.run([sys.executable, "-c", code], env=env, cwd=program.folder, capture_output=True, check=False)
    assert (ended.returncode, b"pip install 'batch-orchestrator[postgres]'" in ended.stderr) == (2, True)


class _NoSandbox(BaseHTTPRequestHandler):
    """An API that lists no batches, and says of itself nothing that a sandbox says."""

    def do_GET(self) -> None:
        body = b'{"data":[],"has_more":false,"first_id":null,"last_id":null}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.mark.postgres
def test_what_is_only_checked_needs_no_sandbox_server(program: Program, new_database: Callable[[], str]) -> None:
    """No batch is made, so no other daemon need see it; tokens are counted by a sandbox of this process."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(3)])
    url = new_database()
    assert program("ls", "--db", url, "--sandbox").code in {0, 4}
    found = program("check", source, "--sandbox", "--db", url, "--json")
    assert (found.code, found.facts["estimate"]["calls"]) == (0, 3)


@pytest.mark.postgres
def test_sandbox_work_goes_to_a_sandbox_server_alone(program: Program, new_database: Callable[[], str]) -> None:
    """Promise 2: what is meant for nothing must not be paid for; and the store remembers what it is."""
    url = new_database()
    with ThreadingHTTPServer(("127.0.0.1", 0), _NoSandbox) as other:
        threading.Thread(target=other.serve_forever).start()
        try:
            real = {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{other.server_port}"}
            done = program("run", "in.jsonl", "--sandbox", "--db", url, env=real)
            assert (done.code, "there is no sandbox at http://127.0.0.1" in done.err) == (2, True)
            checks = program("doctor", "--sandbox", "--json", "--db", url, env=real).facts["checks"]
            [found] = [each for each in checks if each["check"] == "api"]
            assert (found["fact"], found["remedy"] in done.err) == ("it is no sandbox", True)
        finally:
            other.shutdown()
    silent = program("run", "in.jsonl", "--sandbox", "--db", url, env={"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"})
    assert (silent.code, "the sandbox server does not answer" in silent.err) == (2, True)
    with sandbox_at(program) as api:
        done = program("run", "in.jsonl", "--sandbox", "--db", url, "--json", env={**api, "ANTHROPIC_API_KEY": ""})
        assert (done.code, done.facts["sandbox"], done.facts["state"]) == (0, True, "finished")
        mixed = program("run", "in.jsonl", "--db", url, env=api)
        assert (mixed.code, "sandbox" in mixed.err) == (8, True)
        checks = program("doctor", "--sandbox", "--json", "--db", url, env=api).facts["checks"]
        assert {each["check"]: each["verdict"] for each in checks}["api"] == "ok"


@pytest.mark.postgres
def test_daemons_of_one_machine_are_all_found(program: Program, new_database: Callable[[], str]) -> None:
    """They share a token, and fight neither over a socket nor over a port; each is asked in place of another."""
    with sandbox_at(program) as api, ExitStack() as stack:
        env = {**api, "ORCHESTRATOR_DATABASE__URL": new_database()}
        assert program("health", env=env).code == 1
        engines = [stack.enter_context(program.started("serve", env=env)) for _ in range(2)]
        for engine in engines:
            engine.says("the engine runs on")
        links = [program("login", env=env).out for _ in range(2)]
        assert all("/login?code=" in link for link in links)
        assert len(list((program.folder / "home/.local/state/orchestrator").glob("*/token"))) == 1
        for engine in engines:
            assert program("health", env=env).code == 0
            assert engine.signal(signal.SIGTERM).code == 0
        assert program("health", env=env).code == 1


@pytest.mark.long
@pytest.mark.postgres
def test_the_password_comes_from_a_file_or_as_postgres_programs_take_it(
    program: Program, own_server: Callable[..., PostgresServer]
) -> None:
    """Promise 9, acceptance check 19: every connection of a daemon finds it; a wrong one is named, and not shown."""
    server = own_server(auth="scram-sha-256")
    without, place = server.url.replace(":secret@", "@"), urlsplit(server.url)
    (program.folder / "password").write_text("secret\n")
    (program.folder / "pgpass").write_text(f"127.0.0.1:{place.port}:*:postgres:secret\n")
    for file in ("password", "pgpass"):
        (program.folder / file).chmod(0o600)
    ways = (
        {"ORCHESTRATOR_DATABASE__PASSWORD_FILE": "password"},
        {"PGPASSFILE": str(program.folder / "pgpass")},
        {"PGPASSWORD": "secret"},
        {"ORCHESTRATOR_DATABASE__URL": server.url},
    )
    with sandbox_at(program) as api:
        for way in ways:
            env = {**api, "ORCHESTRATOR_DATABASE__URL": without, **way}
            done = program("run", "in.jsonl", "--new", "-o", "out.jsonl", "--overwrite", "-v", env=env)
            assert done.code == 0, done.err
            assert "secret" not in done.out + done.err
        for line in ("serve", "run in.jsonl", "ls", "doctor"):
            wrong = {**api, "ORCHESTRATOR_DATABASE__URL": without.replace("@", ":hush-hush@")}
            done = program(*line.split(), "-v", env=wrong)
            assert (done.code, "refuses the login" in done.out + done.err) == (8, True)
            assert "password_file" in done.out + done.err
            assert "hush" not in done.out + done.err


@pytest.mark.postgres
def test_the_library_works_on_a_server(program: Program, new_database: Callable[[], str]) -> None:
    """The same calls as on a file; what it stored is there for the next one."""
    url = new_database()

    async def work(api: str) -> list[str]:
        async with Orchestrator(url, sandbox=True, api__base_url=api, limits__poll_interval="20ms") as orc:
            job = await orc.submit_file(program.folder / "in.jsonl")
            await job.wait()
            return [result.custom_id async for result in job.results()]

    with sandbox_at(program) as api:
        assert asyncio.run(work(api["ANTHROPIC_BASE_URL"])) == ["r-1"]
        assert asyncio.run(work(api["ANTHROPIC_BASE_URL"])) == ["r-1"]
    assert program("ls", "--db", url, "--json").facts["jobs"][0]["state"] == "finished"
    words = {"COMP_WORDS": "orchestrator status ", "COMP_CWORD": "2", "_ORCHESTRATOR_COMPLETE": "bash_complete"}
    asked = program(env={"ORCHESTRATOR_DATABASE__URL": url, **words})
    assert (asked.code, asked.out.split()) == (0, [])  # nobody waits for a network at the Tab key
