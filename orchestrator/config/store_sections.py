"""`[database]` and `[fleet]`: where the store is, and who shares it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from orchestrator.config import values
from orchestrator.config.safe_files import read_secret
from orchestrator.config.setting import ALLOWED, INSIDE, REFUSED, means
from orchestrator.domain.errors import UsageError

#: `[database] path` when nothing is set, below the folder for data, and its twin for sandbox mode.
DEFAULT_DATABASE: Final = Path("orchestrator", "orchestrator.db")
SANDBOX_DATABASE: Final = Path("orchestrator", "sandbox.db")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSection:
    """`[database]`: where the store is, and how long it keeps what is in it.

    `path` is absolute once the settings are loaded. With a `url` the store is there, and `path` means nothing.
    """

    path: Path = field(
        default=Path("~", ".local", "share") / DEFAULT_DATABASE,
        metadata=means(
            values.database_path(),
            "The database file; it must be on a local disk. Where XDG_DATA_HOME is set, the default is below it.\n"
            "In sandbox mode the default is sandbox.db beside it.",
            project=INSIDE,
        ),
    )
    url: str | None = field(
        default=None,
        metadata=means(
            values.database_url(),
            "A database on a PostgreSQL server (14 or newer) in place of the file, for one daemon or many; needs the\n"
            "extra batch-orchestrator[postgres]. Better without a password: it belongs into password_file, PGPASSFILE\n"
            "or PGPASSWORD. On a command line, in --db, every user of the machine could read it.",
            unset="the store is the file above",
            example='"postgresql://orch@db.example.com/orch"',
            project=REFUSED,
        ),
    )
    password_file: Path | None = field(
        default=None,
        metadata=means(
            values.path(),
            "A file that holds the password of that database and nothing else, readable by you alone (mode 0600).",
            unset="what PostgreSQL's own programs use: PGPASSWORD, PGPASSFILE, ~/.pgpass",
            example='"~/.config/orchestrator/database-password"',
            project=REFUSED,
        ),
    )
    keep_bodies: timedelta | None = field(
        default=None,
        metadata=means(
            values.duration(),
            "How long `serve` keeps the requests and results of a job that is over; counts, errors and history stay.\n"
            "It looks once an hour, by this machine's clock. What is deleted is gone: back up what you still need.",
            unset="for ever",
            example='"90d"',
            project=REFUSED,
        ),
    )

    def password(self) -> str | None:
        """What `password_file` holds now; None: it is not set. Raises UsageError for a file that cannot be used."""
        if self.password_file is None:
            return None
        hint = "[database] password_file names it"
        return read_secret(self.password_file, called="the password file", hint=hint, error=UsageError)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSection:
    """`[fleet]`: one of several daemons that share a database on a PostgreSQL server."""

    name: str | None = field(
        default=None,
        metadata=means(
            values.name(),
            "What this daemon is called where the fleet is shown.",
            unset="HOST:PID",
            example='"worker-1"',
            project=ALLOWED,
        ),
    )
    heartbeat: timedelta = field(
        default=timedelta(seconds=10),
        metadata=means(
            values.duration(least_s=1),
            "How long a daemon may be silent before others take over its work; the same for every daemon.",
            project=ALLOWED,
        ),
    )
