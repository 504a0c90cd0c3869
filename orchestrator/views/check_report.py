"""Checks an input without storing or sending anything: its size, its problems, and the batches it would make."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from orchestrator.domain.packing import Caps, pack
from orchestrator.ports.streams import InputLine, InputProblem, Source

_PARTS: Final = 256


@dataclass(slots=True, kw_only=True)
class CheckReport:
    """Result of a check. batches: (requests, bytes of the exact body) each; problems: the first ones, by line."""

    requests: int = 0
    size_bytes: int = 0
    batches: list[tuple[int, int]] = field(default_factory=list)
    problems: list[InputProblem] = field(default_factory=list)
    problem_count: int = 0


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


class Packer:
    """Cuts requests into batches as the planner does, holding the sizes of at most one batch."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._rows: list[tuple[int, int]] = []
        self._bytes = self._number = 0
        self.batches: list[tuple[int, int]] = []

    def add(self, params_bytes: int) -> None:
        """Add the next request."""
        self._number += 1
        self._rows.append((self._number, params_bytes))
        self._bytes += params_bytes
        if len(self._rows) > self._caps.requests or self._bytes > self._caps.size_bytes:
            self._cut()

    def finish(self) -> None:
        """Cut what is left."""
        while self._rows:
            self._cut()

    def _cut(self) -> None:
        cut = pack(self._rows, self._caps)
        taken = max(1, len(cut.numbers))  # a request too large alone was a problem at intake; it takes no part
        if cut.numbers:
            self.batches.append((len(cut.numbers), cut.size_bytes))
        self._rows = self._rows[taken:]
        self._bytes = sum(size for _, size in self._rows)


async def check_source(source: Source, caps: Caps, *, max_problems: int) -> CheckReport:
    """Read *source* to its end. Raises InputError where reading itself fails."""
    report, ids, packer = CheckReport(), IdRegister(), Packer(caps)
    chunks = source.chunks()
    async with aclosing(chunks):
        async for chunk in chunks:
            for item in chunk:
                if isinstance(item, InputLine):
                    report.requests += 1
                    ids.add(item.custom_id, item.line)
                    packer.add(len(item.params))
                else:
                    _note(report, item, max_problems)
    for line, first in await asyncio.to_thread(lambda: sorted(ids.repeats())):  # a second for a million
        report.requests -= 1
        _note(report, _repeat(source.name, line, first), max_problems)
    packer.finish()
    report.problems.sort(key=lambda problem: problem.line)
    report.size_bytes, report.batches = source.size_bytes, packer.batches
    return report


def _note(report: CheckReport, problem: InputProblem, most: int) -> None:
    report.problem_count += 1
    if len(report.problems) < most:
        report.problems.append(problem)


def _repeat(name: str, line: int, first: int) -> InputProblem:
    return InputProblem(
        line=line,
        field="custom_id",
        message=f"is taken by {name}:{first}",
        remedy="give every request of a job a custom_id of its own",
        raw=b"",
    )
