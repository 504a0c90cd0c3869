"""The batches that an input would become, and which of them goes ahead for the prompt cache: told by what passes.

The planner goes by rows of the store (`engine/sending_ahead`); here the same comes out of a few bytes of each request.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from orchestrator.domain.billing import Rates
from orchestrator.domain.cache_marker import MARKER_BYTES, takes_marker
from orchestrator.domain.cache_prefix import ANOTHER, Breakpoint, PrefixReader, choose, kept, shareable_points
from orchestrator.domain.packing import Caps, pack
from orchestrator.domain.priming import GROUPS_AT_ONCE, LEAST_ROWS, LEAST_SAVING, CacheUse, SharedTokens, saving_of

__all__ = ["Packer", "PlannedBatch", "PrimePlan", "Turn"]

_NONE: Final = -1


class Turn(StrEnum):
    """When a batch is sent."""

    AT_ONCE = "at_once"  #: as soon as there is room
    AHEAD = "ahead"  #: so, and it has one request of each prefix that others share
    AFTER = "after"  #: once what went ahead of it has ended


class PlannedBatch(NamedTuple):
    """A batch that would be made: its requests, the bytes of its exact body."""

    requests: int
    size_bytes: int
    turn: Turn = Turn.AT_ONCE


class Packer:
    """Cuts requests into batches as the planner does, holding the sizes of at most one batch."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._rows: list[tuple[int, int]] = []
        self._bytes = self._number = 0
        self.batches: list[tuple[int, int]] = []

    def add(self, params_bytes: int, number: int | None = None) -> None:
        """Add the next request. number: its place in the job, which is in its wire id; None: it comes next."""
        self._number = self._number + 1 if number is None else number
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


class _Prefix:
    """Requests that count for one prefix. first: the custom id of the first."""

    __slots__ = ("first", "number", "point", "requests")

    def __init__(self, number: int, point: Breakpoint, first: str) -> None:
        self.number, self.point, self.first = number, point, first
        self.requests = 0


class PrimePlan:
    """Takes every request of an input, eight bytes of each. use: what the job does about the prompt cache."""

    def __init__(self, use: CacheUse = CacheUse.OFF) -> None:
        self._use = use
        self._reader = PrefixReader()
        self._sizes, self._prefix_of = array("I"), array("i")
        self._prefixes: dict[bytes, _Prefix] = {}

    def add(self, many: Sequence[tuple[str, bytes]]) -> None:
        """Take some requests that are stored together: custom id and params of each."""
        above = len(self._sizes)
        self._sizes.extend(len(params) for _, params in many)
        self._prefix_of.extend([_NONE] * len(many))
        if self._use is CacheUse.OFF:
            return
        is_added = self._use is CacheUse.AUTO
        found = (shareable_points(self._reader, params, is_added=is_added) for _, params in many)
        marked = [(place, long) for place, points in enumerate(found) if (long := kept(points))]
        enough = LEAST_ROWS if is_added else ANOTHER
        for place, point in choose(marked, self._prefixes.__contains__, enough=enough).items():
            if not is_added or takes_marker(many[place][1], point.part):
                self._count(above + place, point, many[place][0])

    def _count(self, number: int, point: Breakpoint, custom_id: str) -> None:
        prefix = self._prefixes.get(point.digest)
        if prefix is None:
            prefix = self._prefixes[point.digest] = _Prefix(len(self._prefixes), point, custom_id)
        prefix.requests += 1
        self._prefix_of[number] = prefix.number

    @property
    def models(self) -> set[str]:
        """The models whose prices are needed."""
        return {each.point.model for each in self._shared}

    @property
    def _shared(self) -> list[_Prefix]:
        return [each for each in self._prefixes.values() if each.requests >= LEAST_ROWS]

    def _primed(self, rates: Mapping[str, Rates]) -> list[_Prefix]:
        """The prefixes of which one request goes ahead; none where that saves too little."""
        shared = self._shared
        tokens = [SharedTokens(each.point.model, each.point.ttl_s, _read(each)) for each in shared]
        return shared if shared and saving_of(tokens, self._use, rates) >= LEAST_SAVING else []

    def ahead(self, rates: Mapping[str, Rates]) -> list[str]:
        """The custom ids of the requests that go ahead."""
        return [each.first for each in self._primed(rates)]

    def batches(self, caps: Caps, rates: Mapping[str, Rates]) -> list[PlannedBatch]:
        """The batches in the order in which they are sent, if every request is, and none comes back."""
        primed = self._primed(rates)
        mine = {each.number: place for place, each in enumerate(primed)}
        members: list[array[int]] = [array("I") for _ in primed]
        free = array("I")
        for number, prefix in enumerate(self._prefix_of):
            place = mine.get(prefix)
            (free if place is None else members[place]).append(number)
        found: list[PlannedBatch] = []
        for start in range(0, max(1, len(primed)), GROUPS_AT_ONCE):
            some = members[start : start + GROUPS_AT_ONCE]
            found += self._packed([group[0] for group in some], caps, Turn.AHEAD)
            if not start:
                found += self._packed(free, caps, Turn.AT_ONCE)
            found += self._packed([number for group in some for number in group[1:]], caps, Turn.AFTER)
        return found

    def _packed(self, numbers: Iterable[int], caps: Caps, turn: Turn) -> Iterator[PlannedBatch]:
        packer = Packer(caps)
        more = MARKER_BYTES if self._use is CacheUse.AUTO and turn is not Turn.AT_ONCE else 0
        for number in numbers:
            packer.add(self._sizes[number] + more, number + 1)
        packer.finish()
        return (PlannedBatch(requests, size_bytes, turn) for requests, size_bytes in packer.batches)


def _read(prefix: _Prefix) -> int:
    return prefix.point.tokens * (prefix.requests - 1)
