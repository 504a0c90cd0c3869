"""The result table: bodies in the order of their arrival; a request's row shows the number of its own.

Results come shuffled. Filed by request, 1 kB bodies would dirty a page for each (measured: 50 against 20 us a result).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from orchestrator.store.bulk import insert_rows
from orchestrator.store.queries import load

SQL: Final = load("results")


#: A result before it has a number: the request's key; tokens of input, output, cache read, cache write 5m and 1h; body.
NewResult = tuple[int, int | None, int | None, int | None, int | None, int | None, bytes]


def store_results(rows: Iterable[NewResult], c: sqlite3.Connection) -> tuple[int, int]:
    """Store *rows*. Returns the first and the last number.

    The requests' rows must show these numbers in the same transaction.
    """
    first: int = c.execute(SQL["next_result"]).fetchone()[0]
    numbered = [(number, *row) for number, row in enumerate(rows, first)]
    insert_rows(c, SQL["add_result"], numbered)
    return first, first + len(numbered) - 1


def store_result(key: int, body: bytes, c: sqlite3.Connection) -> int:
    """Store one result; its number."""
    return store_results([(key, None, None, None, None, None, body)], c)[0]
