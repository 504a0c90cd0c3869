"""The text of the statements: named queries from `sql/*.sql`, and what each is in PostgreSQL.

A query is `-- name: x`, a comment of why, then the statement. It is SQLite's; most are PostgreSQL's as well. A list
that is read from either end is written once: `-- name: x, and backwards: y`, and its `ORDER BY column LIMIT` is turned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from orchestrator.store.postgres.dialect import Statement

_NAME = re.compile(r"^-- name: (\w+)(?:, and backwards: (\w+))?\n", re.MULTILINE)
_ORDER = re.compile(r"(ORDER BY \w+)(?= LIMIT :limit$)")


class Query(str):
    """The text of one statement."""

    __slots__ = ("_made", "_place")
    _place: tuple[str, str]
    _made: Statement | None

    def __new__(cls, text: str, file: str, name: str) -> Self:
        """The query *name* of `sql/<file>.sql`."""
        query = super().__new__(cls, text)
        query._place = file, name
        query._made = None
        return query

    @property
    def twin(self) -> str:
        """The text that PostgreSQL has in its place, or this one."""
        from orchestrator.store.postgres import dialect

        return dialect.twins(self._place[0]).get(self._place[1], str(self))

    @property
    def postgres(self) -> Statement:
        """The same for PostgreSQL; made when it is first asked for."""
        if self._made is None:
            from orchestrator.store.postgres import dialect

            self._made = dialect.translated(self.twin)
        return self._made


@cache
def load(name: str) -> Mapping[str, Query]:
    """The queries of `sql/<name>.sql`, by their names."""
    return MappingProxyType({key: Query(text, name, key) for key, text in read_queries(name).items()})


def read_queries(name: str) -> Mapping[str, str]:
    """The text of each query of `sql/<name>.sql`, by their names."""
    text = resources.files(__package__).joinpath("sql", f"{name}.sql").read_text("utf-8")
    found: dict[str, str] = {}
    parts = iter(_NAME.split(text)[1:])
    for forwards, backwards, statement in zip(parts, parts, parts, strict=True):
        found[forwards] = statement.strip()
        if backwards is not None:
            found[backwards] = _ORDER.sub(r"\1 DESC", found[forwards])
    return found
