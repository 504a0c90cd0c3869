"""The audit of `run --crash-test`: compares each request of the input with the sandbox's ledger and the results."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import msgspec
import zstandard

from orchestrator.ports.streams import InputLine

if TYPE_CHECKING:
    from orchestrator.cli.input_options import InputOptions
    from orchestrator.config import Settings
    from orchestrator.domain.model import JobSnapshot
    from orchestrator.ports.reads import Reads
    from orchestrator.sandbox.ledger import Audit, AuditResult


#: More than a crash test has lives.
_MANY: Final = 100


class _ResultId(msgspec.Struct):
    custom_id: str


def the_job(reads: Reads) -> JobSnapshot:
    """The first job of the store. A later one is an import that a killed process did not finish."""
    return min(reads.jobs(limit=_MANY), key=lambda job: job.id)


def lines_left_out(reads: Reads) -> set[int]:
    """The lines that `--skip-bad` left out."""
    job, lines, after = the_job(reads).id, set[int](), 0
    while page := reads.refused(job, after=after):
        after = page[-1].line
        lines |= {problem.line for problem in page}
    return lines


async def count(chosen: InputOptions, settings: Settings) -> int:
    """The number of requests. Problems with them are reported by the first process."""
    async with aclosing(_requests(chosen, settings)) as requests:
        total = 0
        async for _ in requests:
            total += 1
        return total


async def _requests(chosen: InputOptions, settings: Settings) -> AsyncGenerator[InputLine, None]:
    async with aclosing(chosen.source(settings).chunks()) as chunks:
        async for chunk in chunks:
            for item in chunk:
                if isinstance(item, InputLine):
                    yield item


async def books_of(
    audit: Audit, chosen: InputOptions, settings: Settings, output: str, left_out: set[int]
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
    """The custom_ids of a result file, line by line; it may be compressed."""
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
