"""Who a store is, compared with the mark beside it when it is opened: new, as it was, behind, or a copy."""

from __future__ import annotations

import secrets
import sqlite3
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final

from orchestrator.domain.errors import GuardRefused, StoreError
from orchestrator.store.connection import Database
from orchestrator.store.mark import Mark, Marked, mark_path
from orchestrator.store.queries import load
from orchestrator.store.rows import named, record
from orchestrator.store.times import to_text

SQL: Final = load("identity")
BEHIND: Final = "behind"
COPIED: Final = "copied"


class Standing(StrEnum):
    """How a store stands to the mark beside it."""

    OWN = "own"  #: the mark is its own and counts no more than it does
    BEHIND = "behind"  #: the mark counts intents that it does not know of: it was put back from a copy
    COPIED = "copied"  #: the mark is missing or another's: it was copied or moved here


def refuse_if_gone(path: Path, marked: Marked | None, *, adopt: bool) -> None:
    """Raise StoreError if there is no file at *path*, but a mark that says that a store was there and sent batches."""
    if adopt or path.exists() or marked is None or marked.intents == 0:
        return
    raise StoreError(
        f"{path} is gone, but its mark {mark_path(path).name} is there",
        cause=f"it counts {marked.intents:,} sent; without the file they would be bought again",
        hint=(
            "put the file or a backup of it back; or `orchestrator db adopt-store`: a new store, which first asks the "
            f"API what was sent; or, to forget all of it, remove {mark_path(path).name} as well"
        ),
    )


async def identify(
    database: Database, path: Path, marked: Marked | None, now: datetime, *, adopt: bool = False
) -> Mark:
    """Compare the store with its mark, and open the mark. *marked*: what it said before the store was opened.

    Where the store is behind, or *adopt* says that a copy is to be used, a search at the API is opened: until it is
    closed nothing is planned or sent. Raises GuardRefused for a copy that nobody adopted.
    """
    meta = await database.read(read_meta)
    found = standing(meta, marked)
    if found is Standing.COPIED and not adopt:
        raise _copied(path)
    cause = None if found is Standing.OWN else BEHIND if found is Standing.BEHIND or not meta["marked"] else COPIED
    if cause is not None or not meta["secret"]:
        await database.write(partial(_settle, meta, marked, cause, now))
        meta = await database.read(read_meta)
    mark = Mark.open(
        path,
        Marked(lineage=meta["lineage"], secret=meta["secret"], sandbox=bool(meta["sandbox"]), intents=meta["intents"]),
    )
    if not meta["marked"]:
        await database.write(lambda c: c.execute(SQL["marked"]).rowcount)
    return mark


def standing(meta: dict[str, Any], marked: Marked | None) -> Standing:
    """How a store, by its `meta` row, stands to its mark."""
    if marked is not None and marked.lineage == meta["lineage"]:
        return Standing.BEHIND if marked.intents > meta["intents"] else Standing.OWN
    if not meta["marked"] and (marked is None or marked.intents == 0):  # it is new, or of before there were marks
        return Standing.OWN
    return Standing.COPIED


def read_meta(c: sqlite3.Connection) -> dict[str, Any]:
    """What the store says of itself, for `standing`."""
    return named(c.execute(SQL["meta"]))[0]


def _copied(path: Path) -> GuardRefused:
    return GuardRefused(
        f"{path} is a copy of a store, or was moved here",
        cause=(
            f"its mark ({mark_path(path).name}) is missing, or another store's or file's: what was sent from the "
            "original since the copy was made is not in it, and would be bought again"
        ),
        hint=(
            "if no other copy will be used any more: `orchestrator db adopt-store`; the engine then asks the API "
            "first, and takes in what was sent"
        ),
    )


def _settle(
    meta: dict[str, Any], marked: Marked | None, cause: str | None, now: datetime, c: sqlite3.Connection
) -> None:
    secret = secrets.token_hex(32) if marked is None or not marked.secret else marked.secret
    c.execute(SQL["keep_secret"], {"secret": secret})
    if cause is None:
        return
    there = 0 if marked is None else marked.intents
    missing = max(there - meta["intents"], 0)
    # One more than either has: the very copy that was taken into use, put back once more, is behind this mark.
    c.execute(SQL["catch_up"], {"intents": max(there, meta["intents"]) + 1})
    values = {"cause": cause, "missing": missing, "now": to_text(now)}
    if c.execute(SQL["open_search"], values).rowcount == 0:
        c.execute(SQL["reopen_search"], {"missing": missing, "now": to_text(now)})
    record(c, now, f"store.{cause}", why=f"{missing} intents to send are missing: the API is asked what became of them")
