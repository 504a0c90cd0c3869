"""What the store's steps ask of a connection; the same steps run on every database that has one.

Values stand where `?` or `:name` is. A step runs whole, in one transaction or one snapshot, on one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from orchestrator.domain.ids import BatchId
from orchestrator.ports.dispatch import UnitKind

Values = Sequence[Any] | Mapping[str, Any]


class Rows(Protocol):
    """The answer to one statement."""

    @property
    def rowcount(self) -> int:
        """How many rows an INSERT, UPDATE or DELETE wrote."""
        ...

    @property
    def description(self) -> Sequence[Sequence[Any]]:
        """The columns of a SELECT: the first of each is its name."""
        ...

    def fetchone(self) -> Any:  # noqa: ANN401 - a row is a tuple of what the statement names
        """The next row, a tuple; None at the end."""
        ...

    def fetchall(self) -> list[Any]:
        """Every row that is left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one after the other."""
        ...

    def close(self) -> None:
        """No more of them are wanted."""
        ...


class SqlConnection(Protocol):
    """One connection, inside a transaction that somebody else begins and ends."""

    def execute(self, sql: str, values: Values = (), /) -> Rows:
        """Run one statement; its answer is small, or is held whole."""
        ...

    def executemany(self, sql: str, rows: Iterable[Values], /) -> Rows:
        """Run one statement for each of *rows*, in order."""
        ...

    def insert_rows(self, sql: str, rows: Sequence[tuple[Any, ...]], /) -> None:
        """Run *sql*, an INSERT that ends in `VALUES (…)`, for all *rows*, in order."""
        ...

    def update_rows(self, sql: str, rows: Sequence[tuple[Any, ...]], /) -> int:
        """Run *sql*, an UPDATE of what one `VALUES (?, …)` in it names, for all *rows*; how many rows it wrote.

        In as few statements as possible: so none of *rows* may name what another one does.
        """
        ...

    def stream(self, sql: str, values: Values = (), /) -> Rows:
        """As `execute`, for a SELECT whose answer may be large: rows come as they are asked for."""
        ...

    def due(self, kind: UnitKind, batch: BatchId, priority: int, /) -> None:
        """Have somebody look at *batch*, if this transaction is committed."""
        ...

    def assert_in_turn(self) -> None:
        """Raise AssertionError if others may be writing events meanwhile."""
        ...
