"""The journal's records: what the machine writes down, and how it is read back. Bytes in, bytes out; no file here.

Each record is one line of JSON. A create is its header, then as many rows as the header says; it counts only when all
are there, so a process killed between them leaves nothing of it. Time is noted a minute ahead, so that it never goes
back over a restart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from orchestrator.sandbox.batch import BLOCK_ROWS, Batch, decode_rows
from orchestrator.sandbox.rows import Fate

AHEAD: Final = timedelta(minutes=1)


class _Created(msgspec.Struct, tag="created", kw_only=True):
    at: datetime
    id: str
    ordinal: int
    workspace: str
    api_version: str
    total: int
    expires_at: datetime
    archives_at: datetime
    work_ends_at: datetime
    cancel_s: float
    overrun_s: float
    foreign: bool


class _Canceled(msgspec.Struct, tag="canceled"):
    at: datetime
    id: str


class _Deleted(msgspec.Struct, tag="deleted"):
    at: datetime
    id: str


class _Born(msgspec.Struct, tag="born"):
    at: datetime


class _Seen(msgspec.Struct, tag="seen"):
    at: datetime


class _Killed(msgspec.Struct, tag="killed"):
    at: datetime
    point: str


_Record = _Created | _Canceled | _Deleted | _Born | _Seen | _Killed
_decoder: Final[msgspec.json.Decoder[_Record]] = msgspec.json.Decoder(_Record)
_encode: Final = msgspec.json.Encoder().encode


class Recorder:
    """Writes records through *write*; does nothing without it."""

    def __init__(self, write: Callable[[bytes], None] | None) -> None:
        self._write = write
        self._known: datetime | None = None

    def created(self, batch: Batch) -> None:
        """An accepted create with its rows, in one write."""
        if self._write is None:
            return
        header = _Created(
            at=batch.created_at,
            id=batch.id,
            ordinal=batch.ordinal,
            workspace=batch.workspace,
            api_version=batch.api_version,
            total=batch.total,
            expires_at=batch.expires_at,
            archives_at=batch.archives_at,
            work_ends_at=batch.work_ends_at,
            cancel_s=batch.cancel_lasts.total_seconds(),
            overrun_s=batch.overrun.total_seconds(),
            foreign=batch.foreign,
        )
        self._write(b"".join((_encode(header), b"\n", *batch.blocks)))

    def canceled(self, batch_id: str, at: datetime) -> None:
        """A cancel that took effect."""
        self._put(_Canceled(at, batch_id))

    def deleted(self, batch_id: str, at: datetime) -> None:
        """A delete."""
        self._put(_Deleted(at, batch_id))

    def born(self, at: datetime) -> None:
        """A process starts with this journal."""
        self._put(_Born(at))

    def killed(self, point: str, at: datetime) -> None:
        """The process that the sandbox lives in dies now, by the sandbox's own hand."""
        self._put(_Killed(at, point))

    def seen(self, at: datetime) -> None:
        """An instant that was shown to somebody: time must not go back behind it."""
        if self._known is None or at >= self._known:
            self._known = at + AHEAD
            self._put(_Seen(self._known))

    def _put(self, record: _Record) -> None:
        if self._write is not None:
            self._write(_encode(record) + b"\n")


@dataclass(slots=True)
class Replayed:
    """What a journal held. `whole_bytes`: how much of it was whole; the rest is a torn end. `lives`: starts so far.

    `kills`: the crash points at which the sandbox killed its process, in order.
    """

    batches: list[Batch] = field(default_factory=list)
    faulted: set[bytes] = field(default_factory=set)
    whole_bytes: int = 0
    last_at: datetime | None = None
    lives: int = 0
    kills: list[str] = field(default_factory=list)


def replay(lines: Iterable[bytes]) -> Replayed:
    """Read records back; stops at the first that is torn or whose rows are not all there."""
    held = Replayed()
    by_id: dict[str, Batch] = {}
    source = iter(lines)
    for line in source:
        size = len(line)
        try:
            record = _decoder.decode(line) if line.endswith(b"\n") else None
        except msgspec.DecodeError:
            record = None
        if record is None:
            break
        if isinstance(record, _Created):
            taken = _take_rows(record, source, held.faulted)
            if taken is None:
                break
            batch, more = taken
            size += more
            held.batches.append(batch)
            by_id[batch.id] = batch
        else:
            _apply(record, by_id, held)
        held.whole_bytes += size
        held.last_at = record.at if held.last_at is None else max(held.last_at, record.at)
    return held


def _apply(record: _Canceled | _Deleted | _Born | _Seen | _Killed, by_id: dict[str, Batch], held: Replayed) -> None:
    match record:
        case _Canceled():
            by_id[record.id].cancel_at = record.at
        case _Deleted():
            by_id[record.id].deleted = True
        case _Born():
            held.lives += 1
        case _Killed():
            held.kills.append(record.point)
        case _Seen():
            pass


def _take_rows(record: _Created, source: Iterator[bytes], faulted: set[bytes]) -> tuple[Batch, int] | None:
    """The batch of a header and the bytes of its rows; None when rows are missing or torn."""
    batch = _bare(record)
    if record.foreign:
        batch.tally[0, Fate.SUCCEEDED] = record.total
        return batch, 0
    found: set[bytes] = set()
    for first in range(0, record.total, BLOCK_ROWS):
        block = _take_block(source, min(BLOCK_ROWS, record.total - first))
        if block is None:
            return None
        batch.blocks.append(block)
        for row in decode_rows(block):
            batch.tally[row.bucket, row.fate] += 1
            if row.faulted:
                found.add(row.digest)
    faulted |= found
    return batch, sum(map(len, batch.blocks))


def _bare(record: _Created) -> Batch:
    """The batch of a header, without its rows."""
    return Batch(
        id=record.id,
        ordinal=record.ordinal,
        workspace=record.workspace,
        api_version=record.api_version,
        total=record.total,
        created_at=record.at,
        expires_at=record.expires_at,
        archives_at=record.archives_at,
        work_ends_at=record.work_ends_at,
        cancel_lasts=timedelta(seconds=record.cancel_s),
        overrun=timedelta(seconds=record.overrun_s),
        tally=Counter(),
        foreign=record.foreign,
    )


def _take_block(source: Iterator[bytes], wanted: int) -> bytes | None:
    """The next *wanted* rows as one block; None when they are not all there."""
    lines = [line for _, line in zip(range(wanted), source, strict=False)]
    if len(lines) < wanted or not lines[-1].endswith(b"\n"):
        return None
    block = b"".join(lines)
    try:
        return block if len(decode_rows(block)) == wanted else None
    except msgspec.DecodeError:
        return None
