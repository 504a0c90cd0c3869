"""Inputs that may be refused at their end, when their content tells which job they are already."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from orchestrator.domain import job_spec, model, states
from orchestrator.domain.version_choice import VersionChoice
from orchestrator.ports import engine, streams

if TYPE_CHECKING:
    from orchestrator.ports.reads import RemoteReader

#: More jobs than any store has.
_EVERY: Final = 10_000_000


class GuardedSource(streams.WrappedSource):
    """A source that may be refused at its end, before it becomes a job: only then its content tells which job it is.

    refuse: is given the content's hash, and *new* with the API version that its requests need, and raises; `chunks`
    does then, and nothing is stored.
    """

    def __init__(
        self,
        source: streams.Source,
        new: job_spec.NewJob,
        refuse: Callable[[str, job_spec.NewJob], Coroutine[Any, Any, None]],
        *,
        skip_bad: bool,
    ) -> None:
        super().__init__(source)
        self._new = new
        self._refuse = refuse
        self._skip_bad = skip_bad

    @override
    async def chunks(self) -> AsyncGenerator[Sequence[streams.InputLine | streams.InputProblem], None]:
        is_lost, version = False, VersionChoice()
        async for chunk in self._source.chunks():
            problems = [item for item in chunk if isinstance(item, streams.InputProblem)]
            is_lost = is_lost or bool(problems and not self._skip_bad) or any(each.line == 0 for each in problems)
            if self._new.picks_version:
                version.add_all(item.params for item in chunk if isinstance(item, streams.InputLine))
            yield chunk
        if not is_lost:  # else it is refused for what is wrong with it
            await self._refuse(self._source.content_hash, self._new.with_version(version))


async def living_jobs(reader: RemoteReader) -> list[model.JobSnapshot]:
    """The jobs that an input may be already, the newest first."""
    jobs = await reader.read(lambda reads: reads.jobs(limit=_EVERY))
    return [job for job in jobs if job.purged_at is None and job.state is not states.JobState.IMPORTING]


def attached_to(
    jobs: Sequence[model.JobSnapshot], content_hash: str, new: job_spec.NewJob, terms: engine.IngestOptions
) -> model.JobSnapshot | None:
    """The job of *jobs*, newest first, that this input is already; by the rules of the store."""
    if new.key is not None and (keyed := [job for job in jobs if job.key == new.key]):
        return keyed[0]
    headers = (content_hash, new.api_version, new.betas)
    same = [job for job in jobs if (job.content_hash, job.api_version, job.betas) == headers]
    return same[0] if same and not terms.force_new else None
