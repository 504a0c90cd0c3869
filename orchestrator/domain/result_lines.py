"""Reads and writes the lines of result files, in the API's own format.

A line that cannot be read is a value (`BadLine`), never an exception: one bad line must not cost a download.
What is unknown passes through: kinds and error types are open sets.
Source of the shapes: Message Batches API reference, "results"; live captures of errored rows.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.domain.error_text import ErrorFields, error_fields
from orchestrator.domain.ids import MAX_INTEGER
from orchestrator.domain.json_text import UNREADABLE, is_utf8, mask_lone_surrogates
from orchestrator.domain.line_splitter import LongLine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.domain.queries import ResultRow

#: A result line over this is not kept in memory: it is counted, skipped and reported.
MAX_LINE_BYTES: Final = 64 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"


class ResultLine(msgspec.Struct, frozen=True, gc=False):
    """One result. A msgspec struct, because millions are made and a dataclass costs ten times as much."""

    wire_id: str  #: the `custom_id` of the line
    kind: str  #: "succeeded", "errored", "expired", "canceled", or whatever the API says
    result: bytes  #: the bytes of the `result` object as they came
    error_type: str | None = None
    error_message: str | None = None
    api_request_id: str | None = None  #: of an errored row; None for one that was refused before it ran
    stop_reason: str | None = None  #: of a succeeded row; "refusal" is a success too
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_5m_tokens: int | None = None  #: written to be kept for five minutes, all that an older API knew
    cache_write_1h_tokens: int | None = None


class BadLine(msgspec.Struct, frozen=True, gc=False):
    """A line that is not a result."""

    offset: int  #: of its first byte, in bytes from the start of what was handed in
    why: str
    raw: bytes = b""  #: as it came; of one that was too long, its beginning
    size_bytes: int = 0

    def wire_id(self, pattern: re.Pattern[bytes]) -> str | None:
        """The id in its bytes, by a *pattern* that `wire_ids_of` made; None where they show none."""
        found = pattern.search(self.raw)
        if found is None:
            return None
        try:
            return msgspec.json.decode(b'"%b"' % found[1], type=str)
        except UNREADABLE:
            return None


class _LineEnvelope(msgspec.Struct, gc=False):
    custom_id: str
    result: msgspec.Raw


class _CacheWrites(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None  #: their sum
    cache_creation: _CacheWrites | None = None


class _AnswerMessage(msgspec.Struct, gc=False):
    stop_reason: str | None = None
    usage: _Usage | None = None


class _InnerError(msgspec.Struct, gc=False):
    type: str | None = None
    message: str | None = None


class _ErrorEnvelope(msgspec.Struct, gc=False):
    error: _InnerError | None = None
    request_id: str | None = None


class _ResultFields(msgspec.Struct, gc=False):
    type: str
    message: _AnswerMessage | None = None
    error: _ErrorEnvelope | None = None


class _StopReason(msgspec.Struct, gc=False):
    stop_reason: str | None = None


class _MessageStop(msgspec.Struct, gc=False):
    message: _StopReason | None = None


class _ResultType(msgspec.Struct, gc=False):
    type: str


_line: Final = msgspec.json.Decoder(_LineEnvelope)
_result: Final = msgspec.json.Decoder(_ResultFields)
_stopped: Final = msgspec.json.Decoder(_MessageStop)
_kind: Final = msgspec.json.Decoder(_ResultType)


def decode_split(lines: Iterable[bytes | LongLine], *, offset: int = 0) -> list[ResultLine | BadLine]:
    """The results in *lines*, as a `LineSplitter` gives them; *offset* is where the first of them starts.

    Blank lines are skipped, CRLF is fine.
    """
    found: list[ResultLine | BadLine] = []
    for line in lines:
        if isinstance(line, LongLine):
            why = f"the line has {line.size_bytes:,} bytes; {MAX_LINE_BYTES:,} are read"
            found.append(BadLine(offset, why, line.head, line.size_bytes))
            offset += line.size_bytes + 1
            continue
        if line and not line.isspace():
            found.append(_decode(line, offset))
        offset += len(line) + 1
    return found


def _decode(line: bytes, offset: int) -> ResultLine | BadLine:
    if not line.isascii() and not is_utf8(line):
        return _bad(line, offset, "not valid UTF-8")
    try:
        envelope = _line.decode(line)
        raw = bytes(envelope.result)
        result = _result.decode(raw)
    except UNREADABLE:
        return _decode_patiently(line, offset)
    if result.message is not None:
        return _with_message(envelope.custom_id, raw, result.type, result.message)
    return _with_error(envelope.custom_id, raw, result.type, result.error)


def _with_message(wire_id: str, raw: bytes, kind: str, message: _AnswerMessage) -> ResultLine:
    usage = message.usage
    if usage is None:
        return ResultLine(wire_id, kind, raw, stop_reason=message.stop_reason)
    writes = usage.cache_creation
    return ResultLine(
        wire_id,
        kind,
        raw,
        stop_reason=message.stop_reason,
        input_tokens=_count(usage.input_tokens),
        output_tokens=_count(usage.output_tokens),
        cache_read_tokens=_count(usage.cache_read_input_tokens),
        cache_write_5m_tokens=_count(
            usage.cache_creation_input_tokens if writes is None else writes.ephemeral_5m_input_tokens
        ),
        cache_write_1h_tokens=None if writes is None else _count(writes.ephemeral_1h_input_tokens),
    )


def _with_error(wire_id: str, raw: bytes, kind: str, error: _ErrorEnvelope | None) -> ResultLine:
    if error is not None and error.error is not None and error.error.message is not None:
        return ResultLine(wire_id, kind, raw, error.error.type, error.error.message, error.request_id)
    return _in_other_words(wire_id, kind, raw, raw)


def _in_other_words(wire_id: str, kind: str, raw: bytes, view: bytes) -> ResultLine:
    """A result whose error is not nested as the API does it, or that has none; *view* is *raw* as it can be read."""
    words = error_fields(view) if kind == "errored" else ErrorFields()
    return ResultLine(wire_id, kind, raw, words.type, words.message, words.request_id)


def _count(tokens: int | None) -> int | None:
    return tokens if tokens is not None and 0 <= tokens <= MAX_INTEGER else None


def _decode_patiently(line: bytes, offset: int) -> ResultLine | BadLine:
    """Decode a line that the fast path refused: a paid answer is kept if its id and its kind can be read at all.

    Half a surrogate pair in a text is legal JSON that decoders refuse (a model can be cut in the middle of an emoji):
    it is masked for the reading and kept in the bytes.
    """
    if line.startswith(_BOM):
        return _decode(line[len(_BOM) :], offset)
    masked = mask_lone_surrogates(line)
    try:
        envelope = _line.decode(masked)
        view = bytes(envelope.result)
        kind = _kind.decode(view)
    except UNREADABLE as exc:
        return _bad(line, offset, _why(exc))
    start = masked.rfind(view)  # masking keeps every offset
    raw = line[start : start + len(view)]
    try:
        result = _result.decode(view)
    except UNREADABLE:
        found = _in_other_words(envelope.custom_id, kind.type, raw, view)
        return msgspec.structs.replace(found, stop_reason=stop_reason_of(raw))
    if result.message is not None:
        return _with_message(envelope.custom_id, raw, kind.type, result.message)
    return _with_error(envelope.custom_id, raw, kind.type, result.error)


def stop_reason_of(result: bytes) -> str | None:
    """Why the answer in a stored `result` object ended; None if it does not say, or cannot be read."""
    try:
        message = _stopped.decode(mask_lone_surrogates(result) if b"\\u" in result else result).message
    except UNREADABLE:
        return None
    return None if message is None else message.stop_reason


def _bad(line: bytes, offset: int, why: str) -> BadLine:
    return BadLine(offset, why, line, len(line))


def wire_ids_of(nonce: str | None) -> re.Pattern[bytes]:
    """Finds the id in a line that cannot be read: one with *nonce*, which stands nowhere else; None: any."""
    if nonce is None:
        return re.compile(rb'"custom_id"\s*:\s*"((?:[^"\\]|\\.)*)"')
    return re.compile(rb'"(%b-\d{1,10})"' % re.escape(nonce.encode()))


def _why(exc: Exception) -> str:
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    return f"not a result line: {exc}"


_text: Final = msgspec.json.Encoder().encode


def output_line(custom_id: str, result: bytes) -> bytes:
    """One line of the output, newline included. *custom_id* is the user's; *result* is a JSON object."""
    return b'{"custom_id":%b,"result":%b}\n' % (_text(custom_id), result)


def input_line(custom_id: str, params: bytes) -> bytes:
    """One line of input, without a newline: a request as it can be handed in again."""
    return b'{"custom_id":%b,"params":%b}' % (_text(custom_id), params)


def output_lines(results: Iterable[tuple[str, bytes]]) -> bytes:
    """The lines of many results, in the order given."""
    encode = _text
    return b"".join([b'{"custom_id":%b,"result":%b}\n' % (encode(custom_id), result) for custom_id, result in results])


def result_of(row: ResultRow) -> bytes:
    """The API's own result; a request that was canceled before it was sent gets the API's word for that."""
    return canceled_result() if row.body is None else row.body


def settled_lines(rows: Iterable[ResultRow]) -> bytes:
    """The lines of settled requests, in the order given."""
    return output_lines((row.custom_id, result_of(row)) for row in rows)


def errored_result(error_type: str, message: str, *, request_id: str | None = None) -> bytes:
    """An `errored` result as the API nests it (`result.error.error.type`)."""
    error = {"type": error_type, "message": message, "details": None}
    return msgspec.json.encode(
        {"type": "errored", "error": {"type": "error", "error": error, "request_id": request_id}}
    )


def unreadable_result(error_type: str, message: str, raw: bytes) -> bytes:
    """An `errored` result for a line that cannot be read, with the line's own bytes in `raw_base64`."""
    own = errored_result(error_type, message)
    return b'%b,"raw_base64":"%b"}' % (own[:-1], base64.b64encode(raw))


def canceled_result() -> bytes:
    """The result of a request that was canceled before it ran."""
    return b'{"type":"canceled"}'
