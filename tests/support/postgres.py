"""A PostgreSQL server for tests: the one that ORCHESTRATOR_TEST_POSTGRES names (a URL), or one of their own.

One of their own needs PostgreSQL's programs, not a running server: it has a folder and a port for itself, listens on
loopback alone and writes nothing for good (`fsync = off`). All workers of a run share one, which ends with the last.
Its language sorts otherwise than Python does, as most servers' languages do: text that must not be sorted so shows.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from support.postgres_keeper import end

#: What a reason to skip begins with: the end of a run tells it once.
SKIPPED: Final = "PostgreSQL: "
_QUICK: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",  # without statistics a plan is at its worst
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
}
#: For `join_server`: a server that another one may be a copy of (`copy_server`), with its log.
COPIED: Final = {"wal_level": "replica", "max_wal_senders": "4"}
#: The first version that can be told how to copy a template.
_STRATEGIES_SINCE: Final = 150_000
_ROOM: Final = 2 * 10**9
_PREFIX: Final = "orchestrator-postgres-"
#: Makes a server's files: its folder, the account it runs under, PostgreSQL's programs. Gives ":PASSWORD", or none.
Fill = Callable[[Path, str, Path], str]


class NoPostgres(Exception):
    """Why there is no server to test with."""


@dataclass(slots=True)
class PostgresServer:
    """A server, and the databases that were made in it. `url` is that of its database `postgres`, as a superuser."""

    url: str
    folder: Path | None = None  #: of a server of our own
    _token: str = field(default_factory=lambda: secrets.token_hex(4))
    _numbers: count[int] = field(default_factory=count)  #: of databases, which threads may ask for at once
    _made: list[str] = field(default_factory=list)
    _templates: dict[str, str] = field(default_factory=dict)
    _users: int = -1
    _version: int = 0

    def new_database(self, template: str = "template0") -> str:
        """The URL of a fresh database with what *template* has (20 ms; 57 by way of the log, as a server would)."""
        name = f"test_{self._token}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} {self._strategy()}")
        self._made.append(name)
        return self.url_of(name)

    def _strategy(self) -> str:
        """Copy files; up to 14 a server does nothing else, and does not know the word."""
        if not self._version:
            self._version = int(self.execute("SHOW server_version_num")[0][0])
        return "STRATEGY FILE_COPY" if self._version >= _STRATEGIES_SINCE else ""

    def template(self, name: str, fill: Callable[[str], None]) -> str:
        """A template for `new_database`: made once, by *fill*, which gets the URL of an empty database."""
        if name not in self._templates:
            url = self.new_database()
            fill(url)
            self._templates[name] = urlsplit(url).path[1:]
        return self._templates[name]

    def url_of(self, database: str) -> str:
        """The URL of *database* in this server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    def drop(self, url: str) -> None:
        """Take a database away, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement in the database `postgres`, as a superuser."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            answer = connection.execute(sql)
            return answer.fetchall() if answer.description else []

    def restart(self) -> None:
        """As after a power cut: every connection breaks, and the server recovers from its log."""
        self.control("restart")

    def control(self, order: str) -> None:
        """`start`, `stop` or `restart`, with nobody waited for. Only a server of the test's own."""
        assert self.folder is not None, "not a server of ours"
        port = ("-o", f"-p {urlsplit(self.url).port}") if order == "start" else ()  # a restart knows it
        _pg_ctl(self.folder, order, "-m", "immediate", *port)

    def clear(self) -> None:
        """Drop every database that was made."""
        while self._made:
            self.drop(self.url_of(self._made.pop()))
        self._templates.clear()

    def leave(self) -> None:
        """Use the server no longer: it ends with its last user."""
        if self._users >= 0:
            os.close(self._users)
            self._users = -1


def needed_server(make: Callable[[], PostgresServer]) -> PostgresServer:
    """The server that *make* gives, or the test is skipped; where the checks have installed what it needs, it fails."""
    import pytest  # `make demo-fleet` runs without it

    try:
        return make()
    except NoPostgres as why:
        told = f"{SKIPPED}{why}"
    if os.environ.get("ORCHESTRATOR_TEST_TOOLS") == "1" or os.environ.get("REQUIRE_POSTGRES") == "1":
        raise pytest.fail.Exception(told)
    raise pytest.skip.Exception(told)


def server_of_run(folder: Path) -> PostgresServer:
    """The server that this run's workers share; *folder* is the run's. Raises NoPostgres."""
    given = os.environ.get("ORCHESTRATOR_TEST_POSTGRES")
    return PostgresServer(given) if given else join_server(folder)


@contextmanager
def brief_server() -> Iterator[PostgresServer]:
    """A server for the block, as a run has it. Raises NoPostgres."""
    with tempfile.TemporaryDirectory() as folder:
        server = server_of_run(Path(folder))
        try:
            yield server
        finally:
            server.clear()
            server.leave()
            await_end(Path(folder))


def join_server(
    folder: Path, settings: Mapping[str, str] = {}, *, auth: str = "trust", on_disk: bool = False
) -> PostgresServer:
    """The server of our own in *folder*, for as long as this process lives or until `leave`; the first one starts it.

    *settings* are lines of postgresql.conf. With another *auth* than "trust" the superuser's password is "secret".
    on_disk: its files lie where temporary files do, and not in memory.
    """

    def fill(data: Path, owner: str, programs: Path) -> str:
        _run(owner, *_initdb(programs, data, auth))
        _set(data, {**_QUICK, **settings})
        return "" if auth == "trust" else ":secret"

    return _joined(folder, fill, on_disk=on_disk)


def copy_server(
    original: PostgresServer, folder: Path, settings: Mapping[str, str] = {}, *, signal: str = ""
) -> PostgresServer:
    """A server on a copy of the files of *original* (`COPIED`), in *folder*, with *settings* of its own.

    signal: "standby", which goes on copying; "recovery", which reads the log as far as *settings* say, and begins a
    timeline of its own; or none: it goes on from where the copy was made.
    """

    def fill(data: Path, owner: str, programs: Path) -> str:
        order = [str(programs / "pg_basebackup"), "-D", str(data), "-d", original.url, "--checkpoint=fast"]
        _run(owner, *order, "--no-sync", "-X", "stream", *(["-R"] if signal == "standby" else []))
        if signal == "recovery":
            (data / "recovery.signal").touch()
        _set(data, settings)
        return ""

    return _joined(folder, fill)


def _set(data: Path, settings: Mapping[str, str]) -> None:
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = {value}\n" for name, value in settings.items())


def _joined(folder: Path, fill: Fill, *, on_disk: bool = False) -> PostgresServer:
    folder.mkdir(exist_ok=True)
    with (folder / "starting").open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        users = os.open(folder / "users", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(users, fcntl.LOCK_SH)  # waits for a keeper that is about to end the server
        url = folder / "url"
        if not url.exists():
            url.write_text(_start(folder, fill, on_disk=on_disk))
    return PostgresServer(url.read_text(), folder, _users=users)


def await_end(folder: Path) -> None:
    """Until the server in *folder*, which has no users any more, is gone with its data."""
    with suppress(FileNotFoundError), keeper_of(folder).open("r+") as keeper:
        fcntl.flock(keeper, fcntl.LOCK_EX)


def keeper_of(folder: Path) -> Path:
    """The file that is locked for as long as the server in *folder* has a keeper."""
    return Path((folder / "server").read_text().splitlines()[0]).with_name("keeper")


def _sweep(place: Path, owner: str, programs: Path) -> None:
    """End the servers whose keeper was killed: nobody else would."""
    for keeper in place.parent.glob(f"{_PREFIX}*/keeper"):
        with suppress(OSError), keeper.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            end(keeper.with_name("data"), owner, str(programs / "pg_ctl"))


def _start(folder: Path, fill: Fill, *, on_disk: bool) -> str:
    programs, owner = find_programs(), _find_owner()
    data = _make_place(owner, on_disk=on_disk) / "data"
    (folder / "server").write_text("\n".join((str(data), owner, str(programs / "pg_ctl"))))
    _keep(folder)
    _sweep(data.parent, owner, programs)
    password = fill(data, owner, programs)
    port = _start_on_some_port(folder)
    return f"postgresql://postgres{password}@127.0.0.1:{port}/postgres"


def _start_on_some_port(folder: Path, tries: int = 3) -> int:
    """A port that was free may be taken by the time it is used: another is tried."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    try:
        _pg_ctl(folder, "start", "-o", f"-p {port}")
    except NoPostgres:
        if tries == 1:
            raise
        return _start_on_some_port(folder, tries - 1)
    return port


def find_programs() -> Path:
    """The folder of PostgreSQL's programs. Raises NoPostgres."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    debian = [each.parent for each in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not debian:
        raise NoPostgres("no initdb on PATH or in /usr/lib/postgresql (Debian package postgresql)")
    return max(debian, key=lambda each: int(each.parent.name))


def _find_owner() -> str:
    """The account that the server runs under: our own, and where we are root, `postgres`. Empty: our own."""
    if os.geteuid() != 0:
        return ""
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise NoPostgres("it does not run as root, and there is no user postgres") from None


def _make_place(owner: str, *, on_disk: bool) -> Path:
    memory = Path("/dev/shm")  # noqa: S108 - the folder is made by mkdtemp
    has_room = not on_disk and memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM
    place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=memory if has_room else None))
    if owner:
        shutil.chown(place, owner, owner)
    return place


def _initdb(programs: Path, data: Path, auth: str) -> list[str]:
    order = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", auth, "-E", "UTF8", "--no-sync"]
    if auth != "trust":
        password = data.parent / "password"
        password.write_text("secret")
        order.append(f"--pwfile={password}")
    knows_icu = "--icu-locale" in _run("", order[0], "--help")
    return [*order, "--locale=C", *(("--locale-provider=icu", "--icu-locale=en-US") if knows_icu else ())]


def _keep(folder: Path) -> None:
    data, owner, pg_ctl = (folder / "server").read_text().splitlines()
    keeper = Path(__file__).with_name("postgres_keeper.py")
    paths = (folder / "users", Path(data), folder / "url")
    order = [sys.executable, str(keeper), *map(str, paths), owner, pg_ctl]
    nothing = subprocess.DEVNULL
    subprocess.run(order, stdin=nothing, stdout=nothing, stderr=nothing, check=True)


def _pg_ctl(folder: Path, order: str, *options: str) -> None:
    data, owner, pg_ctl = (folder / "server").read_text().splitlines()
    log = Path(data).with_name("log")
    try:
        _run(owner, pg_ctl, "-D", data, "-l", str(log), "-w", *options, order)
    except NoPostgres as why:
        raise NoPostgres(f"{why} {log.read_text() if log.exists() else ''}") from None


def _run(owner: str, *order: str) -> str:
    """What the program says. Raises NoPostgres, with its words."""
    as_owner = {"user": owner, "group": owner, "extra_groups": ()} if owner else {}
    done = subprocess.run(order, cwd="/", capture_output=True, text=True, check=False, **as_owner)  # type: ignore[call-overload]  # or nothing
    if done.returncode:
        raise NoPostgres(f"{Path(order[0]).name} failed: {done.stderr or done.stdout}")
    said: str = done.stdout
    return said
