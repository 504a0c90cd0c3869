"""A job that still grows: requests are added until somebody says that no more will come."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from orchestrator.client.job import Job
from orchestrator.client.submission import refusal
from orchestrator.domain.errors import UsageError
from orchestrator.ports.engine import IngestOptions, IngestResult
from orchestrator.ports.streams import InputLine, InputProblem
from orchestrator.views.source_codec import numbered_on

if TYPE_CHECKING:
    from orchestrator.client.link import Link
    from orchestrator.domain import model
    from orchestrator.domain.model import NewJob
    from orchestrator.domain.params import ParamRules
    from orchestrator.ports.streams import Source

_SHOWN: Final = 20


class OpenJob:
    """Made by `Orchestrator.open_job`. The job itself comes into being with the first request; until then it is None.

    What `add` has returned from is stored, and is worked on while the job still grows (`[batching] linger`).
    """

    def __init__(self, link: Callable[[], Link], new: NewJob, rules: ParamRules, job: model.Job | None) -> None:
        self._link = link
        self._new = new
        self._rules = rules
        self._key = None if job is None else job.id
        self._count = 0 if job is None else job.requests.total
        self.job = None if job is None else Job(link, job, attached=True)

    async def add(self, requests: Iterable[object] | AsyncIterable[object]) -> int:
        """Add SDK `Request` dicts; returns how many. Stored chunk by chunk, up to 2,000 requests or 4 MiB at a time.

        Raises InputRefused for requests that may not be sent, InputError for a custom_id that the job has already:
        nothing of that chunk is stored then, and what came before it stays.
        """
        return await self.add_source(self.source(requests))

    def source(self, requests: Iterable[object] | AsyncIterable[object]) -> Source:
        """What `add` hands to `add_source`; nothing is read yet."""
        from orchestrator.inputs import source_from_objects

        return source_from_objects(requests, name="requests", rules=self._rules)

    async def add_source(self, source: Source) -> int:
        """The same for requests that were read already."""
        added = 0
        async with aclosing(cast("Any", source.chunks())) as chunks:
            async for chunk in chunks:
                problems = tuple(item for item in chunk if isinstance(item, InputProblem))
                if problems:
                    raise refusal(source.name, _refused(problems), hint=f"{added:,} requests before them were added")
                await self._add(numbered_on(chunk, above=self._count))
                self._count += len(chunk)
                added += len(chunk)
        return added

    async def close(self) -> Job:
        """No more will come: the job may finish. Raises UsageError if it never got a request."""
        if self._key is None or self.job is None:
            raise UsageError("the job has no requests", hint="add at least one before closing it")
        await self._link().growing.close(self._key)
        return self.job

    async def _add(self, lines: Sequence[InputLine]) -> None:
        if self._key is not None:
            await self._link().growing.add(self._key, lines)
            return
        # Its content is never complete, so nothing may take it for the job of the same content.
        taken = await self._link().commands.take_in(_Beginning(lines), self._new, IngestOptions(anew=True))
        if taken.job is None:
            raise refusal(_Beginning.name, taken)
        self._key = taken.job.id
        self.job = Job(self._link, taken.job)


class _Beginning:
    """The first chunk of an open job, as a `Source`."""

    name: str = "requests"

    def __init__(self, lines: Sequence[InputLine]) -> None:
        self._lines = lines
        self.content_hash = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
        self.size_bytes = sum(len(line.params) for line in lines)

    async def chunks(self) -> AsyncIterator[Sequence[InputLine | InputProblem]]:
        """All of it."""
        yield self._lines


def _refused(problems: tuple[InputProblem, ...]) -> IngestResult:
    shown = problems[:_SHOWN]
    return IngestResult(job=None, attached=False, problems=shown, problem_count=len(problems), refused=0)
