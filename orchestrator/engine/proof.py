"""Whose is a remote batch? Only its results tell: a wire id with our nonce is proof (promise 2)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.answers import Counts, OddEntry, RemoteBatch, RemoteStatus
from orchestrator.domain.errors import ProviderNotFound, ProviderUnreachable, ProviderUnreadable
from orchestrator.domain.ids import split_wire_id
from orchestrator.domain.line_splitter import LineSplitter
from orchestrator.domain.model import Batch
from orchestrator.domain.result_lines import MAX_LINE_BYTES, ResultLine, decode_split
from orchestrator.domain.waiting import PROOF_LINES
from orchestrator.engine.context import Context
from orchestrator.engine.reading import asked
from orchestrator.engine.sieve import Barren

_MOST_ASKED_FOR: Final = 20
#: Source: `expires_at` is `created_at` + 24 h.
_LIFE: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """One line has the nonce of *batch*."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Foreign:
    """Enough complete lines, or all of them, without a nonce of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """It still runs, or its results could not be read, or not far enough."""

    why: str


Verdict = Ours | Foreign | Unsure


class SecondReading:
    """Who looked foreign once. A verdict is for good, and one download may be of no use: two must agree.

    Kept in memory: a crash only means that both are read again.
    """

    def __init__(self) -> None:
        self._once: set[str] = set()

    def agrees(self, remote_id: str) -> bool:
        """True if this is the second reading of *remote_id* that found it foreign."""
        if remote_id in self._once:
            self._once.discard(remote_id)
            return True
        self._once.add(remote_id)
        return False


async def prove(context: Context, remote: RemoteBatch) -> Verdict:
    """Read the results of *remote* until it is sure whose they are.

    Raises ProviderBusy and ProviderRefused: they are about us, not about this batch.
    """
    if remote.status is not RemoteStatus.ENDED:
        return Unsure(why="it has not ended")
    return await prove_by_lines(context, remote.id, remote.counts.total)


async def prove_by_lines(context: Context, remote_id: str, total: int | None) -> Verdict:
    """The same by its results alone; *total*: how many there must be, None where that cannot be read."""
    try:
        return await _read(context, remote_id, total)
    except (ProviderNotFound, ProviderUnreachable) as exc:
        return Unsure(why=exc.message)


async def _read(context: Context, remote_id: str, total: int | None) -> Verdict:
    """A clean end short of the batch's own count proves nothing: a cut download may look like that."""
    seen = 0
    async with aclosing(_wire_ids(context, remote_id)) as wires:
        async for wire in wires:
            seen += 1
            if (batch := await _owner(context, wire)) is not None:
                return Ours(batch=batch)
            if seen >= PROOF_LINES:
                return Foreign()
    if total is not None and seen >= total:
        return Foreign()
    return Unsure(why=f"the results ended after {seen} of {'unknown' if total is None else total} lines")


async def _wire_ids(context: Context, remote_id: str) -> AsyncGenerator[str, None]:
    """The custom ids of the complete lines of a result file."""
    splitter, barren = LineSplitter(MAX_LINE_BYTES), Barren()
    async with context.provider.results(remote_id) as download:
        async for chunk in download.chunks:
            lines = decode_split(splitter.feed(chunk))
            found = [line.wire_id for line in lines if isinstance(line, ResultLine)]
            for own in found:
                yield own
            if barren.took(len(chunk), chunk.count(b"\n"), news=bool(found)):
                return
    for line in decode_split(splitter.rest()):
        if isinstance(line, ResultLine):
            yield line.wire_id


async def _owner(context: Context, wire: str) -> Batch | None:
    parts = split_wire_id(wire)
    return None if parts is None else await context.store.evidence.by_nonce(parts[0])


async def look_up(context: Context, remote_id: str) -> RemoteBatch | None:
    """One remote batch, or None if the API does not show it now (which proves nothing)."""
    try:
        return await asked(context, context.provider.retrieve(remote_id))
    except ProviderNotFound:
        return None


async def look_up_odd(context: Context, entries: Iterable[OddEntry]) -> list[RemoteBatch]:
    """What can be read of *entries* when each is asked for by its id; only so many are, the rest stay as they are.

    What is ours already, or is known to be foreign, is not asked for.
    """
    named = {entry.mark: stand_in(entry, context.clock.now()) for entry in entries if entry.id is not None}
    if not named:
        return []
    unclaimed = await context.store.evidence.unclaimed(list(named.values()))
    found: list[RemoteBatch] = []
    for entry in unclaimed[:_MOST_ASKED_FOR]:
        try:
            remote = await look_up(context, entry.id)
        except ProviderUnreadable:
            continue
        if remote is not None:
            found.append(remote)
    return found


def stand_in(entry: OddEntry, at: datetime) -> RemoteBatch:
    """A batch in place of an entry that cannot be read: what is unknown of it is 0, *at*, or the API's own span."""
    created_at = at if entry.created_at is None else entry.created_at
    return RemoteBatch(
        id=entry.mark,
        status=RemoteStatus.IN_PROGRESS,
        counts=Counts(processing=0 if entry.total is None else entry.total),
        created_at=created_at,
        expires_at=created_at + _LIFE,
    )
