"""Reads a result file: its lines, until a stream brings nothing new, and which request of the batch each belongs to."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from orchestrator.domain import result_lines, result_outcome
from orchestrator.domain.ids import number_in
from orchestrator.domain.line_splitter import LineSplitter
from orchestrator.domain.model import BatchRow, JudgedLine
from orchestrator.ports.runtime import Download

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
    same bytes. earlier: the unreadable lines of the previous download, by number. unreadable: those of this one.
    nameless: how many lines show no id of ours. why: what is wrong with one of them. odd: how many lines gave no row.
    """

    def __init__(self, batch: BatchRow, earlier: Mapping[int, LineReading]) -> None:
        self._batch = batch
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
            self._count(line)
            self._keep(number, _settled(number, line))

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
            self._keep(number, _kept_as_it_is(number, line))

    def _keep(self, number: int, row: JudgedLine) -> None:
        self._found.add(number)
        self._rows.append(row)
        self._bytes += len(row.body)

    def _count(self, line: result_lines.ResultLine) -> None:
        if line.input_tokens is not None:
            self.tokens["input"] += line.input_tokens
        if line.output_tokens is not None:
            self.tokens["output"] += line.output_tokens
        if line.cache_read_tokens is not None:
            self.tokens["cache_read"] += line.cache_read_tokens
        for written in (line.cache_write_5m_tokens, line.cache_write_1h_tokens):
            if written is not None:
                self.tokens["cache_write"] += written

    def is_full(self, downloads: int) -> bool:
        """Whether it is time to write, with so many downloads at once."""
        share = min(1, _FULL_SHARES / max(downloads, 1))
        return len(self._rows) >= _ROWS_PER_WRITE * share or self._bytes >= _BYTES_PER_WRITE * share

    def drain(self) -> list[JudgedLine]:
        """Hand over the rows, and forget them."""
        rows, self._rows, self._bytes = self._rows, [], 0
        return rows


def _settled(number: int, line: result_lines.ResultLine) -> JudgedLine:
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
    )


def _kept_as_it_is(number: int, line: result_lines.BadLine) -> JudgedLine:
    """A failure, because nobody could use it as an answer; final, because it most likely is one, and was paid for."""
    message = f"the API's result line cannot be read ({line.why}); its {line.size_bytes:,} bytes are kept in raw_base64"
    if len(line.raw) < line.size_bytes:
        message = f"the API's result line cannot be read ({line.why}); its beginning is kept in raw_base64"
    body = result_lines.unreadable_result(result_outcome.UNREADABLE_RESULT, message, line.raw)
    kind = result_outcome.UNREADABLE_RESULT
    return JudgedLine(number, kind, result_outcome.Outcome.FAILED, body, error_type=kind, error_message=message)
