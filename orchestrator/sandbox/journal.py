"""The journal: what the machine records, and the file that lets a sandbox survive a killed process.

The file is append only, one write per record, readable by its owner alone. A write is handed to the operating system
before the API's response goes out: enough against a killed process, which is its purpose (a power cut may cost the last
batches of a sandbox). Each record is one line of JSON. A create is its header and as many rows as the header says; it
counts only when all of them are there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from orchestrator.domain.errors import MAKE_SPACE, StoreError, StoreFull, is_no_space
from orchestrator.sandbox.prompt_cache import BatchUses, PromptCache
from orchestrator.sandbox.request_rows import Fate
from orchestrator.sandbox.sandbox_batch import BLOCK_ROWS, SandboxBatch, decode_rows

FILE_MODE: Final = 0o600


class JournalError(StoreError):
    """A record could not be written; the event that it records has not happened."""


class JournalFull(JournalError, StoreFull):
    """A record could not be written: the disk is full."""


class JournalFile:
    """Opens or creates *path*. Read `lines`, `keep` what was whole, then `append`; `close` at the end.

    Raises JournalError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
            os.fchmod(self._fd, FILE_MODE)
        except OSError as exc:
            raise _unwritten(path, exc) from exc

    def lines(self) -> Iterator[bytes]:
        """The lines of the file; the last may be torn."""
        with self.path.open("rb") as file:
            yield from file

    def keep(self, whole_bytes: int) -> None:
        """Truncate the file to its first *whole_bytes*: the rest is a torn record."""
        os.ftruncate(self._fd, whole_bytes)

    def append(self, record: bytes) -> None:
        """Write all of *record*, or nothing of it and raise JournalError: the call that needed it fails."""
        before = os.fstat(self._fd).st_size
        left = memoryview(record)
        try:
            while left.nbytes:
                left = left[os.write(self._fd, left) :]
        except OSError as exc:
            os.ftruncate(self._fd, before)  # what follows a torn record would be lost
            raise _unwritten(self.path, exc) from exc

    def close(self) -> None:
        """Close the journal."""
        os.close(self._fd)


def _unwritten(path: Path, exc: OSError) -> JournalError:
    kind, hint = (JournalFull, MAKE_SPACE) if is_no_space(exc) else (JournalError, "check the file and its folder")
    return kind(f"the sandbox cannot write its journal {path}", cause=exc.strerror, hint=hint)


AHEAD: Final = timedelta(minutes=1)


class _CreatedRecord(msgspec.Struct, tag="created", kw_only=True):
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


class _CanceledRecord(msgspec.Struct, tag="canceled"):
    at: datetime
    id: str


class _DeletedRecord(msgspec.Struct, tag="deleted"):
    at: datetime
    id: str


class _BornRecord(msgspec.Struct, tag="born"):
    at: datetime


class _SeenRecord(msgspec.Struct, tag="seen"):
    at: datetime


class _KilledRecord(msgspec.Struct, tag="killed"):
    at: datetime
    point: str


_LaterRecord = _CanceledRecord | _DeletedRecord | _BornRecord | _SeenRecord | _KilledRecord
_Record = _CreatedRecord | _LaterRecord
_decoder: Final[msgspec.json.Decoder[_Record]] = msgspec.json.Decoder(_Record)
_encode: Final = msgspec.json.Encoder().encode


class Recorder:
    """Encodes records and hands them to *write*; without it, does nothing."""

    def __init__(self, write: Callable[[bytes], None] | None) -> None:
        self._write = write
        self._known: datetime | None = None

    def created(self, batch: SandboxBatch) -> None:
        """Record an accepted create with its rows, in one write."""
        if self._write is None:
            return
        header = _CreatedRecord(
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
        """Record a cancel that took effect."""
        self._put(_CanceledRecord(at, batch_id))

    def deleted(self, batch_id: str, at: datetime) -> None:
        """Record a delete."""
        self._put(_DeletedRecord(at, batch_id))

    def born(self, at: datetime) -> None:
        """Record that a process starts with this journal."""
        self._put(_BornRecord(at))

    def killed(self, point: str, at: datetime) -> None:
        """Record that the sandbox kills its process now."""
        self._put(_KilledRecord(at, point))

    def seen(self, at: datetime) -> None:
        """Record an instant that a client has seen: time must not go back behind it."""
        if self._known is None or at >= self._known:
            self._known = at + AHEAD
            self._put(_SeenRecord(self._known))

    def _put(self, record: _Record) -> None:
        if self._write is not None:
            self._write(_encode(record) + b"\n")


@dataclass(slots=True)
class Replayed:
    """The content of a journal. `whole_bytes`: its length without a torn end. `lives`: the starts so far.

    `kills`: the crash points at which the sandbox killed its process, in order.
    """

    batches: list[SandboxBatch] = field(default_factory=list)
    faulted: set[bytes] = field(default_factory=set)
    whole_bytes: int = 0
    last_at: datetime | None = None
    lives: int = 0
    kills: list[str] = field(default_factory=list)
    cache: PromptCache = field(default_factory=PromptCache)


def replay(lines: Iterable[bytes]) -> Replayed:
    """Read records back, up to the first that is torn or lacks rows."""
    held = Replayed()
    by_id: dict[str, SandboxBatch] = {}
    source = iter(lines)
    for line in source:
        size = len(line)
        try:
            record = _decoder.decode(line) if line.endswith(b"\n") else None
        except msgspec.DecodeError:
            record = None
        if record is None:
            break
        if isinstance(record, _CreatedRecord):
            taken = _take_rows(record, source, held)
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


def _apply(record: _LaterRecord, by_id: dict[str, SandboxBatch], held: Replayed) -> None:
    match record:
        case _CanceledRecord():
            by_id[record.id].cancel_at = record.at
        case _DeletedRecord():
            by_id[record.id].deleted = True
        case _BornRecord():
            held.lives += 1
        case _KilledRecord():
            held.kills.append(record.point)
        case _SeenRecord():
            pass


def _take_rows(record: _CreatedRecord, source: Iterator[bytes], held: Replayed) -> tuple[SandboxBatch, int] | None:
    """The batch of a header and the bytes of its rows; None when rows are missing or torn."""
    batch = _bare(record)
    if record.foreign:
        batch.tally[0, Fate.SUCCEEDED] = record.total
        return batch, 0
    found: set[bytes] = set()
    uses = BatchUses()
    for first in range(0, record.total, BLOCK_ROWS):
        block = _take_block(source, min(BLOCK_ROWS, record.total - first))
        if block is None:
            return None
        batch.blocks.append(block)
        for row in decode_rows(block):
            batch.tally[row.bucket, row.fate] += 1
            uses.add(row)
            if row.faulted:
                found.add(row.digest)
    held.faulted |= found
    held.cache.admit(batch, uses)
    return batch, sum(map(len, batch.blocks))


def _bare(record: _CreatedRecord) -> SandboxBatch:
    """The batch of a header, without its rows."""
    return SandboxBatch(
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
    """The next *wanted* rows as one block; None when some are missing."""
    lines = [line for _, line in zip(range(wanted), source, strict=False)]
    if len(lines) < wanted or not lines[-1].endswith(b"\n"):
        return None
    block = b"".join(lines)
    try:
        return block if len(decode_rows(block)) == wanted else None
    except msgspec.DecodeError:
        return None
