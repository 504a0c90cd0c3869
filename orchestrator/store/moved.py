"""What a store's history says of a move to another database: the newest event, since nothing is written after it.

A move leaves two stores of one lineage. Whenever the process that moves it is killed, at most one can be used: first
the new one is whole, but waits; then the old one is given up; then the new one is in use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from orchestrator.domain import errors
from orchestrator.store import sql_text
from orchestrator.store.sql_connection import SqlConnection

#: The store is another one now.
GIVEN_UP: Final = "store.moved"
#: All of it is here, and the old one is still the one in use.
WAITING: Final = "store.arriving"
#: The old one was given up.
ARRIVED: Final = "store.arrived"
SQL: Final = sql_text.load("moved")


class MoveWord(NamedTuple):
    """GIVEN_UP or WAITING, and to or from where."""

    kind: str
    where: str


def word_of(c: SqlConnection) -> MoveWord | None:
    """What keeps the store from being used; None: nothing does."""
    newest = c.execute(SQL["newest"]).fetchone()
    return MoveWord(*newest) if newest is not None and newest[0] in {GIVEN_UP, WAITING} else None


def refuse_moved(c: SqlConnection, where: Path | str) -> None:
    """Raise GuardRefused if the store, which people call *where*, is not to be used."""
    if (word := word_of(c)) is not None:
        raise refusal(word, where)


def refusal(word: MoveWord, where: Path | str) -> errors.GuardRefused:
    """Why the store at *where* is not used, and what is."""
    if word.kind == WAITING:
        return errors.GuardRefused(
            f"{where} is not in use yet: moving {word.where} into it did not end",
            hint="move it again (`orchestrator db move`); until then the old one, if it opens, is the one in use",
        )
    return errors.GuardRefused(
        f"{where} was moved to {word.where}",
        hint=(
            "use that one (--db, or [database]); only if it will not be used any more: `orchestrator db adopt-store` "
            "takes this one back, and asks the API what was sent since"
        ),
    )
