"""A look at the first rows of a table: which column names a row, and which ones have texts to ask about."""

from __future__ import annotations

import re
import threading
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from orchestrator.domain.errors import InputError
from orchestrator.tables.kinds import TableInput, open_rows
from orchestrator.tables.table import TableRefused, TableRow

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROWS: Final = 100
_MOST_TEXTS: Final = 3
#: So many words on average are a text that somebody wrote, and not a name or a category.
_WORDS: Final = 3
#: `id`, `review_id`, `reviewId`, `UUID`.
_CAMEL: Final = re.compile(r".*[a-z](?:Id|ID)")
_SEPARATED: Final = re.compile(r"(?:.*[_\- .])?(?:id|uuid|key)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLook:
    """What the first rows say. columns: theirs. texts: those to ask about, at least one.

    id_column: a guess; None: no column is called so and unique, or the rows are named by themselves.
    """

    columns: tuple[str, ...]
    id_column: str | None
    texts: tuple[str, ...]


def look_at(given: TableInput) -> FirstLook:
    """Read the first rows of *given*. Raises InputError where there are none, UsageError as `open_rows` does."""
    stop = threading.Event()
    table = open_rows(given, stop)
    try:
        with closing(table.rows()) as rows:
            found = [row.values for row in islice(rows, _ROWS) if isinstance(row, TableRow)]
    except TableRefused as exc:
        raise InputError(f"{given.name} {exc.message}", hint=exc.remedy) from exc
    finally:
        stop.set()
    columns = tuple(dict.fromkeys([*(table.columns or ()), *(name for row in found for name in row)]))
    if not found or not columns:
        raise InputError(f"{given.name}: its first rows cannot be read", hint="`orchestrator check` says what is wrong")
    own = None if table.id_column is not None else _id_column(columns, found)
    others = [name for name in columns if name not in {own, table.id_column}]
    return FirstLook(columns=columns, id_column=own, texts=_texts(others or columns, found))


def _id_column(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str | None:
    """The shortest name that is called like an id, whose values are one each."""
    named = [name for name in columns if _SEPARATED.fullmatch(name) or _CAMEL.fullmatch(name)]
    return next((name for name in sorted(named, key=len) if _is_unique([row.get(name) for row in rows])), None)


def _is_unique(values: Sequence[object]) -> bool:
    texts = [str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)]
    return len(texts) == len(values) == len(set(texts)) and all(texts)


def _texts(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The columns that somebody wrote something into, in their order; the longest one if there are none."""
    words = {name: _mean([len(text.split()) for text in _of(name, rows)]) for name in columns}
    written = sorted((name for name in columns if words[name] >= _WORDS), key=lambda name: -words[name])[:_MOST_TEXTS]
    if not written:
        written = [max(columns, key=lambda name: _mean([len(text) for text in _of(name, rows)]))]
    return tuple(name for name in columns if name in written)


def _of(name: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    return [value for row in rows if isinstance(value := row.get(name), str)]


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0
