"""The body of a create as a `Source`: its requests as they arrive, or the API's error for the whole body."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING, Final

from orchestrator.domain.batches_api import ApiError, too_large
from orchestrator.domain.create_body import BodyReader
from orchestrator.ports.streams import Chunker, InputLine, InputProblem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from orchestrator.domain.create_body import Item
    from orchestrator.ports.runtime import MemoryReservation

#: How much is read between two turns of the event loop.
_SLICE_BYTES: Final = 128 * 1024
#: Around the params of one request there may be whitespace, and a piece of the next.
_FRAME_BYTES: Final = 1 << 20
_ID_IN_RAW: Final = re.compile(rb'\{"custom_id":"([a-zA-Z0-9_-]+)"')


class BodySource:
    """A `Source` from a body that arrives in *blocks*; holds at most one request and one block, accounted to *claim*.

    *largest_params*: the cap of one request. *is_known* is called with the hash at the end of a valid body: True means
    that it is a job already, and nothing of it may be stored.
    """

    def __init__(
        self,
        blocks: AsyncIterator[bytes],
        *,
        name: str,
        largest_params: int,
        claim: MemoryReservation,
        is_known: Callable[[str], Awaitable[bool]],
    ) -> None:
        self.refusal: ApiError | None = None
        self.size_bytes = 0
        self._blocks = blocks
        self._name = name
        self._largest = largest_params
        self._claim = claim
        self._is_known = is_known
        self._reader = BodyReader(
            max_requests=None, max_bytes=None, max_held=largest_params + _FRAME_BYTES, remembers_ids=False
        )
        self._digest = hashlib.sha256()
        self._given = 0
        self._ended = False
        self._chunker = Chunker()
        self._refused_at = 0

    @property
    def name(self) -> str:
        """Never shown here."""
        return self._name

    @property
    def content_hash(self) -> str:
        """SHA-256 of the body. Raises RuntimeError before its end."""
        if not self._ended:
            raise RuntimeError("the body was not read to its end")
        return self._digest.hexdigest()

    async def chunks(self) -> AsyncGenerator[Sequence[InputLine | InputProblem], None]:
        """The requests in order; at the end one problem if the body is refused or known already."""
        async for block in self._blocks:
            for start in range(0, len(block), _SLICE_BYTES):
                piece = block[start : start + _SLICE_BYTES]
                self._digest.update(piece)
                self.size_bytes += len(piece)
                for full in self._gather(self._reader.feed(piece)):
                    yield full
                await self._claim.hold(self._chunker.held.with_line(self._reader.held_bytes))
                await asyncio.sleep(0)
        for last in self._finish():
            yield last
        if self.refusal is None and await self._is_known(self.content_hash):
            yield [_problem(0)]

    def _finish(self) -> Iterator[list[InputLine | InputProblem]]:
        try:
            yield from self._gather(self._reader.finish())
        except ApiError as refusal:
            self._refuse(refusal, line=0 if self._reader.is_broken else self._given + 1)
        self._ended = True
        last: list[InputLine | InputProblem] = self._chunker.take()
        if self.refusal is not None:
            last.append(_problem(self._refused_at))
        if last:
            yield last

    def _gather(self, items: Iterator[Item]) -> Iterator[list[InputLine | InputProblem]]:
        """Full chunks of *items*; the rest waits for more."""
        for item in items:
            params = bytes(item.params)
            if len(params) > self._largest:
                self._refuse(too_large(), line=0)
            if self.refusal is not None:
                continue
            self._given += 1
            if full := self._chunker.add(InputLine(self._given, item.custom_id, params)):
                yield full

    def _refuse(self, refusal: ApiError, *, line: int) -> None:
        """The first refusal counts; the rest of the body is read and discarded, as the API does."""
        if self.refusal is None:
            self.refusal, self._refused_at = refusal, line


def repeated_id(problem: InputProblem) -> str | None:
    """The custom_id that *problem* reports as repeated, from the request it shows; None for another problem."""
    found = _ID_IN_RAW.match(problem.raw)
    return None if found is None else found[1].decode()


def _problem(line: int) -> InputProblem:
    """Makes the engine refuse the whole body. The client is told `refusal`, in the API's words."""
    return InputProblem(line=line, field="", message="the create is refused", remedy="", raw=b"")
