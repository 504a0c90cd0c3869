"""Reads a result file: its lines, until a stream brings nothing new, and which request of the batch each belongs to."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from orchestrator.domain import invalid_answers, result_lines, result_outcome
from orchestrator.domain.billing import UNREAD, Payment
from orchestrator.domain.ids import number_in
from orchestrator.domain.line_splitter import LineSplitter
from orchestrator.domain.model import BatchRow, JudgedLine
from orchestrator.engine.pricing import Pricing
from orchestrator.ports.runtime import Download

if TYPE_CHECKING:
    from orchestrator.domain.answer_schema import AnswerSchema

#: So many bytes in a row with nothing new for the reader end a download: four lines of the largest size.
MAX_STALLED_BYTES: Final = 4 * result_lines.MAX_LINE_BYTES
_SHORT_LINE_BYTES: Final = 1024


class ResultFile:
    """Iterates over the decoded lines of *download*, those of one chunk (some 256 KiB) at a time.

    The reader calls `found_new` whenever a chunk had something new for it. A stream that goes on without that (the same
    lines again and again, or blank ones) is abandoned, and `is_endless` set. ended: the stream came to its end, and the
    lines given now are its last one, if that has no newline: perhaps cut off.
    """

    def __init__(self, download: Download) -> None:
        self.meta, self._chunks = download.meta, download.chunks
        self.ended = False
        self._splitter = LineSplitter(result_lines.MAX_LINE_BYTES)
        self._stalled_bytes = 0

    def __aiter__(self) -> ResultFile:
        return self

    async def __anext__(self) -> list[result_lines.ResultLine | result_lines.BadLine]:
        if self.ended or self.is_endless:
            raise StopAsyncIteration
        chunk = await anext(self._chunks, None)
        if chunk is None:
            self.ended = True
            return result_lines.decode_split(self._splitter.rest())
        lines = self._splitter.feed(chunk)
        self._stalled_bytes += max(len(chunk), len(lines) * _SHORT_LINE_BYTES)  # a blank line costs time as well
        return result_lines.decode_split(lines)

    def found_new(self) -> None:
        """The lines given last brought something new."""
        self._stalled_bytes = 0

    @property
    def is_endless(self) -> bool:
        """Too much has come in a row that brought nothing new."""
        return self._stalled_bytes > MAX_STALLED_BYTES


#: One transaction. Results come shuffled, so each one rewrites the pages of most requests of its batch: of 10,000
#: small ones a result costs 9 us, of 2,000 it costs 11 (100,000 results of 1.2 kB, measured).
_ROWS_PER_WRITE: Final = 10_000
_BYTES_PER_WRITE: Final = 4 * 1024 * 1024
#: From three downloads on, side by side, each has its share of twice as much.
_FULL_SHARES: Final = 2
#: So many equal readings prove that a line is so at the API. The last line without its end looks like a cut download:
#: it takes more of them.
_READINGS: Final = 2
_READINGS_OF_A_TAIL: Final = 5


class LineReading(NamedTuple):
    """A line that could not be read: its hash, and in how many downloads in a row it was the same."""

    digest: bytes
    readings: int


class LineMatcher:
    """Turns decoded lines into rows to store; what is no line of this batch is counted and left out.

    An unreadable line may be corrupted on its way: it is stored, as it came, once downloads in a row had the very
    same bytes. pricing: of the batch's day. earlier: the unreadable lines of the previous download, by number.
    schema: what answers have to match; those that do not are judged invalid.
    unreadable: those of this one.
    nameless: how many lines show no id of ours. why: what is wrong with one of them. odd: how many lines gave no row.
    """

    def __init__(
        self,
        batch: BatchRow,
        earlier: Mapping[int, LineReading],
        pricing: Pricing,
        schema: AnswerSchema | None = None,
    ) -> None:
        self._batch = batch
        self._schema = schema
        self._pricing = pricing
        self._earlier = earlier
        self._rows: list[JudgedLine] = []
        self._bytes = 0
        self._found: set[int] = set()
        self._known = 0
        self._ids = result_lines.wire_ids_of(None if batch.adopted else batch.nonce)
        self.odd = 0
        self.nameless = 0
        self.unreadable: dict[int, LineReading] = {}
        self.why = ""
        self.tokens: Counter[str] = Counter()

    @property
    def found(self) -> int:
        """How many requests of this batch the download has shown so far."""
        return len(self._found)

    def has_new(self) -> bool:
        """Whether requests were shown that had not been at the last call."""
        before, self._known = self._known, len(self._found)
        return self._known > before

    def id_of(self, line: result_lines.ResultLine | result_lines.BadLine) -> str | None:
        """The `custom_id` of a line, readable or not; None if it shows none."""
        return line.wire_id if isinstance(line, result_lines.ResultLine) else line.wire_id(self._ids)

    def take(
        self,
        lines: Iterable[result_lines.ResultLine | result_lines.BadLine],
        numbers: Mapping[str, int] | None,
        *,
        whole: bool = True,
    ) -> None:
        """Keep the lines that have this batch's nonce, or, if *numbers* is given, whose id is in it.

        whole: False for a last line without its newline, which is evidence of a cut download more than of a bad line.
        """
        for line in lines:
            if isinstance(line, result_lines.BadLine):
                self.odd += 1
                self._take_bad(line, numbers, whole=whole)
                continue
            number = number_in(line.wire_id, self._batch.nonce) if numbers is None else numbers.get(line.wire_id)
            if number is None:
                self.odd += 1
                continue
            row = _settled(number, line, self._pricing)
            self._keep(number, row if self._schema is None else _validated(row, self._schema))

    def _take_bad(self, line: result_lines.BadLine, numbers: Mapping[str, int] | None, *, whole: bool) -> None:
        own = self.id_of(line)
        number = None
        if own is not None:
            number = number_in(own, self._batch.nonce) if numbers is None else numbers.get(own)
        if not whole and (number is None or len(self._found | {number}) < self._batch.count):
            return  # more than this line is missing: the download was cut
        self.why = line.why
        if number is None:
            self.nameless += 1
            return
        digest = hashlib.sha256(line.raw).digest()
        before = self._earlier.get(number)
        readings = 1 if before is None or before.digest != digest else before.readings + 1
        self.unreadable[number] = LineReading(digest, readings)
        if readings >= (_READINGS if whole else _READINGS_OF_A_TAIL):
            self._keep(number, _kept_as_it_is(number, line, self._pricing.payment_for(UNREAD)))

    def _keep(self, number: int, row: JudgedLine) -> None:
        self._found.add(number)
        self._rows.append(row)
        self._bytes += len(row.body)

    def is_full(self, downloads: int) -> bool:
        """Whether it is time to write, with so many downloads at once."""
        share = min(1, _FULL_SHARES / max(downloads, 1))
        return len(self._rows) >= _ROWS_PER_WRITE * share or self._bytes >= _BYTES_PER_WRITE * share

    def drain(self) -> list[JudgedLine]:
        """Hand over the rows, and forget them."""
        rows, self._rows, self._bytes = self._rows, [], 0
        self.tokens["input"] += sum(filter(None, [row.input_tokens for row in rows]))
        self.tokens["output"] += sum(filter(None, [row.output_tokens for row in rows]))
        self.tokens["cache_read"] += sum(filter(None, [row.cache_read_tokens for row in rows]))
        for column in ([row.cache_write_5m_tokens for row in rows], [row.cache_write_1h_tokens for row in rows]):
            self.tokens["cache_write"] += sum(filter(None, column))
        return rows


def payment_of(line: result_lines.ResultLine, pricing: Pricing) -> Payment | None:
    """What *line* costs: an error, an expiry and a cancellation nothing; of an unknown kind nobody knows."""
    if line.kind == "succeeded":
        return pricing.payment_for(line.charges) if line.charges is not None else pricing.payment_by_counts(line)
    return None if line.kind in result_outcome.KINDS else pricing.payment_for(UNREAD)


def _settled(number: int, line: result_lines.ResultLine, pricing: Pricing) -> JudgedLine:
    if line.charges is None and line.kind == "succeeded":
        return _answered(number, line, pricing)
    error_type, error_message = line.error_type, line.error_message
    if line.kind not in result_outcome.KINDS:
        error_type = line.kind or result_outcome.UNKNOWN_RESULT
        said = "" if error_message is None else f": {error_message}"
        error_message = f"a result of a kind that this program does not know{said}"
    return JudgedLine(
        number,
        line.kind,
        result_outcome.judge(line.kind, line.error_type, line.error_message),
        line.result,
        error_type=error_type,
        error_message=error_message,
        api_request_id=line.api_request_id,
        input_tokens=line.input_tokens,
        output_tokens=line.output_tokens,
        cache_read_tokens=line.cache_read_tokens,
        cache_write_5m_tokens=line.cache_write_5m_tokens,
        cache_write_1h_tokens=line.cache_write_1h_tokens,
        stop_reason=result_outcome.stop_name(line.stop_reason),
        payment=payment_of(line, pricing),
    )


def _answered(number: int, line: result_lines.ResultLine, pricing: Pricing) -> JudgedLine:
    """Nearly every line: an answer whose counts say what it costs. By position, which takes half of the time."""
    tariff, nanos = pricing.price(line)
    return JudgedLine(
        number, line.kind, result_outcome.Outcome.SUCCEEDED, line.result, None, None, line.api_request_id,
        line.input_tokens, line.output_tokens, line.cache_read_tokens, line.cache_write_5m_tokens,
        line.cache_write_1h_tokens, result_outcome.stop_name(line.stop_reason), tariff, nanos,
    )  # fmt: skip


def _validated(row: JudgedLine, schema: AnswerSchema) -> JudgedLine:
    """*row*; as an invalid answer if it succeeded and does not match *schema*."""
    if row.outcome is not result_outcome.Outcome.SUCCEEDED:
        return row
    problem = invalid_answers.problem_of(row.body, row.stop_reason, schema)
    if problem is None:
        return row
    return msgspec.structs.replace(
        row,
        outcome=result_outcome.Outcome.INVALID,
        error_type=result_outcome.INVALID_ANSWER,
        error_message=problem,
    )


def _kept_as_it_is(number: int, line: result_lines.BadLine, payment: Payment | None) -> JudgedLine:
    """A failure, because nobody could use it as an answer; final, because it most likely is one, and was paid for."""
    message = f"the API's result line cannot be read ({line.why}); its {line.size_bytes:,} bytes are kept in raw_base64"
    if len(line.raw) < line.size_bytes:
        message = f"the API's result line cannot be read ({line.why}); its beginning is kept in raw_base64"
    body = result_lines.unreadable_result(result_outcome.UNREADABLE_RESULT, message, line.raw)
    kind = result_outcome.UNREADABLE_RESULT
    failed = result_outcome.Outcome.FAILED
    return JudgedLine(number, kind, failed, body, error_type=kind, error_message=message, payment=payment)
