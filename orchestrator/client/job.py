"""A handle on a job: watch it, wait for it, read its results, steer it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.client.errors import JobTimeout
from orchestrator.client.result import Result
from orchestrator.domain.account import BY_USER
from orchestrator.domain.errors import GuardRefused, NeedsPerson
from orchestrator.domain.states import OVER, JobState
from orchestrator.views.job_views import does_not_apply

if TYPE_CHECKING:
    from orchestrator.client.link import Link
    from orchestrator.domain import model
    from orchestrator.domain.model import ErrorGroup, JobStatus, RequestDetails
    from orchestrator.ports.streams import InputProblem

#: From one look at the store to the next while waiting; a look is a few indexed reads.
_FIRST_LOOK_S: Final = 0.05
_LOOK_S: Final = 0.5
_PAGE: Final = 500


class Job:
    """A job in the store. Stays valid as long as its orchestrator is open, whatever process runs the engine.

    id: what the command line calls it. name: as given. attached: it was there before it was submitted.
    refused_count: requests that `skip_bad` left out.
    """

    def __init__(
        self,
        link: Callable[[], Link],
        job: model.Job,
        *,
        attached: bool = False,
        refused_count: int = 0,
        unclear: GuardRefused | None = None,
    ) -> None:
        self._link = link
        self._unclear = unclear  # it was asked for by a name that others had, too
        self._key = job.id
        self.id = job.public_id
        self.name = job.name
        self.attached = attached
        self.refused_count = refused_count

    def __repr__(self) -> str:
        return f"Job(id={self.id!r})"

    async def status(self) -> JobStatus:
        """Where it is, with counts of requests and batches. Constant time."""
        return await self._link().reader.read(lambda reads: reads.status(reads.get(self._key)))

    async def wait(self, timeout: float | timedelta | None = None) -> JobStatus:  # noqa: ASYNC109 - the face's word
        """Wait until it is finished or canceled; *timeout* in seconds.

        Raises JobTimeout; NeedsPerson when it is paused because only a person can help. A pause that somebody asked
        for is waited out. A job that is still open never finishes: close it first.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                return await self._over()
        except TimeoutError:
            if not deadline.expired():
                raise
            raise JobTimeout(f"job {self.id} is not finished yet", hint="it goes on; wait for it again") from None

    async def results(self, *, settled_only: bool = False) -> AsyncIterator[Result]:
        """Every result, in input order; waits for the job first.

        settled_only: what is there now, without waiting. Read page by page: memory does not grow with the job.
        Raises what `wait` raises.
        """
        if not settled_only:
            await self.wait()
        number = 0
        while page := await self.page(after=number):
            for result in page:
                yield result
            number = page[-1].number

    async def page(self, *, after: int = 0, limit: int = _PAGE) -> list[Result]:
        """At most *limit* settled results behind the request number *after*, in input order; [] behind the last."""
        rows = await self._link().bulk.read(lambda reads: reads.results(self._key, above=after, limit=limit))
        return [Result(row) for row in rows]

    async def export(self, path: str | os.PathLike[str], *, settled_only: bool = False, overwrite: bool = False) -> int:
        """Write the results to *path*, one line each, in input order; returns how many. Waits for the job first.

        The file appears whole or not at all; `.gz` and `.zst` are compressed, "-" is standard output. An earlier output
        of this job is replaced; overwrite: so is whatever else is there. Raises OutputError before the waiting,
        OutputNotWritten behind it, and what `wait` raises.
        """
        from orchestrator.client.outputs import Output

        output = Output(path, overwrite=overwrite)
        output.check()
        await output.refuse_foreign(self._link().bulk, self._key)
        if not settled_only:
            await self.wait()
        return await output.write(self._link().bulk, self._key)

    async def errors(self) -> list[ErrorGroup]:
        """Failed and canceled requests grouped by cause, the largest group first, with examples."""
        return await self._link().reader.read(lambda reads: reads.errors(self._key))

    async def request(self, custom_id: str) -> RequestDetails:
        """One request, with every trip that did not succeed. Raises NoSuchThing."""
        return await self._link().reader.read(lambda reads: reads.request(self._key, custom_id))

    async def refused(self, *, after: int = 0, limit: int = 1000) -> list[InputProblem]:
        """Why `skip_bad` left requests out: the next problems behind line *after* (several may be on one line)."""
        return await self._link().reader.read(lambda reads: reads.refused(self._key, after=after, limit=limit))

    async def pause(self) -> JobStatus:
        """Send nothing new; what is in flight is still collected. Raises GuardRefused if it does not run."""
        self._refuse_unclear()
        return await self._moved("pause", await self._link().commands.pause(self._key))

    async def resume(self) -> JobStatus:
        """Go on after a pause. Raises GuardRefused if it is not paused, NeedsPerson if its key file cannot be used."""
        self._refuse_unclear()
        return await self._moved("resume", await self._link().commands.resume(self._key))

    async def cancel(self) -> JobStatus:
        """Stop it; what had succeeded is kept. Raises GuardRefused if it is over."""
        self._refuse_unclear()
        return await self._moved("cancel", await self._link().commands.cancel(self._key))

    async def retry(self, only: str | None = None) -> int:
        """Queue failed and canceled requests again, or those of one error type; returns how many."""
        self._refuse_unclear()
        return await self._link().commands.retry(self._key, only)

    def _refuse_unclear(self) -> None:
        if self._unclear is not None:
            raise self._unclear

    async def _moved(self, verb: str, did_apply: bool) -> JobStatus:
        status = await self.status()
        if not did_apply:
            raise does_not_apply(verb, status.job)
        return status

    async def _over(self) -> JobStatus:
        pause_s = _FIRST_LOOK_S
        while True:
            status = await self.status()
            if status.job.state in OVER:
                return status
            if status.job.state is JobState.PAUSED and status.job.reason_code != BY_USER:
                raise NeedsPerson(f"job {self.id} is paused", cause=status.job.reason, hint="then wait for it again")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LOOK_S)
