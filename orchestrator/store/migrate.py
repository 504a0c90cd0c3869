"""Creates and upgrades the database file: numbered SQL migrations, forward only, each with a checksum.

A newer or foreign file is refused and not touched. A new store is built in memory, written beside its place and renamed
when it is whole. Before an upgrade the file is copied with SQLite's own `VACUUM INTO` (never by opening it ourselves).
"""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from orchestrator.domain import errors, result_outcome
from orchestrator.domain.error_text import cause_of
from orchestrator.store import connect, ownership, sql_rows, sql_text
from orchestrator.store.mark import MARKED_SINCE, Mark, MarkRecord, read_mark

#: "ORCH" in ASCII: tells our files from other programs' SQLite files.
APPLICATION_ID: Final = 0x4F524348
#: How many migrations this program ships; a constant, so that a reader need not open their files (a test compares).
SCHEMA_VERSION: Final = 23
SQL: Final = sql_text.load("migrate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """sha256 of the text: a merged migration never changes."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped_migrations(dialect: str = "") -> list[Migration]:
    """The migrations of this program, in order: inside the wheel, or at the root of a source checkout.

    dialect: "postgres" for those of a server.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_migrations", package.parent / "migrations"):
        files = sorted((folder / dialect).glob("[0-9][0-9][0-9][0-9]_*.sql"))
        if files:
            return [Migration(version=int(f.name[:4]), name=f.stem[5:], sql=f.read_text("utf-8")) for f in files]
    raise errors.StoreError("this installation has no migrations", hint="install the package again")


def prepare(path: Path, *, now: datetime, sandbox: bool, migrations: Sequence[Migration] | None = None) -> None:
    """Make *path* a store of the newest schema: new, as it is, or upgraded. The caller holds its lock.

    Raises StoreError (newer schema, foreign file, changed migration, damaged); a refused file is not touched.
    """
    wanted = shipped_migrations() if migrations is None else list(migrations)
    if path.is_symlink() and not path.exists():
        raise errors.StoreError(
            f"{path} is a symbolic link to nothing", hint="remove it, or choose another path with --db"
        )
    if not path.exists():
        create(path, now=now, fill=lambda c: _introduce(c, now, sandbox=sandbox), migrations=wanted)
        return
    done = _inspect(path, known=wanted[-1].version, sandbox=sandbox)
    check_history(done, wanted, path)
    if len(done) < len(wanted):
        _upgrade(path, wanted[len(done) :], len(done), now)


def create(
    path: Path,
    *,
    now: datetime,
    fill: Callable[[connect.SqliteConnection], object],
    migrations: Sequence[Migration] | None = None,
) -> None:
    """Build the store beside *path* and rename it when it is whole: so an empty file there is never a store of ours.

    *fill* says who it is. A folder that is new is 0700; the file is 0600, and SQLite gives its -wal and -shm the same
    mode.
    """
    ownership.make_private_folder(path.parent)
    log = _beside(path, "-wal")
    if log.exists() and log.stat().st_size > 0:
        raise errors.StoreError(
            f"{path} is gone, but its log {log.name} is there",
            cause="the log may hold work that the file does not",
            hint="put the database file back; or, to start with nothing, remove the log as well",
        )
    draft = _beside(path, ".new")
    _remove(draft)  # of a start that was killed
    try:
        _make_file(draft)
        _fill(draft, shipped_migrations() if migrations is None else migrations, now, fill)
        ownership.sync(draft)
    except BaseException:
        _remove(draft)  # where the disk is full it would lie in the way
        raise
    draft.rename(path)
    ownership.sync(path.parent)


def _fill(
    draft: Path, wanted: Sequence[Migration], now: datetime, fill: Callable[[connect.SqliteConnection], object]
) -> None:
    """Make *draft* a whole store in one file. Closing writes its log back as well, but says nothing if it cannot."""
    with closing(connect.connect_writer(draft)) as connection, connect.translating_errors(draft):
        with closing(connect.connect_in_memory()) as empty:
            empty.deserialize(_empty_store(tuple(wanted)))
            empty.backup(connection)
        connection.execute("BEGIN IMMEDIATE")
        for migration in wanted:
            _record(connection, migration, now)
        connection.execute("COMMIT")
        fill(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if connect.has_log(draft):
        raise errors.StoreError(f"the new store {draft} could not be written whole", hint="check the disk")


@lru_cache(maxsize=1)
def _empty_store(migrations: tuple[Migration, ...]) -> bytes:
    """What *migrations* make of nothing. In memory, where none of them waits for the disk, and once in a process."""
    with closing(connect.connect_in_memory()) as connection:
        _teach(connection)
        for migration in migrations:
            connection.execute("BEGIN IMMEDIATE")
            _change(connection, migration)
            connection.execute("COMMIT")
        return connection.serialize()


def _remove(draft: Path) -> None:
    for part in ("", "-wal", "-shm", "-journal"):
        _beside(draft, part).unlink(missing_ok=True)


def _upgrade(path: Path, missing: Sequence[Migration], version: int, now: datetime) -> None:
    """Copy the store, then bring it forward, each migration in one transaction."""
    connection = connect.connect_writer(path)
    try:
        with connect.translating_errors():
            _teach(connection)
            if version < MARKED_SINCE:
                _mark_first(connection, path)
            _copy_before_upgrade(connection, path, version)
            for migration in missing:
                _apply(connection, migration, now)
    finally:
        connection.close()


def _mark_first(connection: sqlite3.Connection, path: Path) -> None:
    """Write the mark before its column exists: a store that is killed in this upgrade must not look like a copy."""
    if read_mark(path) is None:
        lineage, sandbox = connection.execute(SQL["who"]).fetchone()
        marked = MarkRecord(lineage=lineage, secret=secrets.token_hex(32), sandbox=bool(sandbox), intents=0)
        Mark.open(path, marked).close()


def _teach(connection: sqlite3.Connection) -> None:
    from orchestrator.domain.result_lines import stop_reason_of  # a store of this version needs no decoder

    def stop_in(body: bytes) -> int | None:
        said = stop_reason_of(body)
        return (
            None
            if said is None or said == ""
            else result_outcome.KNOWN_STOPS.index(
                said if said in result_outcome.KNOWN_STOPS else result_outcome.OTHER_STOP
            )
        )

    connection.create_function("cause_of", 1, cause_of, deterministic=True)
    connection.create_function("stop_in", 1, stop_in, deterministic=True)


def _inspect(path: Path, *, known: int, sandbox: bool) -> list[tuple[int, str]]:
    """(version, checksum) of every migration that the file has, read without touching it. Raises if it is not ours."""
    if not path.is_file():
        raise errors.StoreError(f"{path} is not a file", hint="choose another path with --db")
    if path.stat().st_nlink > 1:  # each name would have a log of its own: two owners, and a corrupt store
        raise errors.StoreError(f"{path} has a second name (a hard link)", hint="keep one of them, or copy the file")
    connection = connect.connect_reader(path, untouched=not connect.has_log(path))
    try:
        with connect.translating_errors():
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                empty = connection.execute(SQL["tables"]).fetchone()[0] == 0
                raise errors.StoreError(
                    f"{path} is not a store of this program",
                    cause="it is empty: if it was a store, its content is lost" if empty else None,
                    hint="choose another path with --db" + ("; or restore a backup" if empty else ""),
                )
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > known:
                raise newer_schema(path, version)
            done = [(version, checksum) for version, checksum in connection.execute(SQL["history"])]
            is_sandbox = bool(connection.execute(SQL["sandbox"]).fetchone()[0])
    finally:
        connection.close()
    check_kind(path, is_sandbox=is_sandbox, sandbox=sandbox)
    return done


def check_kind(where: Path | str, *, is_sandbox: bool, sandbox: bool) -> None:
    """Refuse to mix the sandbox's work with real work. Raises StoreError."""
    if is_sandbox != sandbox:
        kind, remedy = ("sandbox", "add") if is_sandbox else ("real", "drop")
        raise errors.StoreError(f"{where} holds {kind} work", hint=f"{remedy} --sandbox, or choose another --db")


def check_history(done: Sequence[tuple[int, str]], wanted: Sequence[Migration], where: Path | str) -> None:
    """Refuse a store whose migrations, (version, checksum), are not how *wanted* begins. Raises StoreError."""
    if len(done) > len(wanted):
        raise newer_schema(where, done[-1][0], wanted[-1].version)
    for (version, checksum), migration in zip(done, wanted, strict=False):
        if version != migration.version or checksum != migration.checksum:
            raise errors.StoreError(
                f"{where} was made with another form of migration {version}", hint="use the program that made it"
            )


def newer_schema(where: Path | str, version: int, known: int = SCHEMA_VERSION) -> errors.StoreError:
    """The refusal of a store of a later program."""
    return errors.StoreError(
        f"{where} was written by a newer version of this program (schema {version}, we know {known})",
        hint="upgrade the program; nothing was changed",
    )


def _copy_before_upgrade(connection: sqlite3.Connection, path: Path, version: int) -> None:
    copy = _beside(path, f".before-{version + 1:04d}")
    copy.unlink(missing_ok=True)  # of an upgrade that was killed: the file itself is still the older one
    _make_file(copy)
    connection.execute(SQL["copy"], (str(copy),))
    ownership.sync(copy)  # SQLite does not (documentation of VACUUM INTO)
    ownership.sync(path.parent)


def _apply(connection: sqlite3.Connection, migration: Migration, now: datetime) -> None:
    """One migration, its record and the version mark in one transaction; what it left is checked before the commit."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _change(connection, migration)
        _record(connection, migration, now)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _change(connection: sqlite3.Connection, migration: Migration) -> None:
    if migration.version == 1:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(SQL["make_history"])
    for statement in _statements(migration.sql):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {int(migration.version)}")
    _verify(connection, migration)


def _record(connection: sqlite3.Connection, migration: Migration, now: datetime) -> None:
    values = (migration.version, migration.name, migration.checksum, sql_rows.to_text(now))
    connection.execute(SQL["applied"], values)


def _verify(connection: sqlite3.Connection, migration: Migration) -> None:
    """Refuse to commit onto a damaged file (measured: 1.7 s for 1 GB; only upgrades pay it)."""
    orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
    damage = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if orphan is not None or damage != "ok":
        cause = str(damage) if orphan is None else f"a row of {orphan[0]} refers to nothing"
        raise errors.StoreError(
            f"migration {migration.version} was not applied: the store is damaged", cause=cause, hint="restore a backup"
        )


def _statements(script: str) -> list[str]:
    """The script cut at the semicolons that end a statement (`executescript` would commit behind our back)."""
    statements: list[str] = []
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        text = "\n".join(lines)
        if line.rstrip().endswith(";") and sqlite3.complete_statement(text):
            statements.append(text)
            lines = []
    if any(line.strip() and not line.lstrip().startswith("--") for line in lines):
        raise errors.StoreError("a migration ends in the middle of a statement", cause="\n".join(lines)[:200])
    return statements


def _introduce(connection: sqlite3.Connection, now: datetime, *, sandbox: bool) -> None:
    """Write the store's identity, once."""
    connection.execute(SQL["introduce"], new_identity(now, sandbox=sandbox))


def new_identity(now: datetime, *, sandbox: bool) -> tuple[str, str, int, int]:
    """Who a new store is: its lineage, since when, whether it is the sandbox's, its spread."""
    # Chance without a seed on purpose: this number makes our full batches differ from everybody else's.
    size_jitter = random.SystemRandom().randint(1, 999)
    return uuid.uuid4().hex, sql_rows.to_text(now), int(sandbox), size_jitter


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _make_file(path: Path) -> None:
    """An empty file, 0600, that was not there before (nor a link)."""
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise errors.StoreError(
            f"{path} cannot be created", cause=exc.strerror, hint="check the folder's permissions"
        ) from exc
    os.close(fd)
