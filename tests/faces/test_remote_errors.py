"""`--server`: what goes wrong between here and there, and what is refused."""

from __future__ import annotations

import http.server
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from faces.cli_world import Program, ids_in, request, results_in, write_lines
from faces.remote_world import Daemon, daemon_in
from support.forked import run

from orchestrator import SyncOrchestrator
from orchestrator.client.errors import ServerSilent
from orchestrator.client.server_address import Server
from orchestrator.client.transport import ServerTransport

BRISK = {"ORCHESTRATOR_SANDBOX__SPEED": "30", "ORCHESTRATOR_LIMITS__POLL_INTERVAL": "0.05s"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that runs."""
    with daemon_in(tmp_path_factory.mktemp("remote")) as made, made.running():
        yield made


@contextmanager
def something_else(status: int, *headers: tuple[str, str], body: bytes = b"<h1>hello</h1>") -> Iterator[str]:
    """A server that is not ours: it gives every request this answer. Its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield url


@contextmanager
def served(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of *handler*; its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def before_fleets(daemon: Daemon) -> Iterator[str]:
    """The way to *daemon*, as one of a version that has no `/api/v1/fleet`: it says so itself."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.replace("/api/v1/fleet", "/api/v1/of-a-later-version")
            answer = httpx2.get(f"{daemon.url}{path}", headers=dict(self.headers), timeout=60)
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Content-Length"):
                self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield url


def secret(folder: Path, text: str = "t" * 43, mode: int = 0o600) -> Path:
    """A token file."""
    path = folder / "a-token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_token_does_not_travel_in_the_clear(program: Program) -> None:
    """Over plain http to another machine anybody could read it: refused before a name is looked up."""
    path = secret(program.folder)
    done = program("ls", "--server", "http://jobs.invalid", "--token-file", str(path))
    assert (done.code, "anybody on the way could read it" in done.err) == (2, True)
    assert "t" * 43 not in done.err


@pytest.mark.parametrize(
    "url", ["jobs.example.com", "ftp://x", "https://u:geheim@x", "http://x?q=1", "http://[", "http://x:0"]
)
def test_an_address_that_cannot_be_used_is_refused(program: Program, url: str) -> None:
    """Exit code 2, and a password in the address is not told."""
    done = program("ls", "--server", url)
    assert done.code == 2
    assert "the address of the server cannot be used" in done.err
    assert "geheim" not in done.err


def test_a_token_file_that_others_can_read_is_refused(program: Program) -> None:
    """What others can read is no secret any more."""
    done = program("ls", "--server", "http://127.0.0.1:9", "--token-file", str(secret(program.folder, mode=0o644)))
    assert (done.code, "others may read" in done.err) == (3, True)
    missing = program("ls", "--server", "http://127.0.0.1:9", "--token-file", "missing")
    assert (missing.code, "cannot be read" in missing.err) == (3, True)
    two = program("ls", "--server", "http://127.0.0.1:9", "--token-file", str(secret(program.folder, "a b")))
    assert (two.code, "cannot be a token" in two.err, "a b" in two.err) == (3, True, False)


def test_without_the_right_token_a_person_is_needed(daemon: Daemon, tmp_path: Path) -> None:
    """Exit code 3, and where the token came from; never the token."""
    none = daemon.guest("ls", "--server", daemon.url)
    assert (none.code, "no token was sent" in none.err) == (3, True)
    wrong = daemon.guest("ls", "--server", daemon.url, "--token-file", str(secret(tmp_path)))
    assert (wrong.code, "a-token" in wrong.err, "t" * 43 in wrong.err) == (3, True, False)
    variable = {"ORCHESTRATOR_SERVER_URL": daemon.url, "ORCHESTRATOR_SERVER_TOKEN": "t" * 43}
    told = daemon.guest("ls", env=variable)
    assert (told.code, "ORCHESTRATOR_SERVER_TOKEN" in told.err) == (3, True)


def test_the_environment_can_say_everything(daemon: Daemon) -> None:
    """Server and token from variables; a --db on the command line is stronger than they are."""
    token = daemon.token_file.read_text().strip()
    url = {"ORCHESTRATOR_SERVER_URL": daemon.url}
    assert daemon.guest("ls", env={**url, "ORCHESTRATOR_SERVER_TOKEN": token}).code == 0
    assert daemon.guest("ls", env={**url, "ORCHESTRATOR_TOKEN_FILE": str(daemon.token_file)}).code == 0
    here = daemon.guest("ls", "--db", "here.db", env=url)
    assert (here.code, "there is no store at" in here.err) == (4, True)


def test_a_machine_without_a_home_can_ask_a_server(daemon: Daemon) -> None:
    """A container has often neither HOME nor a place for data; no store is opened there."""
    bare = {"HOME": "", "ORCHESTRATOR_DATABASE__PATH": ""}
    env = {name: value for name, value in daemon.guest.env(bare).items() if value}
    done = run("orchestrator", "ls", *daemon.flags, cwd=daemon.guest.folder, env=env, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_daemon_of_a_version_before_fleets_tells_its_jobs(daemon: Daemon) -> None:
    """There was one process on a store then: what is said of jobs is all there is to say."""
    write_lines(daemon.guest.folder / "in.jsonl", [request(1)])
    with before_fleets(daemon) as url:
        flags = ("--server", url, "--token-file", str(daemon.token_file))
        none = daemon.guest("status", *flags)
        assert (none.code, none.out, "there is no job yet" in none.err) == (4, "", True)
        assert daemon("run", "in.jsonl").code == 0
        told, facts = daemon.guest("status", *flags), daemon.guest("status", "--json", *flags).facts
        assert (told.code, "state      finished" in told.out, "fleet" in told.out) == (0, True, False)
        assert (facts["state"], "daemons" in facts) == ("finished", False)
        with SyncOrchestrator(server=url, token=daemon.token_file.read_text().strip()) as orc:
            found = orc.fleet()
        assert (found.fleet, found.daemons) == (False, [])


def test_nobody_there_is_exit_code_six(program: Program) -> None:
    """As with the API: what is stored there is safe."""
    for command in (("ls",), ("submit", "in.jsonl"), ("run", "in.jsonl"), ("pause", "x")):
        write_lines(program.folder / "in.jsonl", [request(1)])
        done = program(*command, "--server", "http://127.0.0.1:9")
        assert (done.code, "does not answer" in done.err, "hint:" in done.err) == (6, True, True), done.err


def test_a_certificate_that_nobody_vouches_for_is_told_with_its_remedy() -> None:
    """A private authority is common inside a company, and the variable that names it is not known to everybody."""
    way = ServerTransport(Server(url="https://jobs.invalid"))
    told = way.unavailable("ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
    assert isinstance(told, ServerSilent)
    assert "SSL_CERT_FILE" in str(told.hint)
    assert "SSL_CERT_FILE" not in str(way.unavailable("ConnectError").hint)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (something_else(200, ("Content-Type", "text/html")), 8, "is not a daemon of this version"),
        (something_else(404, ("Content-Type", "text/html")), 8, "is not a daemon of this version"),
        (something_else(502, ("Content-Type", "text/html")), 6, "does not answer"),
        (something_else(302, ("Location", "https://evil.invalid/")), 2, "sends us somewhere else"),
        (something_else(403, ("Content-Type", "text/html")), 3, "asks for a token"),
        (something_else(200, ("Content-Type", "application/json"), body=b'{"jobs": 7}'), 8, "another form"),
        (something_else(200, ("Content-Type", "application/json"), body=b"\xff"), 8, "another form"),
    ],
)
def test_what_is_not_ours_is_told_and_not_shown(program: Program, answer: object, code: int, words: str) -> None:
    """A proxy's page, a redirect, a daemon of another version: one clear sentence, and nothing of their text."""
    with answer as url:  # type: ignore[attr-defined]  # a parameter of a test has no better type
        done = program("ls", "--server", url)
    assert (done.code, words in done.err) == (code, True), done.err
    assert "hello" not in done.err
    assert "evil" not in done.err


@pytest.mark.parametrize(
    "args",
    [("serve",), ("sandbox",), ("db", "check"), ("db", "backup", "x"), ("db", "migrate"), ("run", "x", "--crash-test")],
)
def test_what_works_only_here_says_so(program: Program, args: tuple[str, ...]) -> None:
    """Exit code 2, wherever the server was named: nobody takes the local file for the server's."""
    more = ("--sandbox",) if "--crash-test" in args else ()
    for way in ((*args, *more, "--server", "http://127.0.0.1:9"), ("--server", "http://127.0.0.1:9", *args, *more)):
        assert program(*way).code == 2
    told = program(*args, *more, env={"ORCHESTRATOR_SERVER_URL": "http://127.0.0.1:9"})
    assert (told.code, "hint:" in told.err) == (2, True)


def test_a_store_and_a_server_exclude_each_other(program: Program) -> None:
    """Exit code 2: it would be a guess which of them was meant."""
    done = program("ls", "--db", "x.db", "--server", "http://127.0.0.1:9")
    assert (done.code, "exclude each other" in done.err) == (2, True)


@pytest.mark.long
def test_a_daemon_that_is_killed_and_started_again_is_waited_for(tmp_path: Path) -> None:
    """Promise 1 from afar: kill -9 the daemon while `run --server` waits; the run ends with every result."""
    with daemon_in(tmp_path) as daemon:
        write_lines(daemon.guest.folder / "in.jsonl", [request(number) for number in range(20)])
        with (
            daemon.running(env=BRISK) as first,
            daemon.guest.started("run", "in.jsonl", *daemon.flags) as waiting,
        ):
            waiting.says("in flight")
            first.signal(signal.SIGKILL)
            waiting.says("does not answer, trying again")
            with daemon.running(env=BRISK):
                done = waiting.end()
        assert done.code == 0, done.err
        assert ids_in(results_in(daemon.guest.folder)) == [f"r-{number}" for number in range(20)]


def test_a_daemon_that_stops_in_order_is_waited_for_as_well(tmp_path: Path) -> None:
    """A restart of the service ends no `wait`; and Ctrl-C ends it while the server is away."""
    with daemon_in(tmp_path) as daemon:
        write_lines(daemon.guest.folder / "in.jsonl", [request(1)])
        with daemon.running(env={**BRISK, "ORCHESTRATOR_SANDBOX__SPEED": "1"}) as first:
            assert daemon("submit", "in.jsonl").code == 0
            with daemon.guest.started("wait", "in", *daemon.flags) as waiting:
                waiting.says("in flight")
                first.signal(signal.SIGTERM)
                waiting.says("does not answer, trying again")
                assert waiting.signal(signal.SIGINT).code == 130
