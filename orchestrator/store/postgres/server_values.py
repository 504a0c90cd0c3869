"""How values travel to a PostgreSQL server and back: as SQLite would take and give them."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.adapt import AdaptersMap, Loader
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper, NumericBinaryLoader
from psycopg.types.string import StrBinaryDumper, StrDumperUnknown, TextBinaryLoader
from typing_extensions import override

from orchestrator.store.postgres import dialect


class _Whole(Loader):
    """`sum(bigint)` is numeric in PostgreSQL; we only ever count."""

    format = pq.Format.BINARY

    def __init__(self, oid: int, context: Any = None) -> None:  # noqa: ANN401 - psycopg's
        super().__init__(oid, context)
        self._number = NumericBinaryLoader(oid, context)

    @override
    def load(self, data: Any) -> int:
        return int(self._number.load(data))


class _Shown(TextBinaryLoader):
    @override
    def load(self, data: Any) -> Any:
        text = super().load(data)
        return dialect.shown(text) if isinstance(text, str) else text


class _Hidden(StrBinaryDumper):
    @override
    def dump(self, obj: str) -> Any:
        return super().dump(dialect.hidden(obj))


class _HiddenUnknown(StrDumperUnknown):
    @override
    def dump(self, obj: str) -> Any:
        return super().dump(dialect.hidden(obj))


def _adapters() -> AdaptersMap:
    """Every whole number is a bigint, so that a statement is prepared once; texts may hold NUL."""
    adapters = AdaptersMap(psycopg.adapters)
    for dumper in (Int8BinaryDumper, Int8Dumper):  # what is registered last is taken where both would do
        adapters.register_dumper(int, dumper)
    for hiding in (_Hidden, _HiddenUnknown):
        adapters.register_dumper(str, hiding)
    adapters.register_loader("numeric", _Whole)
    adapters.register_loader("text", _Shown)
    return adapters


#: For every connection.
ADAPTERS: Final = _adapters()
