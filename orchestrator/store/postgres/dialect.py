"""A statement of SQLite's as PostgreSQL takes it: placeholders, a handful of rules, or a twin of its own.

Twins stand under the same name in `sql/postgres/<file>.sql`, each with the reason why no rule makes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from orchestrator.store.sql_connection import Values
from orchestrator.store.sql_text import read_queries

_COMMENT: Final = re.compile(r"('(?:[^']|'')*')|--[^\n]*")
#: A literal or a quoted name, a cast, a parameter, or what psycopg takes for one.
_TOKEN: Final = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|::|:(\w+)|\?|%")
_LISTED: Final = re.compile(r"json_each\(:(\w+)\)")
_INSERT: Final = re.compile(r"INSERT INTO (\w+) \(([\w,\s]+)\)\s+VALUES \(([?,\s]+)((?:, *'\w*')*)\)")
_GIVEN: Final = re.compile(r"\(VALUES \([?, ]+\)\) AS given\b")
#: Parameters that are lists of numbers; every other list is one of texts.
_NUMBERS: Final = frozenset({"ids", "keys", "numbers"})

_RULES: Final = (
    # An index serves `= ANY`; a list is handed over as an array (`Statement.fitted`).
    (r"\bIN \(SELECT value FROM (json_each\(:\w+\))\)", r"= ANY(\1)"),
    (r"\bFROM (json_each\(:\w+\)) AS (\w+)", r"FROM unnest(\1) AS \2 (value)"),
    (r"\bFROM (json_each\(:\w+\))", r"FROM unnest(\1) AS listed (value)"),
    # CROSS JOIN is SQLite's way to say which table is outside.
    (r"\bCROSS JOIN (\w+) ON\b", r"JOIN \1 ON"),
    (r"\s+INDEXED BY \w+", r""),
    (r"\bIS NOT (?!NULL\b|DISTINCT\b)(:?\w)", r"IS DISTINCT FROM \1"),
    (r"\bIS (?!NULL\b|NOT\b|DISTINCT\b)(:?\w)", r"IS NOT DISTINCT FROM \1"),
    (r"\bx'(\w*)'", r"'\\x\1'::bytea"),
    (r"\bmax\((\w+), (:\w+)\)", r"greatest(\1, \2)"),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """Text with psycopg's placeholders. lists: parameters that are JSON lists for SQLite, and arrays here."""

    text: bytes
    lists: frozenset[str]

    def fitted(self, values: Values) -> Values:
        """*values* as the text takes them."""
        if not self.lists or not isinstance(values, Mapping):
            return values
        return {key: json.loads(value) if key in self.lists else value for key, value in values.items()}


@cache
def translated(sql: str) -> Statement:
    """*sql* by the rules."""
    text = _COMMENT.sub(lambda found: found[1] or "", sql).strip()
    lists = frozenset(_LISTED.findall(text))
    for pattern, new in _RULES:
        text = re.sub(pattern, new, text)
    text = _LISTED.sub(lambda found: f"CAST(:{found[1]} AS {_kind_of(found[1])}[])", text)
    return Statement(_TOKEN.sub(_placeholder, text).encode(), lists)


def _kind_of(parameter: str) -> str:
    return "bigint" if parameter in _NUMBERS else "text"


def _placeholder(found: re.Match[str]) -> str:
    if found[1]:
        return f"%({found[1]})s"
    return "%s" if found[0] == "?" else found[0].replace("%", "%%")


@cache
def of_arrays(sql: str, kinds: tuple[str, ...]) -> bytes:
    """*sql*, with the rows of its one `(VALUES (?, …)) AS given` in an array for each column, of these *kinds*."""
    arrays = ", ".join(f"?::{kind}[]" for kind in kinds)
    names = ", ".join(f"column{number}" for number in range(1, len(kinds) + 1))
    text, count = _GIVEN.subn(f"unnest({arrays}) AS given ({names})", sql)
    if count != 1:
        raise ValueError(f"not an UPDATE of many rows: {sql}")
    return translated(text).text.replace(b"%s", b"%b")


@cache
def twins(file: str) -> Mapping[str, str]:
    """The statements of `sql/<file>.sql` that PostgreSQL has in a form of its own, by their names."""
    there = resources.files("orchestrator.store").joinpath("sql", "postgres", f"{file}.sql").is_file()
    return read_queries(f"postgres/{file}") if there else {}


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT of one row: its table, its columns, and the constants that its last columns get."""

    table: str
    columns: tuple[str, ...]
    constants: tuple[str, ...]

    def copy_in(self) -> bytes:
        """The same as a COPY, for which every value is sent."""
        return f"COPY {self.table} ({', '.join(self.columns)}) FROM STDIN (FORMAT BINARY)".encode()

    def of_arrays(self, kinds: Sequence[str]) -> bytes:
        """The same for many rows at once: an array for each column of these *kinds*, without those of constants."""
        names = [f"c{number}" for number in range(len(kinds))]
        arrays = ", ".join(f"%b::{kind}[]" for kind in kinds)
        taken = ", ".join([*names, *(f"'{constant}'" for constant in self.constants)])
        head = f"INSERT INTO {self.table} ({', '.join(self.columns)})"
        return f"{head} SELECT {taken} FROM unnest({arrays}) AS given ({', '.join(names)})".encode()  # noqa: S608 - names of our schema


@cache
def insert_of(sql: str) -> Insert:
    """What *sql*, an INSERT that ends in `VALUES (?, …)`, says."""
    found = _INSERT.fullmatch(" ".join(_COMMENT.sub(lambda each: each[1] or "", sql).split()))
    if found is None:
        raise ValueError(f"not an INSERT of many rows: {sql}")
    columns = tuple(name.strip() for name in found[2].split(","))
    return Insert(found[1], columns, tuple(re.findall(r"'(\w*)'", found[4])))


def hidden(text: Any) -> Any:  # noqa: ANN401 - a text, or what is none
    """*text* without NUL, which no text of PostgreSQL holds: two control characters stand for it, in the same order."""
    if isinstance(text, str) and ("\x00" in text or "\x01" in text):
        return text.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")
    return text


def shown(text: str) -> str:
    """The text that `hidden` hid."""
    return text.replace("\x01\x01", "\x00").replace("\x01\x02", "\x01") if "\x01" in text else text
