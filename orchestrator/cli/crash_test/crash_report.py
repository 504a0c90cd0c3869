"""The report of `run --crash-test`: where each process was killed, what became of its POST, and the totals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.cli.output import as_table
from orchestrator.domain.states import BatchState
from orchestrator.sandbox import CrashPoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.domain.ids import BatchId
    from orchestrator.domain.model import Batch, JobStatus
    from orchestrator.sandbox.ledger import AuditResult

WHERE: Final = {
    CrashPoint.CURSOR: "before the intent to send was stored",
    CrashPoint.SENDING: "while a body was being sent",
    CrashPoint.RECEIVED: "after the last byte, before the API acted",
    CrashPoint.CREATED: "when the batch existed, before the answer",
    CrashPoint.ANSWERED: "when the answer was whole, before it was stored",
    CrashPoint.WATCHING: "while the batches were watched",
    CrashPoint.READING: "in the middle of a download",
}

#: Said of a life that left no POST without an answer.
_NOTHING_UNDER_WAY: Final = {
    CrashPoint.CURSOR: "no POST had begun",
    CrashPoint.WATCHING: "no POST under way; the next life watches again",
    CrashPoint.READING: "no POST under way; the next life downloads again",
}
_NUMBERS: Final = "(what is sent again gets a new batch number: the numbers may go beyond the batches at the API)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One process of a crash test. point: where it was killed; None: it lived to the end.

    status: the store, seen right after the end. unclear: the batches whose POST it left without an answer.
    """

    number: int
    point: CrashPoint | None
    status: JobStatus
    unclear: tuple[BatchId, ...] = ()


def life_line(life: Life) -> str:
    """The line that is printed when a process has ended."""
    if life.point is None:
        return f"life {life.number}  lived to the end"
    return f"life {life.number}  kill -9 {WHERE[life.point]}"


def table(lives: Sequence[Life], batches: Mapping[BatchId, Batch]) -> str:
    """One row per life, and what a number in it means. batches: as they are at the end, by id."""
    rows = [("life", "kill -9", "what became of the POST")]
    for life in lives:
        where = "none: it lived to the end" if life.point is None else WHERE[life.point]
        rows.append((str(life.number), where, _became(life, batches)))
    return f"{as_table(rows)}\n{_NUMBERS}"


def _became(life: Life, batches: Mapping[BatchId, Batch]) -> str:
    if life.point is None:
        return "every batch is settled"
    if life.unclear:
        return "; ".join(f"batch {key}: in doubt; {_verdict(batches[key])}" for key in life.unclear)
    return _NOTHING_UNDER_WAY.get(life.point, "no POST under way")


def _verdict(batch: Batch) -> str:
    """How a batch in doubt was settled; none is left when the job is over."""
    is_void = batch.state is BatchState.VOID
    return "not found at the API, sent again in a new batch" if is_void else "found at the API, adopted, not sent again"


def sum_line(books: AuditResult) -> str:
    """The audit in one line."""
    return (
        f"requests {books.requests:,} · batches at the API {books.batches:,} · "
        f"lost {books.lost:,} · paid twice {books.paid_twice:,}"
    )


def view(lives: Sequence[Life], batches: Mapping[BatchId, Batch], books: AuditResult, output: str) -> dict[str, object]:
    """The report as JSON."""
    return {
        "requests": books.requests,
        "batches_at_the_api": books.batches,
        "lost": books.lost,
        "paid_twice": books.paid_twice,
        "lives": [_life_view(life, batches) for life in lives],
        "output": output,
        "sandbox": True,
    }


def _life_view(life: Life, batches: Mapping[BatchId, Batch]) -> dict[str, object]:
    counts = life.status.job.requests
    return {
        "life": life.number,
        "killed_at": life.point,
        "where": None if life.point is None else WHERE[life.point],
        "signal": None if life.point is None else 9,
        "batches": life.status.batches,
        "settled": counts.settled,
        "cut_off": [{"batch": key, "at_the_api": batches[key].state is not BatchState.VOID} for key in life.unclear],
    }
