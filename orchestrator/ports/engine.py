"""The engine as a face sees it, whether it runs in this process or behind a socket."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

from orchestrator.domain import ids, job_spec, model
from orchestrator.domain.budgets import Scope
from orchestrator.domain.param_change import NO_CHANGE, ParamChange
from orchestrator.ports.alike_problems import AlikeProblems
from orchestrator.ports.streams import InputLine, InputProblem, Source

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How an input is taken in.

    force_new: start a new job although the same content is there; repeats_within: but not if one of the same content
    and source was made so recently; skip_bad: leave bad lines out instead of refusing the whole; max_problems: how many
    problems are listed (all are counted).
    """

    force_new: bool = False
    repeats_within: timedelta | None = None
    skip_bad: bool = False
    max_problems: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestResult:
    """What became of an input.

    job: None if it was refused as a whole (nothing is left of it then). attached: the job was there already.
    problems: the first of them, in file order, each cause once; problem_count: all. refused: lines left out by
    `skip_bad`. fit: requests without a problem.
    renamed_from: what the job that was there was called; None: it is called as before. under_cap: how a new job will go
    under its cap, in a sentence; None: there is nothing to say. not_applied: options that the job that was there has
    otherwise and keeps, in a sentence; None: none. notices: what the source has to say beside problems.
    """

    job: model.JobSnapshot | None
    attached: bool
    problems: tuple[InputProblem, ...]
    problem_count: int
    refused: int
    renamed_from: str | None = None
    under_cap: str | None = None
    not_applied: str | None = None
    notices: Sequence[str] = ()
    fit: int = 0

    @classmethod
    def refusal(cls, problems: Sequence[InputProblem], *, fit: int = 0, most: int = 20) -> IngestResult:
        """Requests that were not taken in for *problems*, of which the first *most* are listed, each cause once."""
        alike = AlikeProblems()
        listed = [each for each in problems if not alike.take(each)]
        told = tuple(alike.told(listed[:most]))
        return cls(job=None, attached=False, problems=told, problem_count=len(listed), refused=0, fit=fit)


class BudgetCommands(Protocol):
    """Caps of jobs, and budgets of all jobs together, in nano-dollars."""

    async def cap_job(self, job: ids.JobId, cap: int | None) -> bool:
        """Set the cap of *job*, or take it away (None). True: a cap had stopped it, and it goes on.

        Raises GuardRefused when the job is over.
        """

    async def set_budget(self, scope: Scope, cap: int | None) -> int:
        """Set the budget of *scope*, or take it away (None); how many jobs go on that a cap had stopped.

        A person's budget comes before that of the settings. Raises UsageError for the scope of a job.
        """


class Commands(BudgetCommands, Protocol):
    """Commands on jobs and batches. They raise NoSuchThing, GuardRefused and InputError."""

    async def ingest(self, source: Source, new: job_spec.NewJob, terms: IngestOptions) -> IngestResult:
        """Read *source* into a job, all of it or nothing.

        The same bytes for the same API version and betas attach to the job that is there, unless `terms.force_new`.
        A file that changed since a job of the same name was made from it is refused (InputError), unless `force_new`.
        """

    async def pause(self, job: ids.JobId) -> bool:
        """Plan and send nothing new. False: the job is not running."""

    async def resume(self, job: ids.JobId) -> bool:
        """Resume a paused job. False: it is not paused. Raises NeedsPerson if the key file has no key that it needs."""

    async def cancel(self, job: ids.JobId) -> bool:
        """Cancel a job; results that came are kept. False: it is over already."""

    async def retry(
        self, job: ids.JobId, only: Collection[str], change: ParamChange = NO_CHANGE, causes: Collection[str] = ()
    ) -> int:
        """Queue settled requests again, their params changed; returns how many.

        only: `failed`, `canceled`, `invalid`, error types, and the stop reasons `refusal` and `max_tokens`, whose
        answers were paid for. causes: and what failed for one of these, as `errors` groups it. None of either: all
        that failed or was canceled. Raises InputError, and queues nothing, if a request could not be handed in as it
        is then.
        """

    async def purge(self, job: ids.JobId) -> bool:
        """Delete a job's params and results; its counts, errors and history stay. False: it was purged already.

        Raises GuardRefused while the job is not over.
        """

    async def purge_older(self, older_than: timedelta) -> list[model.JobSnapshot]:
        """Purge every job that has been over for *older_than*; returns them as they were."""

    async def reprice(self, job: ids.JobId) -> int:
        """Price the answers of *job* whose cost is not known, by the prices that are known now; how many it could."""

    async def adopt(self, remote_id: str, job: ids.JobId | None) -> str:
        """Take over a remote batch; returns a sentence about what was done.

        Without *job*: a candidate of a batch in doubt. With *job*: a batch created elsewhere with just the
        requests of *job*, none of which has been planned.
        """

    async def disown(self, remote_id: str) -> str:
        """Declare that a candidate is not ours; returns a sentence about what was done."""


class OpenJobs(Protocol):
    """Jobs that stay open for more requests (library)."""

    async def add(self, job: ids.JobId, lines: Sequence[InputLine]) -> None:
        """Add requests to an open job; a custom_id that it has already raises InputError and adds nothing."""

    async def close(self, job: ids.JobId) -> None:
        """Close the job: no more requests will come, so it may finish."""


class ChangeSignal(Protocol):
    """Tells one listener that a stage changed something."""

    async def wait(self, at_most: timedelta) -> None:
        """Wait for the next change since the last wait, at most *at_most*. A hint: not every change is signalled."""


@dataclass(slots=True, kw_only=True)
class EngineHealth:
    """Whether the API answers the engine, as it heard last; it changes in place."""

    api_worked: bool = False  #: some call got an answer since the start
    last_trouble: str | None = None  #: why the last call failed; None if it worked
    reads_blocked: bool = False  #: the last read was refused until a person acts: nothing can be collected meanwhile


class NoticeCommands(Protocol):
    """Commands on webhook notices."""

    async def test_notice(self, url: str | None) -> list[int]:
        """Send a test to the endpoint *url*, or to each. Raises NoSuchThing."""

    async def replay_notice(self, delivery: int) -> None:
        """Send a finished delivery again. Raises GuardRefused if there is none, or it waits already."""
