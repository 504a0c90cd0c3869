"""What PostgreSQL and the way to it tell of errors, as errors of ours that a person, or the engine, can act on.

By the code where the server gave one (postgresql.org/docs/current/errcodes-appendix.html); before a login by words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from orchestrator.domain import errors

#: Try the step again: another one was in its way.
AGAIN: Final = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.FeatureNotSupported,
)
#: A migration changed a table: what was prepared before does not fit it ("cached plan must not change result type").
STALE: Final = (psycopg.errors.FeatureNotSupported,)
#: A mistake of this program; it passes as it is.
_BUGS: Final = (psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError)
_ROOM: Final = "free some space where the database's server keeps its data; a daemon goes on by itself"
_WAIT: Final = "a daemon goes on by itself; else look at the database's server, and run the command again"
_LOOK: Final = "check host and port in [database] url, and that the server runs; a daemon that works goes on by itself"
_STANDBY: Final = "name the primary; of several hosts: ?target_session_attrs=read-write"
_LOGIN: Final = "check the user and the password: [database] url and password_file, PGPASSFILE"
_DIRECTLY: Final = "name the server itself in [database] url"
_TRUST: Final = (
    "name the server by the name in its certificate, and the file of who signed that: "
    "[database] url with ?sslmode=verify-full&sslrootcert=FILE"
)
_ENCRYPT: Final = "add ?sslmode=verify-full&sslrootcert=FILE to [database] url, or allow it in the server's pg_hba.conf"

#: What is said before a login, and what it means.
_REFUSALS: Final = (
    (r"password authentication failed|no password supplied", "the database refuses the login", _LOGIN),
    (r'role ".*" does not exist|role ".*" is not permitted', "the database does not know the user", _LOGIN),
    (r'database ".*" does not exist', "there is no such database", "make it (createdb), or mend [database] url"),
    (r"no pg_hba.conf entry(?!.* SSL).* no encryption", "the server takes no login without encryption", _ENCRYPT),
    (r"no pg_hba.conf entry", "the server takes no login from here", "allow it in the server's pg_hba.conf"),
    (r"unsupported startup parameter", "a pooler is in between, such as PgBouncer", _DIRECTLY),
    (r"SSL|certificate", "no encrypted connection could be made", _TRUST),
    (
        r"invalid .*option|invalid port|invalid integer|invalid \w+ value",
        "the URL of the database is wrong",
        "mend [database] url",
    ),
)


@contextmanager
def translating(where: str) -> Iterator[None]:
    """Raise psycopg's exceptions as ours; a constraint that fires or a misuse is a bug and passes as it is.

    where: the database, for people.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as exc:
        hint = "GRANT the user what it lacks"
        raise errors.StoreError(f"the {where} does not let us", cause=_words(exc), hint=hint) from exc
    except _BUGS:
        raise
    except psycopg.Error as exc:
        raise translated(exc, where) from exc


def translated(exc: psycopg.Error, where: str) -> errors.StoreError:
    """The error that the engine, or a person, can act on."""
    code = exc.sqlstate if exc.sqlstate is not None else ""
    if code in {"53100", "53200"}:
        lacking = "disk" if code == "53100" else "memory"
        return errors.StoreFull(f"the {lacking} of the {where} is full", cause=_words(exc), hint=_ROOM)
    if code == "25006":
        return errors.StoreError(f"the {where} takes no writes", cause=_words(exc), hint=_STANDBY)
    if code.startswith(("XX", "58")):
        return errors.StoreError(f"the {where} is damaged", cause=_words(exc), hint="look into the server's log")
    return errors.StoreUnreachable(f"the {where} does not answer", cause=_words(exc), hint=_WAIT)


def unconnected(exc: psycopg.Error, where: str) -> errors.StoreError:
    """Why no connection could be opened: StoreUnreachable unless a person must do something first."""
    words = _words(exc)
    for pattern, message, hint in _REFUSALS:
        if re.search(pattern, words):
            return errors.StoreError(f"{where}: {message}", cause=words, hint=hint)
    if "too many clients" in words or "remaining connection slots" in words:
        hint = "raise max_connections of the server, or run fewer daemons: each has eight connections"
        return errors.StoreUnreachable(f"the {where} takes no more connections", cause=words, hint=hint)
    return errors.StoreUnreachable(f"the {where} cannot be reached", cause=words, hint=_LOOK)


def refuse_system_trust(parameters: Mapping[str, Any]) -> None:
    """Raise UsageError for `sslrootcert=system` among libpq's *parameters*, or in PGSSLROOTCERT.

    psycopg's wheel (3.3.9) looks for the system's certificates where no system has them; asyncpg (0.32) opens a file of
    that name.
    """
    if parameters.get("sslrootcert", os.environ.get("PGSSLROOTCERT")) == "system":
        raise errors.UsageError(
            "[database] url: sslrootcert=system is not known here",
            hint="name the file: sslrootcert=/etc/ssl/certs/ca-certificates.crt (Debian), or where your system has it",
        )


def pooled(where: str) -> errors.StoreError:
    """What a connection is told when it is opened did not reach the server."""
    cause = "the connection has not the settings that it was opened with"
    return errors.StoreError(f"{where}: a pooler is in between, such as PgBouncer", cause=cause, hint=_DIRECTLY)


def unheard_commit(exc: psycopg.Error, where: str) -> errors.StoreUnreachable:
    """The connection was lost while a step was committed."""
    return errors.StoreUnreachable(
        f"the {where} was lost",
        cause=f"whether the last step was stored is not known ({_words(exc)})",
        hint="look before it is done again; a daemon does so by itself",
    )


def _words(exc: psycopg.Error) -> str:
    """The server's sentence, without the statement and its values: they may be a prompt."""
    said = exc.diag.message_primary
    return " ".join(str(exc).split()) if said is None else said
