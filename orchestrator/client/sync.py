"""The library without `await`, for scripts and notebooks. Each method does what its namesake in `Orchestrator` does."""

from __future__ import annotations

import math
import os
import time
from collections.abc import AsyncIterable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, Unpack

from orchestrator.client import notebook
from orchestrator.client.bridge import Bridge
from orchestrator.client.errors import JobTimeout
from orchestrator.client.job import ExportShape, Job, JobAppender
from orchestrator.client.option_signature import lists_options
from orchestrator.client.orchestrator import Input, Orchestrator, as_flags
from orchestrator.client.submission import RowSubmission, Submission, SubmitOptions, count_mode, of_prompts
from orchestrator.domain.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.client.result import Result
    from orchestrator.domain.job_spec import NewJob
    from orchestrator.domain.model import JobStatus
    from orchestrator.domain.queries import ErrorGroup, RequestDetails
    from orchestrator.domain.spending import JobCost
    from orchestrator.ports.estimates import CountMode, Estimate
    from orchestrator.ports.streams import InputProblem, Source
    from orchestrator.views.fleet_views import FleetAnswerView

#: How often a notebook shows how far a job is.
_LOOK_S: Final = 0.5
Requests: TypeAlias = Iterable[object] | AsyncIterable[object]


class _BridgedOrchestrator(Orchestrator):
    """What the blocking twin needs of its orchestrator beside the public methods."""

    async def is_embedded(self) -> bool:
        return self.embedded

    async def prepare(self, requests: Iterable[object], options: SubmitOptions) -> tuple[Source, NewJob]:
        return self._prepare(requests, options)

    async def submit_source(self, source: Source, new: NewJob, options: SubmitOptions) -> Job:
        return await self._submit(source, new, options)

    async def estimate_source(self, source: Source, new: NewJob, options: SubmitOptions, mode: CountMode) -> Estimate:
        return await self._estimate(source, new, options, mode)

    async def appender(self, name: str, how: Submission) -> JobAppender:
        return await self._appender(name, how)


class SyncOrchestrator:
    """`Orchestrator` for code without an event loop, or inside one that runs already (a notebook).

    Use it as `with SyncOrchestrator(...) as orc:`, or call `open` and `close`. The engine works in a thread while the
    program does something else. Ctrl-C ends the current call and nothing else.
    """

    def __init__(
        self,
        db: str | os.PathLike[str] | None = None,
        *,
        sandbox: bool = False,
        config: str | os.PathLike[str] | None = None,
        server: str | None = None,
        token: str | None = None,
        **overrides: object,
    ) -> None:
        as_flags(overrides)  # a name that nobody knows is refused here, where it stands
        here = partial(_BridgedOrchestrator, db, sandbox=sandbox, config=config)
        self._bridge = Bridge(partial(here, server=server, token=token, **overrides))

    def open(self) -> Self:
        """Open the store and start the engine; once only."""
        self._bridge.start()
        return self

    def close(self) -> None:
        """Stop the engine safely; jobs that are not finished go on the next time."""
        self._bridge.stop()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, _kind: type[BaseException] | None, exc: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except BaseException as failure:
            if failure is not exc:  # the engine's failure ended the block: it is on its way already
                raise

    @property
    def embedded(self) -> bool:
        """True if the engine runs in this process."""
        return self._bridge.call(_BridgedOrchestrator.is_embedded)

    @lists_options(RowSubmission)
    def submit(self, requests: Input, *, name: str | None = None, **how: Unpack[RowSubmission]) -> SyncJob:
        """Submit SDK `Request` dicts, or rows with prompt: `help(Orchestrator.submit)` has all options.

        A plain iterable is read in the caller's thread.
        """
        if isinstance(requests, AsyncIterable | str | os.PathLike):
            return self._job(lambda orc: orc.submit(requests, name=name, **how))
        options = SubmitOptions.of(name, how)
        source, new = self._bridge.call(lambda orc: orc.prepare(requests, options))
        handed = self._bridge.hand_over(source, lambda orc, queued: orc.submit_source(queued, new, options))
        return SyncJob(self._bridge, handed)

    @lists_options(RowSubmission)
    def map(
        self, prompts: Iterable[str] | AsyncIterable[str], *, name: str | None = None, **how: Unpack[RowSubmission]
    ) -> list[Result]:
        """Ask every one of *prompts*; the results in their order. `help(Orchestrator.map)` has more."""
        rows, asked = of_prompts(prompts, how)
        return list(self.submit(rows, name=name, **asked).results())

    @lists_options(RowSubmission)
    def estimate(
        self, requests: Input, *, exact: bool = False, offline: bool = False, **how: Unpack[RowSubmission]
    ) -> Estimate:
        """What *requests*, or rows with prompt, will take and cost. A plain iterable is read in the caller's thread."""
        if isinstance(requests, AsyncIterable | str | os.PathLike):
            return self._bridge.call(lambda orc: orc.estimate(requests, exact=exact, offline=offline, **how))
        options, mode = SubmitOptions.of(None, how), count_mode(exact=exact, offline=offline)
        source, new = self._bridge.call(lambda orc: orc.prepare(requests, options))
        return self._bridge.hand_over(source, lambda orc, queued: orc.estimate_source(queued, new, options, mode))

    @lists_options(RowSubmission)
    def submit_file(
        self, path: str | os.PathLike[str], *, name: str | None = None, **how: Unpack[RowSubmission]
    ) -> SyncJob:
        """Submit a file of JSON Lines, or "-" for standard input; with prompt, a table."""
        return self._job(lambda orc: orc.submit_file(path, name=name, **how))

    @lists_options(Submission)
    def open_job(self, name: str, **how: Unpack[Submission]) -> SyncOpenJob:
        """A job that still grows."""
        return SyncOpenJob(self._bridge, self._bridge.call(lambda orc: orc.appender(name, how)))

    def job(self, ref: str) -> SyncJob:
        """The job that *ref* means."""
        return self._job(lambda orc: orc.job(ref))

    def jobs(
        self,
        *,
        limit: int = 100,
        tags: Collection[str] = (),
        submitted_by: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> list[JobStatus]:
        """The newest jobs with all of *tags*, handed in with the token of that name."""
        return self._bridge.call(
            lambda orc: orc.jobs(limit=limit, tags=tags, submitted_by=submitted_by, since=since, until=until)
        )

    def fleet(self) -> FleetAnswerView:
        """The daemons on the store."""
        return self._bridge.call(lambda orc: orc.fleet())

    def _job(self, use: Callable[[Orchestrator], Coroutine[Any, Any, Job]]) -> SyncJob:
        return SyncJob(self._bridge, self._bridge.call(use))


class SyncJob:
    """`Job`, blocking."""

    def __init__(self, bridge: Bridge[_BridgedOrchestrator], job: Job) -> None:
        self._bridge = bridge
        self._job = job
        self.id = job.id
        self.name = job.name
        self.attached = job.attached
        self.refused_count = job.refused_count

    def __repr__(self) -> str:
        return f"SyncJob(id={self.id!r})"

    def _repr_html_(self) -> str | None:
        """For notebooks: its state now, and how far it is; None, and so the text, where it cannot be asked."""
        with suppress(OrchestratorError):
            return notebook.job_card(self.status())
        return None

    def status(self) -> JobStatus:
        """Its state, with counts."""
        return self._bridge.call(lambda _: self._job.status())

    def wait(self, timeout: float | timedelta | None = None) -> JobStatus:
        """Wait until it is finished or canceled. A notebook shows meanwhile how far it is."""
        show = notebook.live_card()
        if show is None:
            return self._bridge.call(lambda _: self._job.wait(timeout))
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        ends = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            show(self.status())
            left = ends - time.monotonic()
            try:
                status = self._bridge.call(lambda _: self._job.wait(min(_LOOK_S, max(0, left))))  # noqa: B023 - at once
            except JobTimeout:
                if left <= _LOOK_S:
                    raise
            else:
                show(status)
                return status

    def results(self, *, settled_only: bool = False) -> Iterator[Result]:
        """Yield every result in input order, page by page."""
        if not settled_only:
            self.wait()
        number = 0
        while page := self._page(number):
            yield from page
            number = page[-1].number

    def to_dicts(self, *, settled_only: bool = False, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Every result as one flat dict: `pd.DataFrame(job.to_dicts())`."""
        if not settled_only:
            self.wait()
        return self._bridge.call(lambda _: self._job.to_dicts(settled_only=settled_only, columns=columns))

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        settled_only: bool = False,
        overwrite: bool = False,
        **shape: Unpack[ExportShape],
    ) -> int:
        """Write the results to *path*."""
        if not settled_only:
            self.wait()
        return self._bridge.call(
            lambda _: self._job.export(path, settled_only=settled_only, overwrite=overwrite, **shape)
        )

    def cost(self) -> JobCost:
        """What it has cost so far."""
        return self._bridge.call(lambda _: self._job.cost())

    def errors(self) -> list[ErrorGroup]:
        """Failed and canceled requests grouped by cause."""
        return self._bridge.call(lambda _: self._job.errors())

    def request(self, custom_id: str) -> RequestDetails:
        """One request, with every attempt that failed."""
        return self._bridge.call(lambda _: self._job.request(custom_id))

    def refused(self, *, after: int = 0, limit: int = 1000) -> list[InputProblem]:
        """The requests that `skip_bad` left out, and why."""
        return self._bridge.call(lambda _: self._job.refused(after=after, limit=limit))

    def pause(self) -> JobStatus:
        """Submit nothing new."""
        return self._bridge.call(lambda _: self._job.pause())

    def resume(self) -> JobStatus:
        """End a pause."""
        return self._bridge.call(lambda _: self._job.resume())

    def cancel(self) -> JobStatus:
        """Cancel the job."""
        return self._bridge.call(lambda _: self._job.cancel())

    def retry(
        self,
        only: str | Collection[str] | None = None,
        *,
        set: Mapping[str, object] | None = None,  # noqa: A002 - as in `Job`
        drop: Collection[str] = (),
        grow: bool = False,
        error_cause: str | Collection[str] | None = None,
    ) -> int:
        """Queue failed and canceled requests again, or those that are named, with other params."""
        return self._bridge.call(
            lambda _: self._job.retry(only, set=set, drop=drop, grow=grow, error_cause=error_cause)
        )

    def _page(self, number: int) -> list[Result]:
        return self._bridge.call(lambda _: self._job.page(after=number))


class SyncOpenJob:
    """`OpenJob`, blocking."""

    def __init__(self, bridge: Bridge[_BridgedOrchestrator], appender: JobAppender) -> None:
        self._bridge = bridge
        self._appender = appender

    @property
    def job(self) -> SyncJob | None:
        """The growing job, once it has a request."""
        return None if self._appender.job is None else SyncJob(self._bridge, self._appender.job)

    def add(self, requests: Requests) -> int:
        """Add requests. A plain iterable is read in the caller's thread."""
        if isinstance(requests, AsyncIterable):
            return self._bridge.call(lambda _: self._appender.append(self._appender.source(requests)))
        source = self._appender.source(requests)
        return self._bridge.hand_over(source, lambda _, queued: self._appender.append(queued))

    def close(self) -> SyncJob:
        """Let the job finish: no more requests will come."""
        return SyncJob(self._bridge, self._bridge.call(lambda _: self._appender.close()))
