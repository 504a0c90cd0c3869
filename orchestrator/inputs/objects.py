"""Requests handed over as Python objects: the SDK's own `Request` dicts, or anything that looks like them."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.inputs.intake import Chunker, Item
from orchestrator.inputs.one_line import read_line
from orchestrator.ports.source import InputLine, Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from orchestrator.domain.params import Rules

#: How many items are taken before other tasks get their turn.
_BREATH_ITEMS: Final = 64
_NAN: Final = "NaN and infinity are not JSON numbers"


class ObjectSource:
    """Requests from an iterable or async iterable of `{"custom_id": …, "params": {…}}`.

    Each is encoded the moment it is taken, so a caller may reuse and change its dict. Items may be mappings or have
    `model_dump` (pydantic), at any depth; iterators inside become arrays, bytes become base64 text. "line" in problems
    and requests is the item's number, from 1. Problems tell, they do not raise; what the iterable itself raises, rises.
    """

    def __init__(self, requests: Iterable[object] | AsyncIterable[object], *, name: str, rules: Rules) -> None:
        self._requests = requests
        self._name = name
        self._rules = rules
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._ended = False

    @property
    def name(self) -> str:
        """What is shown before ":line"."""
        return self._name

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the JSON Lines that these objects are. Raises RuntimeError before `chunks` is exhausted."""
        if not self._ended:
            raise RuntimeError("the source was not read to its end")
        return self._hash.hexdigest()

    @property
    def size_bytes(self) -> int:
        """Bytes of JSON Lines that were made so far."""
        return self._size_bytes

    async def chunks(self) -> AsyncIterator[Sequence[Item]]:
        """The requests and the problems, in order. Once only.

        Encoding runs on the event loop, in the order of the caller's iterable (whose objects may belong to its
        thread), and lets others run after every few items.
        """
        chunker, number = Chunker(), 0
        async for request in _one_by_one(self._requests):
            number += 1
            for item in self._read(request, number):
                if full := chunker.add(item):
                    yield full
        if number == 0:
            message, remedy = "has no requests: the iterable is empty", "hand over at least one request"
            chunker.add(Problem(line=0, field="", message=message, remedy=remedy, raw=b""))
        if last := chunker.take():
            yield last
        self._ended = True

    def _read(self, request: object, number: int) -> list[Item]:
        try:
            line = _encode(request)
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            message, remedy = f"cannot be written as JSON: {exc}", "hand over plain dicts, lists, strings and numbers"
            return [Problem(line=number, field="", message=message, remedy=remedy, raw=b"")]
        self._hash.update(line + b"\n")
        self._size_bytes += len(line) + 1
        read = read_line(line, number, self._rules)
        return [read] if isinstance(read, InputLine) else list(read)


def source_from_objects(requests: Iterable[object] | AsyncIterable[object], *, name: str, rules: Rules) -> ObjectSource:
    """The requests in *requests*; *name* is what problems call it, as in "requests:17"."""
    return ObjectSource(requests, name=name, rules=rules)


async def _one_by_one(requests: Iterable[object] | AsyncIterable[object]) -> AsyncIterator[object]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
        return
    for number, request in enumerate(requests, start=1):
        yield request
        if number % _BREATH_ITEMS == 0:
            await asyncio.sleep(0)


def _plain(value: object) -> object:
    """What msgspec does not know by itself, as something that it does."""
    dump: Callable[..., object] | None = getattr(value, "model_dump", None)
    if dump is not None:
        # As the SDK sends its own models: only what was set, under the API's names.
        excluded = getattr(value, "__api_exclude__", None)
        return dump(mode="json", by_alias=True, exclude_unset=True, exclude=excluded)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        items = list(value)
        if _has_nan(items):  # an iterator cannot be looked at again
            raise ValueError(_NAN)
        return items
    raise TypeError(f"{type(value).__name__} has no JSON form")


_json: Final = msgspec.json.Encoder(enc_hook=_plain).encode


def _encode(request: object) -> bytes:
    """*request* as one line of JSON. Raises TypeError, ValueError (NaN, half a surrogate pair), RecursionError."""
    line = _json(request)
    if b"null" in line and _has_nan(request):  # msgspec writes NaN and infinity as null: another request than meant
        raise ValueError(_NAN)
    return line


def _has_nan(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(_has_nan(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return any(_has_nan(inner) for inner in value)
    dump: Callable[[], object] | None = getattr(value, "model_dump", None)
    return dump is not None and _has_nan(dump())
