"""What a look at a PostgreSQL server finds, for `doctor`; what it means is said by `views/server_checks`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

#: Twin sub-selects, LATERAL and RETURNING of the statements were written for it, and no older one is maintained.
OLDEST_SERVER: Final = 14


class StorePlace(StrEnum):
    """What the database is to the store in it."""

    EMPTY = "empty"  #: there is none
    OWN = "own"  #: it lies where it lay
    COPIED = "copied"  #: it lay elsewhere when it was opened last
    OLDER = "older"  #: a standby that was promoted, or a backup: it may lack the last commits
    FOREIGN = "foreign"  #: another program has a schema of that name


@dataclass(frozen=True, slots=True, kw_only=True)
class Standby:
    """A standby server that is connected. is_sync: commits wait for it; None: we may not know."""

    name: str
    is_sync: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadRows:
    """A table: rows that are there, and old ones that VACUUM has not taken away."""

    table: str
    live: int
    dead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """A server, and the database that a store is in, or is to be in.

    version: as 150_018. unsafe: settings by which commits can be lost, that are not as they must be ("fsync = off").
    sync_names: synchronous_standby_names. offset: how far the server's clock is ahead of ours. free_connections: for
    this user. is_notified: what one connection says reaches another that listens. queue: what the queue's tables lack;
    None where there are none yet. place: of the store. schema: the store's version, None where there is none; known:
    the newest that this program has.
    """

    answer: timedelta
    version: int
    encoding: str
    may_create: bool
    unsafe: Sequence[str]
    standbys: Sequence[Standby]
    sync_names: str
    offset: timedelta
    free_connections: int
    is_notified: bool
    queue: Sequence[str] | None
    dead: Sequence[DeadRows]
    place: StorePlace
    schema: int | None
    known: int
