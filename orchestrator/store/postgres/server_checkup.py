"""A look at the server for `doctor`: what `views/server_checks` judges. It changes nothing there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from orchestrator.domain.errors import StoreError
from orchestrator.ports.server_facts import DeadRows, ServerFacts, Standby, StorePlace
from orchestrator.store.postgres.link import PostgresAddress, Raw, Role
from orchestrator.store.postgres.migrate_postgres import SERVER_SCHEMA_VERSION, version_of
from orchestrator.store.postgres.server_errors import translating

#: How long a word that one connection says may take to another.
_HEARD_WITHIN_S: Final = 2.0
_CHANNEL: Final = "orchestrator_doctor"
_HAS_HISTORY: Final = "SELECT to_regclass('orchestrator.schema_migration') IS NOT NULL"
_IS_FILLED: Final = "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('orchestrator'))"
_PLACE: Final = """
SELECT CASE WHEN (was.system_identifier, was.database) <> (lies.system_identifier, lies.database) THEN 'copied'
            WHEN was.timeline <> lies.timeline THEN 'older' ELSE 'own' END
  FROM orchestrator.cluster AS was, orchestrator.cluster_now AS lies
"""
_MAY_CREATE: Final = """
SELECT CASE WHEN to_regnamespace('orchestrator') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege('orchestrator', 'CREATE') END
"""
#: Our connections say synchronous_commit = on by themselves; the other two are the server's.
_UNSAFE: Final = """
SELECT name || ' = ' || setting FROM pg_settings
 WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name
"""
#: Who copies the log or takes a backup is no standby. Who may not see how they fare gets NULL.
_STANDBYS: Final = """
SELECT coalesce(nullif(application_name, ''), 'a standby'), sync_state IN ('sync', 'quorum') FROM pg_stat_replication
 WHERE coalesce(application_name, '') NOT IN ('pg_basebackup', 'pg_receivewal') AND coalesce(state, '') <> 'backup'
"""
#: Of the server, of this role and of this database, the least; our own is free again in a moment. What kind of process
#: another one is may not be told to us; those of the server itself have no user, or no database.
_FREE: Final = """
SELECT 1 + least(
  current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
    - coalesce(current_setting('reserved_connections', true), '0')::bigint
    - (SELECT count(*) FROM pg_stat_activity WHERE usesysid IS NOT NULL AND datid IS NOT NULL),
  (SELECT nullif(rolconnlimit, -1) - (SELECT count(*) FROM pg_stat_activity WHERE usename = rolname)
     FROM pg_roles WHERE rolname = current_user),
  (SELECT nullif(datconnlimit, -1) - (SELECT count(*) FROM pg_stat_activity AS here WHERE here.datname = base.datname)
     FROM pg_database AS base WHERE base.datname = current_database()))
"""
#: The tables of which every look of every daemon reads some rows, and which change all the time.
_DEAD: Final = """
SELECT relname::text, n_live_tup, n_dead_tup FROM pg_stat_user_tables
 WHERE schemaname = 'orchestrator' AND relname IN ('job', 'pgqueuer') ORDER BY relname
"""


def look_at(server: PostgresAddress, queue: Callable[[Raw], Sequence[str]] | None) -> ServerFacts:
    """How *server* fares. queue: what the queue's tables lack. Raises StoreError if it cannot be reached."""
    with closing(server.connect(Role.LOOKS)) as raw, translating(str(server)):
        _refuse_standby(raw, str(server))
        schema = schema_of(raw)
        answer, offset = _clock(raw)
        return ServerFacts(
            answer=answer,
            version=raw.info.server_version,
            encoding=str(_one(raw, "SELECT current_setting('server_encoding')")),
            may_create=bool(_one(raw, _MAY_CREATE)),
            unsafe=[name for (name,) in raw.execute(_UNSAFE)],
            standbys=[Standby(name=name, is_sync=is_sync) for name, is_sync in raw.execute(_STANDBYS)],
            sync_names=str(_one(raw, "SELECT current_setting('synchronous_standby_names')")),
            offset=offset,
            free_connections=int(_one(raw, _FREE)),
            is_notified=_is_notified(server, raw),
            queue=None if schema is None or queue is None else queue(raw),
            dead=[DeadRows(table=table, live=live, dead=dead) for table, live, dead in raw.execute(_DEAD)],
            place=_place(raw, schema),
            schema=schema,
            known=SERVER_SCHEMA_VERSION,
        )


def _refuse_standby(raw: Raw, where: str) -> None:
    if _one(raw, "SELECT pg_is_in_recovery()"):
        hint = "name the primary in [database] url; with several hosts add ?target_session_attrs=read-write"
        raise StoreError(f"the {where} is a standby: nothing can be stored there", hint=hint)


def _place(raw: Raw, schema: int | None) -> StorePlace:
    if schema is None:
        return StorePlace.FOREIGN if _one(raw, _IS_FILLED) else StorePlace.EMPTY
    return StorePlace(_one(raw, _PLACE))


def schema_of(raw: Raw) -> int | None:
    """The version of the store in the database; None where there is none."""
    return version_of(raw) if _one(raw, _HAS_HISTORY) else None


def _one(raw: Raw, sql: str) -> Any:  # noqa: ANN401 - whatever the column holds
    ((found,),) = raw.execute(sql.encode()).fetchall()
    return found


def _clock(raw: Raw) -> tuple[timedelta, timedelta]:
    """How long an answer takes, and how far the server's clock is ahead of ours."""
    ours, began = datetime.now(UTC), time.monotonic()
    theirs: datetime = _one(raw, "SELECT clock_timestamp()")
    took = timedelta(seconds=time.monotonic() - began)
    return took, theirs - (ours + took / 2)


def _is_notified(server: PostgresAddress, raw: Raw) -> bool:
    """Whether what another connection says reaches *raw*; a pooler that shares connections loses it."""
    raw.execute(f"LISTEN {_CHANNEL}".encode())
    word = secrets.token_hex(8)
    with closing(server.connect(Role.LOOKS)) as other:
        other.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, word))
    return any(notice.payload == word for notice in raw.notifies(timeout=_HEARD_WITHIN_S, stop_after=1))
