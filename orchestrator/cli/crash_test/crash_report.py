"""The books of the crash test: its lives and their batches, and the audit of input, ledger and output."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import msgspec
import zstandard

from orchestrator.cli import console, input_options
from orchestrator.domain import ids, model, states
from orchestrator.ports.streams import InputLine
from orchestrator.sandbox import CrashPoint

if TYPE_CHECKING:
    from orchestrator.config import Settings
    from orchestrator.ports.reads import Reads
    from orchestrator.sandbox.ledger import Audit, AuditResult

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
    status: model.JobStatus
    unclear: tuple[ids.BatchId, ...] = ()


def life_line(life: Life) -> str:
    """The line that is printed when a process has ended."""
    if life.point is None:
        return f"life {life.number}  lived to the end"
    return f"life {life.number}  kill -9 {WHERE[life.point]}"


def table(lives: Sequence[Life], batches: Mapping[ids.BatchId, model.Batch]) -> str:
    """One row per life, and what a number in it means. batches: as they are at the end, by id."""
    rows = [("life", "kill -9", "what became of the POST")]
    for life in lives:
        where = "none: it lived to the end" if life.point is None else WHERE[life.point]
        rows.append((str(life.number), where, _became(life, batches)))
    return f"{console.as_table(rows)}\n{_NUMBERS}"


def _became(life: Life, batches: Mapping[ids.BatchId, model.Batch]) -> str:
    if life.point is None:
        return "every batch is settled"
    if life.unclear:
        return "; ".join(f"batch {key}: in doubt; {_verdict(batches[key])}" for key in life.unclear)
    return _NOTHING_UNDER_WAY.get(life.point, "no POST under way")


def _verdict(batch: model.Batch) -> str:
    """How a batch in doubt was settled; none is left when the job is over."""
    is_void = batch.state is states.BatchState.VOID
    return "not found at the API, sent again in a new batch" if is_void else "found at the API, adopted, not sent again"


def sum_line(books: AuditResult) -> str:
    """The audit in one line."""
    return (
        f"requests {books.requests:,} · batches at the API {books.batches:,} · "
        f"lost {books.lost:,} · paid twice {books.paid_twice:,}"
    )


def view(
    lives: Sequence[Life], batches: Mapping[ids.BatchId, model.Batch], books: AuditResult, output: str
) -> dict[str, object]:
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


def _life_view(life: Life, batches: Mapping[ids.BatchId, model.Batch]) -> dict[str, object]:
    counts = life.status.job.requests
    return {
        "life": life.number,
        "killed_at": life.point,
        "where": None if life.point is None else WHERE[life.point],
        "signal": None if life.point is None else 9,
        "batches": life.status.batches,
        "settled": counts.settled,
        "cut_off": [
            {"batch": key, "at_the_api": batches[key].state is not states.BatchState.VOID} for key in life.unclear
        ],
    }


#: More than a crash test has lives.
_MANY: Final = 100


class _ResultId(msgspec.Struct):
    custom_id: str


def the_job(reads: Reads) -> model.JobSnapshot:
    """The first job of the store. A later one is an import that a killed process did not finish."""
    return min(reads.jobs(limit=_MANY), key=lambda job: job.id)


def lines_left_out(reads: Reads) -> set[int]:
    """The lines that `--skip-bad` left out."""
    job, lines, after = the_job(reads).id, set[int](), 0
    while page := reads.refused(job, after=after):
        after = page[-1].line
        lines |= {problem.line for problem in page}
    return lines


async def count(chosen: input_options.InputOptions, settings: Settings) -> int:
    """The number of requests. Problems with them are reported by the first process."""
    async with aclosing(_requests(chosen, settings)) as requests:
        total = 0
        async for _ in requests:
            total += 1
        return total


async def _requests(chosen: input_options.InputOptions, settings: Settings) -> AsyncGenerator[InputLine, None]:
    async with aclosing(chosen.source(settings).chunks()) as chunks:
        async for chunk in chunks:
            for item in chunk:
                if isinstance(item, InputLine):
                    yield item


async def books_of(
    audit: Audit, chosen: input_options.InputOptions, settings: Settings, output: str, left_out: set[int]
) -> AuditResult:
    """Compare the input, request by request, with the sandbox's ledger, and its ids with those of the results."""
    answers = _ids_in(output)
    async with aclosing(_requests(chosen, settings)) as requests:
        async for request in requests:
            if request.line not in left_out:
                answered = next(answers, None) == request.custom_id
                audit.ask(hashlib.sha256(request.params).hexdigest(), is_answered=answered)
    return audit.books()


def _ids_in(output: str) -> Iterator[str]:
    decode = msgspec.json.Decoder(_ResultId).decode
    with _opened(output) as file:
        for line in file:
            yield decode(line).custom_id


def _opened(output: str) -> BinaryIO:
    """A result file, unpacked as its name says."""
    if output.endswith(".gz"):
        return cast("BinaryIO", gzip.open(output))
    if output.endswith(".zst"):
        return io.BufferedReader(cast("io.RawIOBase", zstandard.open(output, "rb")))
    return Path(output).open("rb")
