"""Requests given as Python objects: the SDK's own `Request` dicts, or anything like them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from io import IOBase
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from orchestrator.domain.errors import UsageError
from orchestrator.inputs.json_encoding import NotJsonError, encode_json
from orchestrator.inputs.line_parser import read_line
from orchestrator.ports.streams import Chunker, InputItem, InputLine, InputProblem, Source

if TYPE_CHECKING:
    from orchestrator.domain.params import ParamRules

#: How many items are taken before other tasks get their turn.
_BREATH_ITEMS: Final = 64
_KEYS: Final = frozenset({"custom_id", "params", "row"})
_NO_REQUEST: Final = "has neither custom_id nor params"
_ROWS: Final = 'is it a row? rows are handed in with prompt="… {{ column }} …"'
_OF_FILES: Final = {"requests": "a file goes to submit_file", "rows": "of a table give the path"}
#: What tells a frame of data, which iterates into its columns, and how its rows are had: polars, Arrow, pandas.
_FRAMES: Final = (
    ("iter_rows", "df.iter_rows(named=True)"),
    ("to_pylist", "table.to_pylist()"),
    ("iterrows", 'df.to_dict("records")'),
)


class ObjectSource(Source):
    """Requests from an iterable or async iterable of `{"custom_id": …, "params": {…}}`.

    Each is encoded the moment it is taken, so a caller may reuse and change its dict. Items may be mappings or have
    `model_dump` (pydantic), at any depth. Their content is encoded as the API's SDK does it: iterators and sets become
    arrays, dates ISO 8601 text; an open file, a `pathlib.Path` or bytes in place of base64 data are encoded as that. A
    Decimal keeps its digits, numpy's scalars are numbers. Anything else that JSON cannot express is a problem of its
    field.

    "line" in problems and requests is the item's number, from 1. Problems are yielded, not raised; what the iterable
    raises is raised. Raises UsageError for *requests* that are one thing, not many.
    """

    def __init__(self, requests: Iterable[object] | AsyncIterable[object], *, name: str, rules: ParamRules) -> None:
        refuse_one(requests, "requests")
        self._requests = requests
        self._name = name
        self._rules = rules
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._ended = False

    @property
    @override
    def name(self) -> str:
        return self._name

    @property
    @override
    def content_hash(self) -> str:
        if not self._ended:
            raise RuntimeError("the source was not read to its end")
        return self._hash.hexdigest()

    @property
    @override
    def size_bytes(self) -> int:
        return self._size_bytes

    async def chunks(self) -> AsyncGenerator[Sequence[InputItem], None]:
        """Yield the requests and the problems, in order. Once only.

        Encoding runs on the event loop, in the order of the caller's iterable (whose objects may belong to its thread),
        and gives the loop a turn after every few items.
        """
        chunker, number = Chunker(), 0
        async for request in one_by_one(self._requests):
            number += 1
            for item in self._read(request, number):
                if full := chunker.add(item):
                    yield full
        if number == 0:
            message, remedy = "has no requests: the iterable is empty", "hand over at least one request"
            chunker.add(InputProblem(line=0, field="", message=message, remedy=remedy, raw=b""))
        if last := chunker.take():
            yield last
        self._ended = True

    def _read(self, request: object, number: int) -> list[InputItem]:
        if isinstance(request, Mapping) and request and not request.keys() & _KEYS:
            return [InputProblem(line=number, field="", message=_NO_REQUEST, remedy=_ROWS, raw=b"")]
        try:
            line = encode_json(request)
        except NotJsonError as exc:
            return [InputProblem(line=number, field=exc.field, message=exc.message, remedy=exc.remedy, raw=b"")]
        self._hash.update(line + b"\n")
        self._size_bytes += len(line) + 1
        read = read_line(line, number, self._rules)
        return [read] if isinstance(read, InputLine) else [_for_a_program(problem) for problem in read]


def source_from_objects(
    requests: Iterable[object] | AsyncIterable[object], *, name: str, rules: ParamRules
) -> ObjectSource:
    """The requests in *requests*; *name* stands in problems, as in "requests:17"."""
    return ObjectSource(requests, name=name, rules=rules)


async def one_by_one(requests: Iterable[object] | AsyncIterable[object]) -> AsyncIterator[object]:
    """The items of either, with a turn for other tasks after every few."""
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
        return
    for number, request in enumerate(requests, start=1):
        yield request
        if number % _BREATH_ITEMS == 0:
            await asyncio.sleep(0)


def refuse_one(many: object, called: str) -> None:
    """Raise UsageError for what iterates into other things than requests or rows, which are *called* so.

    A text, a dict, a file, a frame of data.
    """
    kind = type(many).__name__
    if isinstance(many, str | os.PathLike | IOBase):
        raise UsageError(f"{called} is of type {kind}", hint=f"hand over an iterable of {called}; {_OF_FILES[called]}")
    for attribute, how in _FRAMES:
        if not isinstance(many, type) and callable(getattr(many, attribute, None)):
            with_prompt = "" if called == "rows" else " with a prompt"
            raise UsageError(f"{called} is of type {kind}", hint=f"hand over its rows{with_prompt}: {how}")
    if isinstance(many, Mapping | bytes | bytearray | memoryview) or hasattr(many, "model_dump"):
        hint = f"hand over an iterable of {called}; one alone is [{called.removesuffix('s')}]"
        raise UsageError(f"{called} is of type {kind}", hint=hint)
    if not isinstance(many, Iterable | AsyncIterable) or isinstance(many, type):
        raise UsageError(f"{called} is of type {kind}, which cannot be iterated", hint=f"hand over a list of {called}")


def _for_a_program(problem: InputProblem) -> InputProblem:
    """The problem with a remedy for Python."""
    if problem.field == "custom_id" and problem.message.startswith("must be a string"):
        return replace(problem, remedy='make it text, such as str(42): results come back with the text "42"')
    return problem
