"""Parses the body of a create incrementally: `{"requests":[{"custom_id":…,"params":{…}}, …]}`.

Memory stays at one item plus one piece, however long the body is. How: the separator between the first two items is
learned (`},{"custom_id"` for instance). From then on everything up to the *last* separator in hand is decoded as one
JSON array by msgspec. A separator that only looked like one (inside a string, or in a nested list) cannot be
mistaken: JSON is read from left to right, so if the cut-out part is a complete array, its end is an end of an item in
the whole body too. When the decode fails, a token scanner finds the true ends of the items, or the item that is
wrong.

The order of complaints is that of the API: a body that is not JSON before anything else, then the first wrong item.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from orchestrator.domain.batches_api import ApiError, duplicate_id, invalid_request, too_large
from orchestrator.domain.json_text import UNREADABLE, ItemScanner

_HEAD: Final = re.compile(rb'\s*\{\s*"requests"\s*:\s*\[\s*')
_HEAD_MAX: Final = 4096
_SEPARATOR: Final = re.compile(rb'\}\s*,\s*\{\s*"[^"\\]*"')
_PLACEHOLDER: Final = b'[{"custom_id":"","params":{}}'  # stands before a block that begins with a comma
#: A body may change its style on the way; without its separator for so long, items are looked for one by one.
_PATIENCE_BYTES: Final = 1 << 20
_ID_PATTERN: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")


class Item(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One request of the body; `params` are its bytes, untouched."""

    custom_id: str
    params: msgspec.Raw


_decode_items: Final = msgspec.json.Decoder(list[Item])
_decode_raws: Final = msgspec.json.Decoder(list[msgspec.Raw])
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class BodyReader:
    """Parses a body: `feed` yields items as soon as they are complete, `finish` raises what was wrong.

    *max_requests*, *max_bytes*: the API's limits; None: there is none. Only the size is complained about at once (413);
    every other fault waits for the end of the body, as at the API, which reads all of it before it answers.
    *max_held*: the most that is held at once, which bounds one item (413 at the end). *remembers_ids*: False where
    somebody else looks for ids that come twice; then memory does not grow with the number of items either.
    """

    def __init__(
        self,
        *,
        max_requests: int | None,
        max_bytes: int | None,
        max_held: int | None = None,
        remembers_ids: bool = True,
    ) -> None:
        self.received = 0
        self.count = 0
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._max_held = max_held
        self._remembers_ids = remembers_ids
        self._text = codecs.getincrementaldecoder("utf-8")()
        self._ids: set[str] = set()
        self._buffer = bytearray()
        self._inside = False
        self._whole = False
        self._begun = False
        self._stubborn = False
        self._separator: bytes | None = None
        self._scan = ItemScanner()
        self._searched = 0
        self._broken: ApiError | None = None
        self._wrong: ApiError | None = None

    @property
    def held_bytes(self) -> int:
        """What is held of items that are not whole yet."""
        return len(self._buffer)

    @property
    def is_broken(self) -> bool:
        """The body as a whole is refused, whatever its items are."""
        return self._broken is not None

    def feed(self, piece: bytes) -> Iterator[Item]:
        """The items that *piece* completes. Raises ApiError 413 as soon as the body is over the limit."""
        self.received += len(piece)
        if self._max_bytes is not None and self.received > self._max_bytes:
            raise too_large()
        if self._broken is not None:
            return
        self._read_as_text(piece)
        self._buffer += piece
        if not self._inside and not self._whole:
            self._open()
        if self._inside:
            yield from self._take()
        if self._max_held is not None and len(self._buffer) > self._max_held:
            self._broken = too_large()
        if self._broken is not None:
            self._buffer = bytearray()

    def finish(self) -> Iterator[Item]:
        """The last items; then raises ApiError if anything in the body was wrong."""
        self._read_as_text(b"", final=True)
        if self._broken is None:
            yield from self._close() if self._inside else self._read_whole()
        self._buffer = bytearray()
        self._ids = set()
        for problem in (self._broken, self._too_many(), self._wrong):
            if problem is not None:
                raise problem

    def _read_as_text(self, piece: bytes, *, final: bool = False) -> None:
        """Params are cut out without a look into their strings, so what is not UTF-8 has to be found here."""
        try:
            self._text.decode(piece, final)
        except UnicodeDecodeError as exc:
            self._broken = self._broken or invalid_request(f"The request body is not valid JSON: {exc.reason}")

    def _open(self) -> None:
        """Strip `{"requests":[`, or fall back to reading the body as a whole when it starts in another way."""
        head = _HEAD.match(self._buffer)
        if head is not None and head.end() < len(self._buffer):
            del self._buffer[: head.end()]
            self._inside = True
        elif len(self._buffer) > _HEAD_MAX:
            self._whole = True

    def _take(self) -> Iterator[Item]:
        """Items that are certainly whole: all up to the last separator in the buffer."""
        if self._separator is None:
            self._learn()
        if self._separator is None:
            return
        at = self._buffer.rfind(self._separator, self._searched)
        if at >= 0 and not self._stubborn:
            yield from self._cut(at + 1)
        elif at >= 0 or len(self._buffer) > _PATIENCE_BYTES:
            yield from self._cut_carefully()
        self._searched = max(0, len(self._buffer) - len(self._separator))

    def _cut(self, end: int) -> Iterator[Item]:
        """Take the first *end* bytes as items; when they are not, as many as a careful look finds."""
        opening = _PLACEHOLDER if self._begun else b"["
        try:
            items = _decode_items.decode(b"%b%b]" % (opening, bytes(self._buffer[:end])))
        except UNREADABLE:
            yield from self._cut_carefully()
            return
        if self._begun:
            del items[0]
        self._drop(end)
        for item in items:
            if self._accepts(item.custom_id, item.params):
                yield item

    def _cut_carefully(self) -> Iterator[Item]:
        """Take every item that the scanner finds whole; when there is none, scan on next time instead of decoding."""
        done = 0
        for end in self._scan.ends(self._buffer):
            piece = b"%b%b]" % (b"[0" if self._begun or done else b"[", bytes(self._buffer[done:end]))
            yield from self._examine_all(piece, skip=1 if self._begun or done else 0)
            done = end
            if self._broken is not None:
                break
        self._stubborn = done == 0
        if done:
            self._drop(done)

    def _learn(self) -> None:
        """Find the first item's end, and in what follows the separator that this body uses."""
        end = next(iter(self._scan.ends(self._buffer)), None)
        if end is None:
            return
        found = _SEPARATOR.match(self._buffer, end - 1)
        self._scan = ItemScanner()
        if found is not None:
            self._separator = found.group()

    def _drop(self, end: int) -> None:
        del self._buffer[:end]
        self._begun = True
        self._scan = ItemScanner()

    def _close(self) -> Iterator[Item]:
        """Read what is left: the last items, `]`, `}`."""
        rest = (b'{"requests":[0' if self._begun else b'{"requests":[') + self._buffer
        try:
            whole = _decode_object.decode(rest)
        except UNREADABLE:
            self._decode_failed(rest)
            return
        yield from self._examine_all(bytes(whole.pop("requests")), skip=1 if self._begun else 0)
        for name in whole:
            self._complain(f"{name}: Extra inputs are not permitted")

    def _examine_all(self, array: bytes, *, skip: int) -> Iterator[Item]:
        try:
            raws = _decode_raws.decode(array)
        except UNREADABLE:
            self._decode_failed(array)
            return
        for raw in raws[skip:]:
            yield from self._examine(bytes(raw))

    def _read_whole(self) -> Iterator[Item]:
        """A body of another shape than expected: read it at once, to say exactly what is wrong with it."""
        try:
            whole = _decode_object.decode(self._buffer)
        except msgspec.ValidationError:
            self._complain("Input should be a valid dictionary")
            return
        except UNREADABLE:
            self._decode_failed(bytes(self._buffer))
            return
        yield from self._read_members(whole)

    def _read_members(self, whole: dict[str, msgspec.Raw]) -> Iterator[Item]:
        try:
            items = _decode_raws.decode(whole.pop("requests"))
        except (KeyError, msgspec.ValidationError) as exc:
            wrong = "Field required" if isinstance(exc, KeyError) else "Input should be a valid list"
            self._complain(f"requests: {wrong}")
            self.count = 1
            return
        for raw in items:
            yield from self._examine(bytes(raw))
        for name in whole:
            self._complain(f"{name}: Extra inputs are not permitted")

    def _examine(self, raw: bytes) -> Iterator[Item]:
        """Take one item that may be wrong, and say what is wrong with it in the API's words."""
        place = f"requests.{self.count}"
        try:
            members = _decode_object.decode(raw)
        except msgspec.ValidationError:
            self._skip(f"{place}: Input should be a valid dictionary")
            return
        except UNREADABLE:
            self._decode_failed(raw)
            return
        problem = _item_problem(place, members)
        if problem is not None:
            self._skip(problem)
            return
        custom_id = msgspec.json.decode(members["custom_id"], type=str)
        if self._accepts(custom_id, members["params"]):
            yield Item(custom_id, members["params"])

    def _accepts(self, custom_id: str, params: msgspec.Raw) -> bool:
        """Count an item and note what is wrong with it. Past the first wrong one, items are only counted."""
        place = self.count
        self.count += 1
        if self._wrong is not None:
            return False
        if custom_id in self._ids:
            self._wrong = duplicate_id(custom_id)
            return False
        problem = _id_problem(custom_id) or _params_problem(params)
        if problem is not None:
            self._complain(f"requests.{place}.{problem}")
            return False
        if self._remembers_ids:
            self._ids.add(custom_id)
        return self._max_requests is None or self.count <= self._max_requests

    def _skip(self, problem: str) -> None:
        self.count += 1
        self._complain(problem)

    def _complain(self, message: str) -> None:
        if self._wrong is None:
            self._wrong = invalid_request(message)

    def _decode_failed(self, text: bytes) -> None:
        try:
            msgspec.json.decode(text)
            reason = "unexpected content"
        except RecursionError:
            reason = "it is nested too deeply"
        except UNREADABLE as exc:
            reason = str(exc)
        self._broken = invalid_request(f"The request body is not valid JSON: {reason}")

    def _too_many(self) -> ApiError | None:
        if self.count == 0 and self._wrong is None:
            return invalid_request("requests: List should have at least 1 item after validation, not 0")
        most = self._max_requests
        if most is not None and self.count > most:
            return invalid_request(
                f"requests: List should have at most {most} items after validation, not {self.count}"
            )
        return None


def _item_problem(place: str, members: dict[str, msgspec.Raw]) -> str | None:
    """What is wrong with the members of an item, apart from the form of its id."""
    for name in ("custom_id", "params"):
        if name not in members:
            return f"{place}.{name}: Field required"
    if bytes(members["custom_id"])[:1] != b'"':
        return f"{place}.custom_id: Input should be a valid string"
    if (problem := _params_problem(members["params"])) is not None:
        return f"{place}.{problem}"
    for name in members:
        if name not in {"custom_id", "params"}:
            return f"{place}.{name}: Extra inputs are not permitted"
    return None


def _id_problem(custom_id: str) -> str | None:
    if _ID_PATTERN.match(custom_id) is not None:
        return None
    if len(custom_id) > 64:
        return "custom_id: String should have at most 64 characters"
    return "custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"


def _params_problem(params: msgspec.Raw) -> str | None:
    return None if bytes(memoryview(params)[:1]) == b"{" else "params: Input should be a valid dictionary"
