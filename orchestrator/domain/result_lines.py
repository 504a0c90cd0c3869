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

from orchestrator.domain.billing import MOST_TOKENS, UNREAD, Charge, Charges, Tokens, believed, charges
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
    model: str | None = None  #: of the answer
    geo: str | None = None  #: its `inference_geo`
    charges: Charges | None = UNREAD  #: what it is billed, if its kind is; None: what its counts say, all of them


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


class _Counts(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None  #: their sum
    cache_creation: _CacheWrites | None = None


class _Iteration(_Counts, gc=False):
    type: str | None = None
    model: str | None = None


class _ServerTools(msgspec.Struct, gc=False):
    web_search_requests: int | None = None


class _Usage(_Counts, gc=False):
    inference_geo: str | None = None
    server_tool_use: _ServerTools | None = None
    iterations: list[_Iteration] | None = None


class _StopDetails(msgspec.Struct, gc=False):
    category: str | None = None


class _AnswerMessage(msgspec.Struct, gc=False):
    model: str | None = None
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
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


class _MessageAsItIs(msgspec.Struct, gc=False):
    message: msgspec.Raw


class _StopReason(msgspec.Struct, gc=False):
    stop_reason: str | None = None


class _MessageStop(msgspec.Struct, gc=False):
    message: _StopReason | None = None


class _ResultType(msgspec.Struct, gc=False):
    type: str


#: Iterations that are not in the usage of the answer (recorded pairs).
_BILLED_ON_TOP: Final = ("compaction", "advisor_message")

_line: Final = msgspec.json.Decoder(_LineEnvelope)
_result: Final = msgspec.json.Decoder(_ResultFields)
_stopped: Final = msgspec.json.Decoder(_MessageStop)
_kind: Final = msgspec.json.Decoder(_ResultType)
_message: Final = msgspec.json.Decoder(_MessageAsItIs)


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
        return ResultLine(wire_id, kind, raw, stop_reason=message.stop_reason, charges=_unmeasured(message.model))
    fresh, output, read = usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens
    split = usage.cache_creation
    write_5m = usage.cache_creation_input_tokens if split is None else split.ephemeral_5m_input_tokens
    write_1h = None if split is None else split.ephemeral_1h_input_tokens
    if usage.iterations is None and usage.server_tool_use is None and message.stop_reason != "refusal":
        # Nearly every answer: nothing but counts. Calls are left out where they take half of the time.
        five, hour = 0 if write_5m is None else write_5m, 0 if write_1h is None else write_1h
        if (
            fresh is not None
            and output is not None
            and 0 <= fresh | output | (0 if read is None else read) | five | hour <= MOST_TOKENS
            and (split is None or usage.cache_creation_input_tokens in (None, five + hour))
        ):
            return ResultLine(
                wire_id, kind, raw, None, None, None, message.stop_reason, fresh, output, read, write_5m, write_1h,
                message.model, usage.inference_geo, None,
            )  # fmt: skip
    return ResultLine(
        wire_id,
        kind,
        raw,
        stop_reason=message.stop_reason,
        input_tokens=_count(usage.input_tokens),
        output_tokens=_count(usage.output_tokens),
        cache_read_tokens=_count(usage.cache_read_input_tokens),
        cache_write_5m_tokens=_count(write_5m),
        cache_write_1h_tokens=_count(write_1h),
        model=message.model,
        geo=usage.inference_geo,
        charges=_charges(message, usage),
    )


def _writes(counts: _Counts) -> tuple[int | None, int | None]:
    """Tokens written for five minutes, and for an hour; without the split they are all of the first kind."""
    split = counts.cache_creation
    if split is None:
        return counts.cache_creation_input_tokens, None
    return split.ephemeral_5m_input_tokens, split.ephemeral_1h_input_tokens


def _unmeasured(model: str | None) -> Charges:
    return (Charge("" if model is None else model, "", None),)


def _charges(message: _AnswerMessage, usage: _Usage) -> Charges:
    model = "" if message.model is None else message.model
    geo = "" if usage.inference_geo is None else usage.inference_geo
    own = Charge(model, geo, _billed(usage, usage.server_tool_use))
    if message.stop_reason != "refusal" and usage.iterations is None:
        return (own,)
    refusal = None
    if message.stop_reason == "refusal":
        details = message.stop_details
        refusal = "" if details is None or details.category is None else details.category
    return charges(own, _on_top(usage.iterations, model, geo), refusal=refusal)


def _on_top(iterations: list[_Iteration] | None, model: str, geo: str) -> list[Charge]:
    """What iterations add to the usage of the answer, in which the `message` ones are. Of other kinds nobody knows."""
    return [
        Charge(model if each.model is None else each.model, geo, _billed(each) if each.type in _BILLED_ON_TOP else None)
        for each in ([] if iterations is None else iterations)
        if each.type != "message"
    ]


def _billed(counts: _Counts, tools: _ServerTools | None = None) -> Tokens | None:
    """The tokens that are billed; None if the API does not say them all, or none of them can be believed.

    Writes that are in the sum and not in the split have a price that is not known.
    """
    fresh, output, read = counts.input_tokens, counts.output_tokens, counts.cache_read_input_tokens
    if fresh is None or output is None:
        return None
    write_5m, write_1h = _writes(counts)
    write_5m, write_1h = 0 if write_5m is None else write_5m, 0 if write_1h is None else write_1h
    total = counts.cache_creation_input_tokens
    if total is not None and total > write_5m + write_1h:
        return None
    searches = None if tools is None else tools.web_search_requests
    return believed(
        Tokens(fresh, output, write_5m, write_1h, 0 if read is None else read, 0 if searches is None else searches)
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


def charges_of(result: bytes) -> Charges:
    """What the answer in a stored `result` object is billed; UNREAD if it cannot be read."""
    try:
        found = _result.decode(mask_lone_surrogates(result) if b"\\u" in result else result)
    except UNREADABLE:
        return UNREAD
    message = found.message
    if message is None:
        return UNREAD
    return _unmeasured(message.model) if message.usage is None else _charges(message, message.usage)


def _bad(line: bytes, offset: int, why: str) -> BadLine:
    return BadLine(offset, why, line, len(line))


def wire_ids_of(nonce: str | None) -> re.Pattern[bytes]:
    """Finds the id in a line that cannot be read: one with *nonce*, which stands nowhere else; None: any."""
    if nonce is None:
        return re.compile(rb'"custom_id"\s*:\s*"((?:[^"\\]|\\.)*)"')
    return re.compile(rb'"(%b-\d{1,10})"' % re.escape(nonce.encode()))


def _why(exc: Exception) -> str:
    return "nested too deeply" if isinstance(exc, RecursionError) else f"not a result line: {exc}"


_text: Final = msgspec.json.Encoder().encode


def output_line(custom_id: str, result: bytes, reused_from: str | None = None) -> bytes:
    """One line of the output, newline included: the user's id, a JSON object, and whose that is, if not its own."""
    line = b'{"custom_id":%b,"result":%b}\n' % (_text(custom_id), result)
    return line if reused_from is None else b'%b,"reused_from":%b}\n' % (line[:-2], _text(reused_from))


def input_line(custom_id: str, params: bytes, row: bytes = b"") -> bytes:
    """One line of input, without a newline: a request, with its row if it has one, as it can be handed in again."""
    line = b'{"custom_id":%b,"params":%b}' % (_text(custom_id), params)
    return line if not row else b'%b,"row":%b}' % (line[:-1], row)


def result_of(row: ResultRow) -> bytes:
    """The API's own result; a request that was canceled before it was sent gets the API's word for that."""
    return canceled_result() if row.body is None else row.body


def settled_lines(rows: Iterable[ResultRow]) -> bytes:
    """The lines of settled requests, in the order given."""
    return b"".join([output_line(row.custom_id, result_of(row), row.reused_from) for row in rows])


def joined_lines(rows: Iterable[ResultRow]) -> bytes:
    """As `settled_lines`, each with the row that its request was made of; null where there is none."""
    lines = ((output_line(row.custom_id, result_of(row), row.reused_from), row.row or b"null") for row in rows)
    return b"".join([b'%b,"row":%b}\n' % (line[:-2], row) for line, row in lines])


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


def invalid_result(error_type: str, message: str, result: bytes) -> bytes:
    """An `errored` result for an answer that is none, with the message of *result*, which succeeded, as `answer`.

    Not as `message`: whoever reads that without a look at the type must not take it for a success.
    """
    own = errored_result(error_type, message)
    return b'%b,"answer":%b}' % (own[:-1], _message_in(result))


def _message_in(result: bytes) -> bytes:
    """The bytes of the message in *result*; `null` if there is none, or they cannot be told from the rest."""
    masked = mask_lone_surrogates(result) if b"\\u" in result else result
    try:
        view = bytes(_message.decode(masked).message)
    except UNREADABLE:
        return b"null"
    start = masked.rfind(view)  # masking keeps every offset
    return result[start : start + len(view)]


def canceled_result() -> bytes:
    """The result of a request that was canceled before it ran."""
    return b'{"type":"canceled"}'
