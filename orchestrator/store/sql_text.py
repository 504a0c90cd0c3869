"""The text of the statements: named queries from `sql/*.sql`, and INSERTs of many rows at once.

A query is `-- name: x`, a comment of why, then the statement. What SQLite and Python do once per statement is shared by
hundreds of rows.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def load(name: str) -> Mapping[str, str]:
    """The queries of `sql/<name>.sql`, by their names."""
    text = resources.files(__package__).joinpath("sql", f"{name}.sql").read_text("utf-8")
    parts = _NAME.split(text)[1:]
    return MappingProxyType(dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True)))


#: Measured for requests: 4.1 us of CPU a row by `executemany`, 2.5 in twenties, 2.2 in hundreds, 2.1 in 500s. And after
#: each statement another thread may take the interpreter: beside a busy one 3.5 us a row in hundreds, 1.7 in 500s.
_ROWS: Final = 500


def insert_rows(c: sqlite3.Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run *sql*, an INSERT that ends in `VALUES (…)`, for all *rows*, in order."""
    whole = len(rows) - len(rows) % _ROWS
    many = _repeated(sql, _ROWS)
    for start in range(0, whole, _ROWS):
        c.execute(many, tuple(chain.from_iterable(rows[start : start + _ROWS])))
    c.executemany(sql, rows[whole:])


@cache
def _repeated(sql: str, times: int) -> str:
    """The same INSERT for so many rows."""
    head, values, row = sql.rpartition("VALUES ")
    return head + values + ", ".join([row] * times)
