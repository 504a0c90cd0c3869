"""Many rows in few statements: all of them, in order, whatever their number is."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from orchestrator.store.connect import SqliteConnection

pytestmark = pytest.mark.sqlite

SQL = "-- A comment with VALUES (in it).\nINSERT INTO pair (a, b, state) VALUES (?, ?, 'queued')"


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 999, 1000, 1001, 2503])
def test_every_row_goes_in_once_and_in_order(count: int) -> None:
    """A statement holds so many rows, and the last one what is left."""
    rows = [(number, f"x{number}\0é") for number in range(count)]
    with closing(sqlite3.connect(":memory:", factory=SqliteConnection)) as c:
        c.execute("CREATE TABLE pair (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, state TEXT)")
        c.insert_rows(SQL, rows)
        assert c.execute("SELECT a, b FROM pair ORDER BY id").fetchall() == rows
        assert c.execute("SELECT count(*) FROM pair WHERE state <> 'queued'").fetchone() == (0,)


@pytest.mark.parametrize("at", [3, 700])
def test_a_row_that_is_refused_takes_its_transaction_along(at: int) -> None:
    """All or none is the transaction's to say: what was refused raises as from a single row."""
    rows = [(number if number != at else 0, "x") for number in range(900)]
    with closing(sqlite3.connect(":memory:", isolation_level=None, factory=SqliteConnection)) as c:
        c.execute("CREATE TABLE pair (a INTEGER PRIMARY KEY, b TEXT, state TEXT)")
        c.execute("BEGIN")
        with pytest.raises(sqlite3.IntegrityError):
            c.insert_rows(SQL, rows)
        c.execute("ROLLBACK")
        assert c.execute("SELECT count(*) FROM pair").fetchone() == (0,)
