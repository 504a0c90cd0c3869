"""Copies a store into a blank one of another kind: every row, in one transaction, and read again to compare it.

Rows are streams on both sides: memory does not grow with the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from typing_extensions import override

from orchestrator.domain import errors
from orchestrator.store import connect, identity, moved, sql_text
from orchestrator.store.mark import read_mark
from orchestrator.store.sql_connection import SqlConnection

Row = tuple[Any, ...]
#: SQLite's alone.
FILE_SQL: Final = sql_text.load("maintenance")
#: All that is a store's own, parents first. Of `stop_reason` the first rows are the migrations'.
TABLES: Final = (
    *("meta", "job", "batch", "request", "known_id", "payload", "result", "stop_reason", "stop_count", "attempt"),
    *("remote", "candidate", "spare", "gate", "attention", "refused_line", "event", "sample", "endpoint", "delivery"),
    *("reconciliation", "stray", "price", "ledger", "budget", "spending", "prefix", "prefixed", "estimate", "piloted"),
    *("source_row", "fingerprint", "param_change"),
)
_BEGUN: Final = "stop_reason"
#: Rows of one write, and what they may take: one row alone may be larger.
_ROWS: Final = 2000
_BYTES: Final = 4 << 20
_DIGITS: Final = (1 << 64) - 1


class MoveSide(Protocol):
    """One of the two stores, inside a transaction."""

    c: SqlConnection

    def columns(self, table: str) -> list[str]:
        """The columns of *table* that are written, in their order."""
        ...

    def rows(self, table: str, columns: Sequence[str]) -> Iterable[Row]:
        """All rows, in any order; read as they are asked for."""
        ...

    def last_numbers(self) -> dict[str, int]:
        """The last number that each table with a counter gave away."""
        ...

    def count_from(self, numbers: Mapping[str, int]) -> None:
        """Give away none of *numbers* again, nor one that is in use."""
        ...


@dataclass(slots=True)
class Tally:
    """How many rows there were, and a sum of their hashes, whatever their order. Good in this process only."""

    count: int = 0
    digest: int = 0

    def counting(self, rows: Iterable[Row]) -> Iterator[Row]:
        """*rows*, counted as they pass."""
        for row in rows:
            self.count += 1
            self.digest = (self.digest + hash(row)) & _DIGITS
            yield row


def copy_store(source: MoveSide, target: MoveSide) -> None:
    """Fill *target*, which has tables and nothing of its own in them. Raises StoreError if it is not all there then."""
    sent = {table: _copy_table(table, source, target) for table in TABLES}
    target.count_from(source.last_numbers())
    for table, tally in sent.items():
        found = Tally()
        for _ in found.counting(target.rows(table, _common(table, source, target))):
            pass
        if found != tally:
            raise errors.StoreError(
                f"the copy of the table {table} is not what was there",
                cause=f"{tally.count} rows were read, and {found.count} are there, or differ",
                hint="nothing was changed, the old store is in use; please report this",
            )


def _copy_table(table: str, source: MoveSide, target: MoveSide) -> Tally:
    columns, tally = _common(table, source, target), Tally()
    into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - our schema's names
    there = set(target.rows(table, columns)) if table == _BEGUN else set()
    rows = (row for row in tally.counting(source.rows(table, columns)) if row not in there)
    for some in _portions(rows):
        target.c.insert_rows(into, some)
    return tally


def _common(table: str, source: MoveSide, target: MoveSide) -> list[str]:
    """Columns of both: a server has one more, of who imports a job; nobody does."""
    known = set(target.columns(table))
    return [name for name in source.columns(table) if name in known]


def _portions(rows: Iterable[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    size = 0
    for row in rows:
        some.append(row)
        size += sum(len(value) for value in row if isinstance(value, bytes | str))
        if len(some) == _ROWS or size > _BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


class FileSide(MoveSide):
    """A store in a file."""

    def __init__(self, connection: connect.SqliteConnection) -> None:
        self.c = connection

    @override
    def columns(self, table: str) -> list[str]:
        return [row[1] for row in self.c.execute(f"PRAGMA table_info({table})")]  # without those that are generated

    @override
    def rows(self, table: str, columns: Sequence[str]) -> Iterable[Row]:
        wanted = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 - our schema's names
        return self.c.execute(wanted)

    @override
    def last_numbers(self) -> dict[str, int]:
        return dict(self.c.execute(FILE_SQL["counters"]))

    @override
    def count_from(self, numbers: Mapping[str, int]) -> None:
        for name, last in numbers.items():
            values = {"name": name, "last": last}
            if self.c.execute(FILE_SQL["count_from"], values).rowcount == 0:
                self.c.execute(FILE_SQL["begin_count"], values)


def check_source(source: MoveSide, where: str) -> None:
    """Raise GuardRefused if the store at *where* cannot be moved as it is."""
    moved.refuse_moved(source.c, where)
    count = source.c.execute(moved.SQL["submitting"]).fetchone()[0]
    if count:
        raise errors.GuardRefused(
            f"{where}: {count} batches were being sent when its engine ended",
            hint="start the engine once (`orchestrator serve`), which looks after them; then stop it, and move",
        )


def check_file(c: SqlConnection, path: Path) -> None:
    """Raise GuardRefused if the file at *path* is a copy, or was put back from one: it would be moved as it is."""
    standing = identity.standing(identity.read_meta(c), read_mark(path))
    if standing is identity.Standing.COPIED:
        raise identity.copied(path)
    if standing is identity.Standing.BEHIND:
        hint = "start the engine once (`orchestrator serve`): it begins to ask the API what is missing; then move"
        raise errors.GuardRefused(f"{path} was put back from a copy", hint=hint)


def is_waiting(target: MoveSide, source: MoveSide) -> bool:
    """Whether *target* is this very store, of a move that did not end."""
    word = moved.word_of(target.c)
    lineages = {identity.read_meta(side.c)["lineage"] for side in (target, source)}
    return word is not None and word.kind == moved.WAITING and len(lineages) == 1


def refuse_full(where: Path | str) -> None:
    """Raise GuardRefused for a place that is not empty."""
    raise errors.GuardRefused(f"there is a store at {where}", hint="nothing was changed; name an empty place")


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveReport:
    """What was moved."""

    jobs: int
    requests: int

    @classmethod
    def of(cls, c: SqlConnection) -> MoveReport:
        """By the counts of the store's jobs."""
        jobs, requests = c.execute(moved.SQL["sums"]).fetchone()
        return cls(jobs=jobs, requests=int(requests))
