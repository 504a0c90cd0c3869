"""Making and upgrading the database file: numbered SQL, forward only, each with a checksum.

A newer or foreign file is refused and not touched. Before an upgrade a copy is made beside the file with SQLite's
own `VACUUM INTO` (never by opening the file ourselves).
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import StoreError
from orchestrator.store.connection import connect_writer, speaking_our_errors
from orchestrator.store.times import to_text

#: "ORCH" in ASCII: tells our files from other programs' SQLite files.
APPLICATION_ID: Final = 0x4F524348


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


def shipped_migrations() -> list[Migration]:
    """The migrations of this program, in order: inside the wheel, or at the root of a source checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_migrations", package.parent / "migrations"):
        files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
        if files:
            return [Migration(version=int(f.name[:4]), name=f.stem[5:], sql=f.read_text("utf-8")) for f in files]
    raise StoreError("this installation has no migrations", hint="install the package again")


def prepare(path: Path, *, now: datetime, sandbox: bool, migrations: Sequence[Migration] | None = None) -> None:
    """Make *path* a store of the newest schema: new, as it is, or upgraded. The caller holds its lock.

    Raises StoreError (newer schema, foreign file, changed migration, damaged); a refused file is not touched.
    """
    wanted = shipped_migrations() if migrations is None else list(migrations)
    fresh = _create_file(path)
    connection = connect_writer(path)
    try:
        with speaking_our_errors():
            done = _applied(connection, path, fresh=fresh)
            _check_history(done, wanted, path)
            missing = wanted[len(done) :]
            if missing and done:
                _copy_before_upgrade(connection, path, len(done))
            for migration in missing:
                _apply(connection, migration, now)
            _check_meta(connection, now, sandbox=sandbox, path=path)
    finally:
        connection.close()


def _create_file(path: Path) -> bool:
    """True if the file was made now: empty, 0600, in a 0700 folder if that is new too."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        return False
    except OSError as exc:
        raise StoreError(
            f"{path} cannot be created", cause=exc.strerror, hint="check the folder's permissions"
        ) from exc
    return True


def _applied(connection: sqlite3.Connection, path: Path, *, fresh: bool) -> list[tuple[int, str]]:
    """(version, checksum) of every migration that the file has."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application == 0 and tables == 0:
        # A file of length zero opens as an empty database: fine if we made it, or if a kill left it so.
        if not fresh and path.stat().st_size > 0 and connection.execute("PRAGMA user_version").fetchone()[0] != 0:
            raise _not_ours(path)
        return []
    if application != APPLICATION_ID:
        raise _not_ours(path)
    rows = connection.execute("SELECT version, checksum FROM schema_migration ORDER BY version").fetchall()
    return [(version, checksum) for version, checksum in rows]


def _not_ours(path: Path) -> StoreError:
    return StoreError(f"{path} is not a store of this program", hint="choose another path with --db")


def _check_history(done: Sequence[tuple[int, str]], wanted: Sequence[Migration], path: Path) -> None:
    if len(done) > len(wanted):
        raise StoreError(
            f"{path} was written by a newer version of this program (schema {done[-1][0]}, we know {len(wanted)})",
            hint="upgrade the program; nothing was changed",
        )
    for (version, checksum), migration in zip(done, wanted, strict=False):
        if version != migration.version or checksum != migration.checksum:
            raise StoreError(
                f"{path} was made with another form of migration {version}", hint="use the program that made it"
            )


def _copy_before_upgrade(connection: sqlite3.Connection, path: Path, version: int) -> None:
    copy = path.with_name(f"{path.name}.before-{version + 1:04d}")
    copy.unlink(missing_ok=True)  # of an upgrade that was killed: the file itself is still the older one
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
    connection.execute("VACUUM INTO ?", (str(copy),))


def _apply(connection: sqlite3.Connection, migration: Migration, now: datetime) -> None:
    """One migration, its record and the version mark in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if migration.version == 1:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(
                "CREATE TABLE schema_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL,"
                " checksum TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT"
            )
        for statement in _statements(migration.sql):
            connection.execute(statement)
        row = (migration.version, migration.name, migration.checksum, to_text(now))
        connection.execute("INSERT INTO schema_migration VALUES (?, ?, ?, ?)", row)
        connection.execute(f"PRAGMA user_version = {int(migration.version)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


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
        raise StoreError("a migration ends in the middle of a statement", cause="\n".join(lines)[:200])
    return statements


def _check_meta(connection: sqlite3.Connection, now: datetime, *, sandbox: bool, path: Path) -> None:
    """Write the store's identity once; afterwards refuse to mix sandbox and real work."""
    row = connection.execute("SELECT sandbox FROM meta").fetchone()
    if row is None:
        # Chance without a seed on purpose: this number makes our full batches differ from everybody else's.
        spread = random.SystemRandom().randint(1, 999)
        values = (uuid.uuid4().hex, to_text(now), int(sandbox), spread)
        connection.execute("INSERT INTO meta (id, lineage, created_at, sandbox, spread) VALUES (1, ?, ?, ?, ?)", values)
    elif bool(row[0]) != sandbox:
        kind, remedy = ("sandbox", "add") if row[0] else ("real", "drop")
        raise StoreError(f"{path} holds {kind} work", hint=f"{remedy} --sandbox, or choose another --db")
