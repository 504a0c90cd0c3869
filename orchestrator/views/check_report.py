"""Checks an input without storing or sending anything: its size, its problems, and the batches it would make."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from orchestrator.domain.billing import Rates
from orchestrator.domain.packing import Caps
from orchestrator.domain.prime_plan import PlannedBatch, PrimePlan
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.version_choice import VersionChoice
from orchestrator.ports.alike_problems import AlikeProblems
from orchestrator.ports.streams import InputLine, InputProblem, Source, files_of, notices_of

_PARTS: Final = 256
#: So many of the requests that go ahead are named.
SHOWN_AHEAD: Final = 20
#: The rates of now of those of some models that have a price.
RatesNow = Callable[[Collection[str]], Awaitable[Mapping[str, Rates]]]


async def _no_rates(_models: Collection[str]) -> Mapping[str, Rates]:
    return {}


@dataclass(slots=True, kw_only=True)
class CheckReport:
    """Result of a check. batches: in the order in which they are sent; problems: the first ones, by line.

    notices: of what is not wrong, for people.
    ahead: the custom ids of requests that go ahead of others for the prompt cache, the first of them.
    """

    requests: int = 0
    size_bytes: int = 0
    batches: list[PlannedBatch] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)
    problems: list[InputProblem] = field(default_factory=list)
    problem_count: int = 0
    notices: list[str] = field(default_factory=list)
    version: VersionChoice = field(default_factory=VersionChoice)  #: what its requests need


class IdRegister:
    """Finds repeated ids with 16 bytes per request, whatever their length: compares hashes, one part at a time.

    Two different ids with one hash would be called the same: with ten million ids that happens once in 350,000 files.
    """

    def __init__(self) -> None:
        self._hashes = [array("Q") for _ in range(_PARTS)]
        self._lines = [array("Q") for _ in range(_PARTS)]

    def add(self, custom_id: str, line: int) -> None:
        """Add an id with its line."""
        digest = blake2b(custom_id.encode(), digest_size=8).digest()
        self._hashes[digest[0]].append(int.from_bytes(digest, "little"))
        self._lines[digest[0]].append(line)

    def repeats(self) -> Iterator[tuple[int, int]]:
        """(line, first line with the same id), in no order."""
        for hashes, lines in zip(self._hashes, self._lines, strict=True):
            first: dict[int, int] = {}
            for found, line in zip(hashes, lines, strict=True):
                known = first.setdefault(found, line)
                if known != line:
                    yield line, known


async def check_source(
    source: Source, caps: Caps, *, max_problems: int, use: CacheUse = CacheUse.OFF, rates: RatesNow = _no_rates
) -> CheckReport:
    """Read *source* to its end. use, rates: what is done about the cache, and what it costs. Raises InputError."""
    report, ids, plan, alike = CheckReport(), IdRegister(), PrimePlan(use), AlikeProblems()
    chunks, files = source.chunks(), files_of(source)
    async with aclosing(chunks):
        async for chunk in chunks:
            lines = [item for item in chunk if isinstance(item, InputLine)]
            report.requests += len(lines)
            await asyncio.to_thread(plan.add, [(line.custom_id, line.params) for line in lines])
            report.version.add_all(line.params for line in lines)
            for item in chunk:
                if isinstance(item, InputLine):
                    ids.add(item.custom_id, item.line)
                else:
                    _note(report, alike, files.placed(item), max_problems)
    for line, first in await asyncio.to_thread(lambda: sorted(ids.repeats())):  # a second for a million
        report.requests -= 1
        _note(report, alike, _repeat(source, line, first), max_problems)
    report.problems = sorted(alike.told(report.problems), key=lambda problem: problem.line)
    known = await rates(plan.models)
    report.notices = list(notices_of(source))
    report.size_bytes, report.ahead = source.size_bytes, plan.ahead(known)[:SHOWN_AHEAD]
    report.batches = await asyncio.to_thread(plan.batches, caps, known)
    return report


def _note(report: CheckReport, alike: AlikeProblems, problem: InputProblem, most: int) -> None:
    if alike.take(problem):
        return
    report.problem_count += 1
    if len(report.problems) < most:
        report.problems.append(problem)


def _repeat(source: Source, line: int, first: int) -> InputProblem:
    files = files_of(source)
    return InputProblem(
        line=line,
        field="custom_id",
        message=f"is taken by {files.place(first) or f'{source.name}:{first}'}",
        remedy="give every request of a job a custom_id of its own",
        raw=b"",
        place=files.place(line),
    )
