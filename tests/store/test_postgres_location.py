"""A store on a PostgreSQL server, as the faces ask for it: acceptance check 19, and what is not a file."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from support.postgres import SKIPPED, PostgresServer

from orchestrator.config import DatabaseSection
from orchestrator.domain import errors
from orchestrator.store.postgres.migrate_postgres import SERVER_SCHEMA_VERSION
from orchestrator.store.postgres.server_location import PostgresLocation
from orchestrator.views.health_checks import FAIL, OK, WARN, Finding
from orchestrator.views.server_checks import server_findings

pytestmark = pytest.mark.postgres
NOW = datetime(2026, 11, 29, tzinfo=UTC)


_SEEN = """
INSERT INTO orchestrator.daemon (id, name, host, pid, version, settings_hash, started_at, queue_id, seen_at)
SELECT gen_random_uuid(), 'a', 'h', 1, '1', '', '', %(queue)s::uuid,
       to_char(clock_timestamp() AT TIME ZONE 'UTC' - %(age)s * interval '1 s', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
"""


def location_at(url: str, **more: Any) -> PostgresLocation:
    return PostgresLocation(url, DatabaseSection(url=url, **more))


def verdicts(location: PostgresLocation) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in findings(location)}


def findings(location: PostgresLocation) -> list[Finding]:
    return list(server_findings(location.look_over(None)))


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folders of our own for sockets and for what daemons keep."""
    with tempfile.TemporaryDirectory(prefix="orc-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.setenv("XDG_STATE_HOME", folder)
        yield Path(folder)


def test_an_empty_database_is_no_store_until_somebody_makes_one(url: str) -> None:
    """It is told as for a file that is not there; then it is read in one snapshot."""
    location = location_at(url)
    assert (location.exists, location.can_be_adopted, location.has_engine) == (False, False, False)
    with pytest.raises(errors.NoSuchThing, match="there is no store at postgresql://"), location.open_reader():
        pass
    with pytest.raises(errors.NoSuchThing):
        location.require()
    assert location.size_bytes == 0
    assert location.migrate(now=NOW, sandbox=True) == (0, SERVER_SCHEMA_VERSION)
    assert location.migrate(now=NOW, sandbox=True) == (SERVER_SCHEMA_VERSION, SERVER_SCHEMA_VERSION)
    location.require()
    with location.open_reader() as reads:
        assert reads.meta().sandbox
        assert reads.jobs(limit=1) == []
    assert location.size_bytes > 100_000
    assert location.audit() == []
    assert (location.log_bytes, location.folder, location.files) == (0, None, ())
    with pytest.raises(errors.StoreError, match="sandbox"):
        location.migrate(now=NOW, sandbox=False)


def test_a_store_of_another_version_is_not_read(url: str) -> None:
    """A newer program has taken it over, or an older one has left it behind."""
    location = location_at(url)
    location.migrate(now=NOW, sandbox=True)
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("INSERT INTO orchestrator.schema_migration VALUES (99, 'x', 'x', 'x')")
        with pytest.raises(errors.StoreError, match="newer version"), location.open_reader():
            pass
        assert verdicts(location)["schema"] == FAIL
        raw.execute("UPDATE orchestrator.schema_migration SET version = 0 WHERE version = 1")
        raw.execute("DELETE FROM orchestrator.schema_migration WHERE version > 1")
    with (
        pytest.raises(errors.StoreError, match=r"earlier version of this program \(schema 0\)"),
        location.open_reader(),
    ):
        pass


def test_an_engine_is_known_by_its_row(url: str) -> None:
    """`status` says that none runs only where none has been seen for a while."""
    location = location_at(url)
    location.migrate(now=NOW, sandbox=True)
    with psycopg.connect(url, autocommit=True) as raw:
        for age, queue, is_seen in ((30, "a", False), (3, None, False), (3, "a", True)):
            raw.execute("TRUNCATE orchestrator.daemon")
            raw.execute(_SEEN, {"age": age, "queue": queue and str(uuid4())})
            assert location.has_engine is is_seen


def test_the_audit_finds_what_the_server_cannot(url: str) -> None:
    """As on a file: counts that are not those of the requests."""
    location = location_at(url)
    location.migrate(now=NOW, sandbox=True)
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute(
            "INSERT INTO orchestrator.job (public_id, name, state, source, content_hash, api_version, betas, priority,"
            " still_open, added_at, created_at, total, queued)"
            " VALUES ('j-1', 'j', 'running', '', 'x', '', '', 1, 0, '', '', 2, 2)"
        )
    (found, *_) = location.audit()
    assert "its counts are not those of its requests" in found


def test_a_password_is_read_from_its_file_and_shown_nowhere(
    own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    """Promise 9; wrong password, wrong database, wrong host: each is named, with a remedy, and no password with it."""
    server = own_server(auth="scram-sha-256")
    without = server.url.replace(":secret@", "@")
    file = tmp_path / "password"
    for password, is_right in (("secret", True), ("hush-hush", False)):
        file.write_text(f"{password}\n")
        file.chmod(0o600)
        location = location_at(without, password_file=file)
        if is_right:
            assert not location.exists
            continue
        with pytest.raises(errors.StoreError, match="refuses the login") as caught:
            location.require()
        assert "hush" not in str(caught.value)
        assert "password_file" in str(caught.value.hint)
    file.chmod(0o644)
    with pytest.raises(errors.UsageError, match="others may read the password file"):
        location_at(without, password_file=file).require()
    for wrong, words in (
        (server.url.replace("secret", "hush-hush"), "refuses the login"),
        (server.url_of("nowhere").replace("secret", "secret"), "no such database"),
        ("postgresql://postgres:hush-hush@127.0.0.1:1/postgres", "cannot be reached"),
        ("postgresql://postgres:hush-hush@nowhere.invalid/postgres", "cannot be reached"),
    ):
        location = location_at(wrong)
        with pytest.raises(errors.StoreError, match=words) as caught:
            location.require()
        told = f"{caught.value} {caught.value.__cause__} {location} {location.name} {location.server!r}"
        assert "hush" not in told
        assert "secret" not in told


def test_a_sound_server_passes(own_server: Callable[..., PostgresServer]) -> None:
    """Every look at a real server, before and after it has a store."""
    location = location_at(own_server(settings={"fsync": "on", "full_page_writes": "on"}).url)
    assert set(verdicts(location).values()) == {OK}
    location.migrate(now=NOW, sandbox=True)
    found = findings(location)
    assert {finding.verdict for finding in found} == {OK}
    facts = location.look_over(lambda raw: ["ALTER TABLE"] if raw.closed else [])
    assert (facts.schema, facts.known) == (SERVER_SCHEMA_VERSION, SERVER_SCHEMA_VERSION)
    assert (facts.queue, facts.encoding) == ([], "UTF8")
    assert facts.offset < timedelta(seconds=5)


def test_what_is_wrong_with_a_server_is_found(own_server: Callable[..., PostgresServer]) -> None:
    """Acceptance check 19, on a server that has all of it: no fsync, few connections, no right to create."""
    server = own_server(settings={"max_connections": "12", "superuser_reserved_connections": "3"})
    server.execute("CREATE ROLE poor LOGIN")
    found = {finding.check: finding for finding in findings(location_at(server.url.replace("postgres@", "poor@")))}
    assert {check for check, finding in found.items() if finding.verdict == FAIL} == {"durability", "rights"}
    assert found["durability"].fact.startswith("fsync = off, full_page_writes = off:")
    assert found["connections"].fact == "9 connections free; a daemon opens 8"
    with psycopg.connect(server.url), psycopg.connect(server.url):
        few = {finding.check: finding for finding in findings(location_at(server.url.replace("postgres@", "poor@")))}
    assert (few["connections"].verdict, few["connections"].fact) == (FAIL, "7 connections free; a daemon opens 8")
    server.execute("ALTER ROLE poor CONNECTION LIMIT 5")
    few = {finding.check: finding for finding in findings(location_at(server.url.replace("postgres@", "poor@")))}
    assert few["connections"].fact == "5 connections free; a daemon opens 8"


def test_a_standby_that_commits_do_not_wait_for_is_refused(
    own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    """Promise 2: promoted, it may lack intents. Who receives the log under a name of its own is one to the server."""
    server = own_server(settings={"wal_level": "replica", "max_wal_senders": "4"})
    receiver = Path(server.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'")[0][0]) / "pg_receivewal"
    order = [str(receiver), "-D", str(tmp_path), "--synchronous", "-d", f"{server.url}?application_name=beta"]
    with subprocess.Popen(order, stderr=subprocess.DEVNULL) as standby:
        try:
            while not server.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"):
                assert standby.poll() is None
            (found,) = (each for each in findings(location_at(server.url)) if each.check == "standbys")
            assert found.verdict == FAIL
            assert found.fact.startswith("commits do not wait for beta: promoted, it may lack what was sent")
            server.execute("ALTER SYSTEM SET synchronous_standby_names = 'beta'")
            server.execute("SELECT pg_reload_conf()")
            while not server.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"):
                assert standby.poll() is None
            assert verdicts(location_at(server.url))["standbys"] == OK
        finally:
            standby.kill()
    while server.execute("SELECT 1 FROM pg_stat_replication"):
        pass
    assert verdicts(location_at(server.url))["standbys"] == FAIL


@contextmanager
def pooled(server: PostgresServer, *more: str) -> Iterator[str]:
    """The URL of *server* behind a PgBouncer that shares connections by the transaction."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"{SKIPPED}there is no pgbouncer")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    lines = ["[databases]", f"* = host=127.0.0.1 port={urlsplit(server.url).port}", "[pgbouncer]", "auth_type = any"]
    lines += ["listen_addr = 127.0.0.1", f"listen_port = {port}", "pool_mode = transaction", "unix_socket_dir =", *more]
    with tempfile.TemporaryDirectory(prefix="orc-") as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, "pooler.ini")
        file.write_text("\n".join(lines).replace("* = ", "* = user=postgres "))
        owner: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": ()}
        with subprocess.Popen([program, file], stderr=subprocess.PIPE, **(owner if os.geteuid() == 0 else {})) as run:
            assert run.stderr is not None
            assert any(b"process up" in line for line in run.stderr)
            try:
                yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
            finally:
                run.kill()


def test_a_pooler_in_between_is_named(postgres_server: PostgresServer, new_database: Callable[[], str]) -> None:
    """What a connection is told, or another one says, does not reach its end there: a daemon would wait in vain."""
    there = urlsplit(new_database()).path[1:]
    with pooled(postgres_server) as url, pytest.raises(errors.StoreError, match="a pooler is in between") as caught:
        location_at(url).require()
    assert "name the server itself" in str(caught.value.hint)
    with pooled(postgres_server, "ignore_startup_parameters = options") as url:
        with pytest.raises(errors.StoreError, match="a pooler is in between"):
            location_at(url).require()
        for setting in ("jit = off", "statement_timeout = '1min'", "search_path = orchestrator"):
            postgres_server.execute(f"ALTER DATABASE {there} SET {setting}")
        assert verdicts(location_at(url.replace("/postgres", f"/{there}")))["notify"] == FAIL


def test_a_database_that_is_not_what_it_was_is_named(url: str) -> None:
    """Promise 13: a copy, one that may lack commits, and another program's."""
    location = location_at(url)
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("CREATE SCHEMA orchestrator CREATE TABLE meta (id bigint)")
        assert verdicts(location)["place"] == FAIL
        assert not location.exists
        raw.execute("DROP SCHEMA orchestrator CASCADE")
        location.migrate(now=NOW, sandbox=True)
        assert "place" not in verdicts(location)
        raw.execute("UPDATE orchestrator.cluster SET timeline = timeline + 1")
        assert verdicts(location)["place"] == WARN
        raw.execute("UPDATE orchestrator.cluster SET system_identifier = 7")
        assert verdicts(location)["place"] == FAIL


def test_a_standby_is_not_written_to(own_server: Callable[..., PostgresServer]) -> None:
    """A URL that names one by mistake; what is there can be read."""
    server = own_server(settings={"wal_level": "replica", "max_wal_senders": "4"})
    location = location_at(server.url)
    location.migrate(now=NOW, sandbox=True)
    assert server.folder is not None
    data = Path((server.folder / "server").read_text().splitlines()[0])
    (data / "standby.signal").touch()
    server.restart()
    with pytest.raises(errors.StoreError, match="is a standby: nothing can be stored there") as caught:
        findings(location)
    assert "target_session_attrs=read-write" in str(caught.value.hint)
    with location.open_reader() as reads:
        assert reads.meta().sandbox


def test_a_database_of_another_encoding_is_named(postgres_server: PostgresServer, url: str) -> None:
    """What a prompt holds must fit."""
    postgres_server.execute(
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    )
    other = postgres_server.url_of("latin")
    try:
        assert verdicts(location_at(other))["encoding"] == FAIL
    finally:
        postgres_server.drop(other)
    assert "encoding" not in verdicts(location_at(url))


def test_daemons_of_one_machine_listen_side_by_side(runtime: Path) -> None:
    """Each has a socket of its own; one whose process is gone is cleared away."""
    location = location_at("postgresql://orch:hush@db/orch")
    assert location.engine_sockets() == []
    assert "hush" not in f"{location.socket}{location.token_file}{location.logged_out_file(8787)}"
    assert location.socket.name.endswith(f"-{os.getpid()}.sock")
    gone = location.socket.with_name(location.socket.name.replace(f"-{os.getpid()}.", f"-{2**22 + 7}."))
    with closing(socket.socket(socket.AF_UNIX)) as mine:
        mine.bind(os.fspath(location.socket))
        mine.listen()
        with closing(socket.socket(socket.AF_UNIX)) as left:
            left.bind(os.fspath(gone))
        assert gone.exists()
        assert location.engine_sockets() == [location.socket]
    assert not gone.exists()
    assert location_at("postgresql://orch@db/other").engine_sockets() == []
    assert location.logged_out_file(1) != location.logged_out_file(2)
    assert location.token_file.parent == location_at("postgres://orch@db/orch").token_file.parent
    assert location.token_file.is_relative_to(runtime)
