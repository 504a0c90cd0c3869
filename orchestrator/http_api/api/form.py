"""Streaming parser of a multipart form: the fields, then the file in blocks. The file is never held in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from orchestrator.domain import errors, job_spec, table_spec

_MAX_FIELD_BYTES: Final = 64 * 1024
#: These may have as much as all together: a template may have a long text in it.
_TEXTS: Final = frozenset(table_spec.ROW_OPTIONS[field].param for field in ("prompt", "system"))
_MAX_FIELDS: Final = 200
#: The names and values of all fields together.
_MAX_FIELDS_BYTES: Final = 1 << 20
_MAX_HEADER_BYTES: Final = 8 * 1024
#: The fields that may come several times.
_REPEATABLE: Final = frozenset(
    (
        *(option.param for option in job_spec.OPTIONS.values() if option.is_list),
        *(option.param for option in table_spec.ROW_OPTIONS.values() if option.is_list),
    )
)
_FILE: Final = "file"
_HINT: Final = "send multipart/form-data: options as fields, then the file as the part 'file'"
_AS_FILE: Final = "save the text as a file, and choose that one in place of pasting it"


class Form:
    """`fields`, then `blocks` of the part called "file". Raises UsageError for a form that is wrong.

    long: the names of further fields that may be as long as all together: texts in place of the file.
    """

    def __init__(
        self, content_type: str, blocks: AsyncGenerator[bytes, None], *, long: frozenset[str] = frozenset()
    ) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise _wrong("its Content-Type names no boundary")
        self._blocks = blocks
        try:
            self._parts = _Parts(boundary, long)
        except FormParserError as exc:
            raise _wrong(str(exc)) from exc

    async def fields(self) -> dict[str, str | list[str]]:
        """The fields before the file; those of `_REPEATABLE` are lists. `source` defaults to the name of the file."""
        while not self._parts.has_file:
            piece = await anext(self._blocks, None)
            if piece is None:
                raise _wrong("it has no part called 'file'")
            self._parts.feed(piece)
        return self._parts.fields

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The file, in blocks."""
        async with aclosing(self._blocks):
            for held in self._parts.taken():
                yield held
            async for piece in self._blocks:
                self._parts.feed(piece)
                for held in self._parts.taken():
                    yield held
        self._parts.close()


class _Parts:
    """Callbacks of the parser: collect the fields, and buffer the file until `taken`."""

    def __init__(self, boundary: bytes, in_place_of_file: frozenset[str]) -> None:
        self._in_place_of_file = in_place_of_file
        self.fields: dict[str, str | list[str]] = {}
        self.has_file = False
        self._count = 0
        self._bytes = 0
        self._is_whole = False
        self._file: deque[bytes] = deque()
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._part: str | None = None
        self._held = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._all,
            },
        )

    def feed(self, piece: bytes) -> None:
        """Parse *piece*. Raises UsageError."""
        try:
            self._parser.write(piece)
        except FormParserError as exc:
            raise _wrong(str(exc)) from exc

    def taken(self) -> list[bytes]:
        """Remove and return the buffered pieces of the file."""
        pieces = list(self._file)
        self._file.clear()
        return pieces

    def close(self) -> None:
        """Raises UsageError for a form that was cut."""
        if not self._is_whole:
            raise _wrong("it ends before its last boundary")

    def _begin(self) -> None:
        self._headers, self._part = {}, None
        self._held.clear()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._gather(self._name, data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._gather(self._value, data[start:end])

    def _header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        described = parse_options_header(self._headers.get(b"content-disposition", b""))[1]
        name = described.get(b"name", b"").decode("utf-8", "replace")
        if not name:
            raise _wrong("a part has no name")
        if self.has_file:
            raise _wrong(f"{name[:50]!r} comes after the file: options come before it, and one file is taken")
        self._part = name
        self.has_file = name == _FILE
        filename = described.get(b"filename", b"").decode("utf-8", "replace")
        if self.has_file and filename:  # a path of another machine's means nothing here: only its last part is kept
            self.fields.setdefault("source", filename.replace("\\", "/").rpartition("/")[2][:255] or _FILE)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part == _FILE:
            self._file.append(data[start:end])
        else:
            name = str(self._part)
            most = _MAX_FIELDS_BYTES if name in _TEXTS | self._in_place_of_file else _MAX_FIELD_BYTES
            if len(self._held) + end - start > most:
                hint = _AS_FILE if name in self._in_place_of_file else _HINT
                raise _wrong(f"the field {name[:50]!r} has more than {most >> 10:,} KiB", hint)
            self._held += data[start:end]

    def _end(self) -> None:
        name = self._part
        if name is None or name == _FILE:
            return
        self._count_in(name)
        try:
            value = self._held.decode()
        except UnicodeDecodeError as exc:
            raise _wrong(f"the field {name[:50]!r} is not UTF-8") from exc
        if name in _REPEATABLE:
            cast("list[str]", self.fields.setdefault(name, [])).append(value)
        elif name in self.fields:
            raise _wrong(f"the field {name[:50]!r} comes twice")
        else:
            self.fields[name] = value

    def _count_in(self, name: str) -> None:
        self._count += 1
        self._bytes += len(name) + len(self._held)
        if self._count > _MAX_FIELDS or self._bytes > _MAX_FIELDS_BYTES:
            hint = _HINT if self._in_place_of_file.isdisjoint({name, *self.fields}) else _AS_FILE
            why = f"it has more than {_MAX_FIELDS} fields, or more than {_MAX_FIELDS_BYTES >> 20} MiB of them"
            raise _wrong(why, hint)

    def _all(self) -> None:
        self._is_whole = True

    @staticmethod
    def _gather(held: bytearray, piece: bytes) -> None:
        if len(held) + len(piece) > _MAX_HEADER_BYTES:
            raise _wrong("a header of it is too long")
        held += piece


def _wrong(why: str, hint: str = _HINT) -> errors.UsageError:
    return errors.UsageError("the form cannot be read", cause=why, hint=hint)
