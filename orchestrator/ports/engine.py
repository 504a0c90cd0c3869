"""What faces may ask of a running engine; the same whether the engine is in this process or behind a socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

from orchestrator.domain.ids import JobId
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobSnapshot
from orchestrator.ports.streams import InputLine, InputProblem, Source

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How an input is taken in.

    force_new: start a new job although the same content is there; skip_bad: leave bad lines out instead of refusing the
    whole; max_problems: how many problems are listed (all are counted).
    """

    force_new: bool = False
    skip_bad: bool = False
    max_problems: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestResult:
    """What became of an input.

    job: None if it was refused as a whole (nothing is left of it then). attached: the job was there already.
    problems: the first of them, in file order; problem_count: all. refused: lines left out by `skip_bad`.
    renamed_from: what the job that was there was called; None: it is called as before.
    """

    job: JobSnapshot | None
    attached: bool
    problems: tuple[InputProblem, ...]
    problem_count: int
    refused: int
    renamed_from: str | None = None


class Commands(Protocol):
    """What a person asks for. Raises NoSuchThing, GuardRefused, InputError."""

    async def ingest(self, source: Source, new: NewJob, terms: IngestOptions) -> IngestResult:
        """Read *source* into a job, whole or not at all.

        The same bytes for the same API version and betas attach to the job that is there, unless `terms.force_new`.
        A file that changed since a job of the same name was made from it is refused (InputError), unless `force_new`.
        """

    async def pause(self, job: JobId) -> bool:
        """Send nothing new. False: the job does not run."""

    async def resume(self, job: JobId) -> bool:
        """Go on. False: the job is not paused. Raises NeedsPerson if it waits for a key, and the key file has none."""

    async def cancel(self, job: JobId) -> bool:
        """Stop a job; what had succeeded is kept. False: it is over already."""

    async def retry(self, job: JobId, only: str | None) -> int:
        """Queue failed and canceled requests again, or those of one error type; how many."""

    async def purge(self, job: JobId) -> bool:
        """Delete what was handed in and what was answered; counts, ids, errors and history stay. False: purged already.

        Raises GuardRefused while the job is not over.
        """

    async def purge_older(self, older_than: timedelta) -> list[JobSnapshot]:
        """Purge every job that has been over for *older_than*; which, as they were."""

    async def adopt(self, remote_id: str, job: JobId | None) -> str:
        """Take a remote batch for ours; a sentence of what was done.

        Without *job*: the candidate of a batch in doubt. With it: a batch made elsewhere whose requests are exactly
        those of *job*, of which none has been planned.
        """

    async def disown(self, remote_id: str) -> str:
        """Say that a candidate is not ours. A sentence of what was done."""


class OpenJobs(Protocol):
    """Jobs that stay open for more requests (library)."""

    async def add(self, job: JobId, lines: Sequence[InputLine]) -> None:
        """Add requests to an open job; a custom_id that it has already raises InputError and adds nothing."""

    async def close(self, job: JobId) -> None:
        """No more will come: the job may finish."""


class ChangeSignal(Protocol):
    """Hears that a stage moved something. One listener each."""

    async def wait(self, at_most: timedelta) -> None:
        """Wait for the next move since the last wait, or *at_most*; a hint: not every change is a move."""


@dataclass(slots=True, kw_only=True)
class EngineHealth:
    """Whether the API answers the engine, as it heard last; it changes in place."""

    api_worked: bool = False  #: some call got an answer since the start
    last_trouble: str | None = None  #: why the last call failed; None if it worked
    reads_blocked: bool = False  #: the last read was refused until a person acts: nothing can be collected meanwhile


class NoticeCommands(Protocol):
    """What a person may ask of notices."""

    async def test_notice(self, url: str | None) -> list[int]:
        """Send a test to the endpoint *url*, or to each. Raises NoSuchThing."""

    async def replay_notice(self, delivery: int) -> None:
        """Send a notice that is over again. Raises GuardRefused if there is none, or it waits already."""
