"""Compares where a store lies with where it lay: the same place, a copy of it, or one that may lack commits.

In place of the mark beside a file. A promoted standby, and a backup that was restored to a point in time, have another
timeline: the last commits may be missing there (promise 13).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from orchestrator.domain import errors
from orchestrator.store import identity, moved, sql_text
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("postgres/cluster")
#: Of a row of `daemon`: every process writes its own every five seconds, by the server's clock.
SEEN_LATELY: Final = (
    "seen_at > to_char((clock_timestamp() - interval '20 s') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
)


def settle_place(where: str, now: datetime, c: SqlConnection, *, adopt: bool) -> None:
    """Note where the store lies now; in the turn. where: the database, for people.

    Where it may lack what was sent, or *adopt* says that a copy is to be used, a search at the API is opened, and
    nothing is planned or sent before that is closed. Raises GuardRefused for a copy, or one that was moved away, which
    nobody adopted.
    """
    word = moved.word_of(c)
    if word is not None:
        _take_back(word, where, c, adopt=adopt)
    c.execute(identity.SQL["keep_secret"], {"secret": secrets.token_hex(32)})
    c.execute(identity.SQL["marked"])
    *was, old_timeline = c.execute(SQL["was"]).fetchone()
    *lies, timeline = c.execute(SQL["lies"]).fetchone()
    if was != lies and not adopt:
        raise _copied(where)
    if (was, old_timeline) != (lies, timeline) or word is not None:
        cause = identity.Standing.BEHIND if was == lies and word is None else identity.Standing.COPIED
        identity.begin_search(cause, 0, now, c)
        c.execute(SQL["lay"])


def _take_back(word: moved.MoveWord, where: str, c: SqlConnection, *, adopt: bool) -> None:
    if not adopt:
        raise moved.refusal(word, where)
    c.execute(SQL["reopen"])


def _copied(where: str) -> errors.GuardRefused:
    return errors.GuardRefused(
        f"the {where} is a copy of a store, or was moved there",
        cause=(
            "it lies on another server, or in another database, than when it was opened last: what was sent from the "
            "original since the copy was made is not in it, and would be bought again"
        ),
        hint=(
            "if the original will not be used any more: `orchestrator db adopt-store`; the engine then asks the API "
            "first, and takes in what was sent"
        ),
    )


class PlaceGuard:
    """Looks at the place again whenever a connection that writes had to be opened anew: it may be another one by then.

    clock: for what is recorded. is_active: from when the store is open.
    """

    def __init__(self, where: str, clock: Callable[[], datetime]) -> None:
        self.is_active = False
        self.lost: errors.StoreLost | None = None
        self._where = where
        self._clock = clock
        self._newest: tuple[Any, ...] | None = None

    def saw(self, newest: tuple[Any, ...] | None) -> None:
        """The newest event (number, time) after a step of ours that was committed."""
        self._newest = newest

    def greet(self, c: SqlConnection) -> None:
        """In the turn, before anything else. Sets `lost` if the newest event that we saw is not there any more.

        Nothing else need tell such a database from what it was: so the search that the next start needs is opened here.
        """
        if self._newest is None or c.execute(SQL["is_there"], self._newest).fetchone() is not None:
            settle_place(self._where, self._clock(), c, adopt=False)
            return
        with suppress(errors.GuardRefused):  # a copy, or one that was moved away, asks a person at the next start
            settle_place(self._where, self._clock(), c, adopt=False)
            identity.begin_search(identity.Standing.BEHIND, 0, self._clock(), c)
        self.lost = errors.StoreLost.without(*self._newest)
