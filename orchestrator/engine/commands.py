"""The commands: what a person may ask of an engine, from ingest to disown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from typing_extensions import override

from orchestrator.domain import account, errors, humanize
from orchestrator.domain.access import AccessRole
from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.budgets import Scope
from orchestrator.domain.ids import JobId
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import BatchRow, JobSnapshot
from orchestrator.domain.param_change import NO_CHANGE, ParamChange
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.states import OVER
from orchestrator.engine import api_calls, hand_in, pricing, purge
from orchestrator.engine.context import Context, EngineSettings
from orchestrator.engine.doubt import UNPROVABLE
from orchestrator.engine.ingest import Ingestor
from orchestrator.ports import caller
from orchestrator.ports.engine import Commands, IngestOptions, IngestResult, NoticeCommands, OpenJobs
from orchestrator.ports.streams import InputLine, InputProblem, Source, refuse_marked

_WHY: Final = "paused by a person"


class EngineCommands(Commands, OpenJobs, NoticeCommands):
    """Needs the store's lock, but no running stages: a command also works while no engine runs.

    Each asks whether who it is done for may have it done: RoleRefused (`ports.caller`).
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.commands
        self._doubt = context.store.doubt
        self._settle = context.store.settle
        self._ingest = context.store.ingest
        self._notices = context.store.notices
        self._attention = context.store.attention
        self._ingestor = Ingestor(
            context.store.ingest,
            context.clock,
            context.entropy,
            context.imports,
            context.prices,
            hand_in.CapsAtHandIn(context),
        )

    def retune(self, settings: EngineSettings) -> None:
        """Let every stage go by *settings* from its next tick on, and probe the account at once."""
        self._context.settings = settings
        self._context.ask_at_once = True
        self._context.wakeup.notify_all()

    @override
    async def ingest(self, source: Source, new: NewJob, terms: IngestOptions) -> IngestResult:
        caller.check_role(AccessRole.SUBMIT)
        if new.cache is None:
            new = replace(new, cache=self._context.settings.cache, has_own_cache=False)
        taken = await self._ingestor.ingest(source, new, terms)
        self._context.wakeup.notify_all()
        return taken

    @override
    async def pause(self, job: JobId) -> bool:
        await self._check_steering(job)
        return await self._store.pause(job, account.BY_USER, _WHY, self._context.clock.now())

    @override
    async def resume(self, job: JobId) -> bool:
        """Go on, with the key that is in its file now. Raises NeedsPerson if a key is needed, and none is there."""
        await self._check_steering(job)
        unusable = api_calls.reload_key(self._context)
        if unusable is not None and (await self._store.get(job)).reason_code in account.NEEDS_ANOTHER_KEY:
            told = f"the job stays paused, because there is no other key: {unusable.message}"
            raise errors.NeedsPerson(told, cause=unusable.cause, hint=unusable.hint)
        resumed = await self._store.resume(job, self._context.clock.now())
        self._context.wakeup.notify_all()
        return resumed

    @override
    async def cancel(self, job: JobId) -> bool:
        """Stop a job; the poll stage asks the API to cancel what is in flight. With nothing there it is over now."""
        await self._check_steering(job)
        now = self._context.clock.now()
        canceled = await self._store.cancel(job, now)
        with caller.acting_for(None):  # it finishes any job of which nothing is left
            for over in await self._settle.finish_jobs(now):
                self._context.meter.job_over(over, now)
        self._context.wakeup.notify_all()
        return canceled

    @override
    async def retry(
        self, job: JobId, only: Collection[str], change: ParamChange = NO_CHANGE, causes: Collection[str] = ()
    ) -> int:
        await self._check_steering(job)
        queued = await hand_in.retry(self._context, job, only, change, causes)
        self._context.wakeup.notify_all()
        return queued

    @override
    async def cap_job(self, job: JobId, cap: int | None) -> bool:
        await self._check_steering(job)
        found = await self._store.get(job)
        if found.state in OVER:
            raise errors.GuardRefused(f"job {found.public_id} is over: nothing more is sent for it")
        goes_on = await self._context.store.budgets.cap_job(job, cap, self._context.clock.now())
        self._context.wakeup.notify_all()
        return goes_on

    @override
    async def set_budget(self, scope: Scope, cap: int | None) -> int:
        caller.check_role(AccessRole.ADMIN)
        if scope is Scope.JOB:
            raise errors.UsageError("a budget is of a day, a month or the total", hint="a job has a cap")
        going_on = await self._context.store.budgets.cap_scope(scope, cap, "person", self._context.clock.now())
        self._context.wakeup.notify_all()
        return going_on

    @override
    async def test_notice(self, url: str | None) -> list[int]:
        caller.check_role(AccessRole.ADMIN)
        sent = await self._notices.test(url, self._context.clock.now())
        if not sent:
            hint = "[[webhooks]] in the settings has them; an engine reads it when it starts"
            raise errors.NoSuchThing(
                "there is no endpoint" if url is None else f"there is no endpoint {url}", hint=hint
            )
        await self._store.note("webhook.tested", humanize.count(len(sent), "notice"), self._context.clock.now())
        self._context.wakeup.notify_all()
        return sent

    @override
    async def replay_notice(self, delivery: int) -> None:
        caller.check_role(AccessRole.ADMIN)
        if not await self._notices.replay(delivery, self._context.clock.now()):
            raise errors.GuardRefused(
                f"delivery {delivery} cannot be sent again",
                cause="there is none, or it waits already, or its endpoint is not in the settings any more",
                hint="orchestrator webhooks ls shows them",
            )
        await self._store.note("webhook.replayed", f"notice {delivery}", self._context.clock.now())
        self._context.wakeup.notify_all()

    @override
    async def purge(self, job: JobId) -> bool:
        caller.check_role(AccessRole.ADMIN)
        return await purge.purge(self._context, job)

    @override
    async def purge_older(self, older_than: timedelta) -> list[JobSnapshot]:
        caller.check_role(AccessRole.ADMIN)
        return await purge.purge_older(self._context, older_than)

    @override
    async def reprice(self, job: JobId) -> int:
        caller.check_role(AccessRole.ADMIN)
        return await pricing.reprice(self._context, job)

    @override
    async def adopt(self, remote_id: str, job: JobId | None) -> str:
        caller.check_role(AccessRole.ADMIN)
        if job is not None:
            return await self._adopt_foreign(remote_id, job)
        doubts = await self._store.doubts_about(remote_id)
        if not doubts:
            raise errors.NoSuchThing(
                f"{remote_id} is not an open candidate for any batch in doubt",
                hint="for a batch made elsewhere, name the file of its requests: batches adopt ID INPUT",
            )
        if len(doubts) > 1:
            several = ", ".join(str(batch.id) for batch in doubts)
            raise errors.GuardRefused(
                f"{remote_id} may be any of the batches {several}", hint="disown the other candidates first"
            )
        return await self._adopt_doubt(remote_id, doubts[0])

    @override
    async def disown(self, remote_id: str) -> str:
        caller.check_role(AccessRole.ADMIN)
        doubts = await self._store.doubts_about(remote_id)
        if not await self._store.disown(remote_id, self._context.clock.now()):
            raise errors.NoSuchThing(f"{remote_id} is not an open candidate", hint="orchestrator batches ls shows them")
        for batch in doubts:
            await self._attention.unattend(batch.job_id, UNPROVABLE, batch.id)
        return f"{remote_id} is not ours; the batches in doubt no longer wait for it"

    @override
    async def add(self, job: JobId, lines: Sequence[InputLine]) -> None:
        await self._check_steering(job)
        found = await self._store.get(job)
        if found.cache is CacheUse.AUTO:
            _refuse_marked(lines)
        bounds = await hand_in.CapsAtHandIn(self._context).bounds_of(found)
        hand_in.refuse_unbounded(bounds, lines)
        duplicates = await self._ingest.extend(job, lines, self._context.clock.now())
        if duplicates:
            taken = ", ".join(repr(duplicate.custom_id) for duplicate in duplicates[:5])
            raise errors.InputError(f"the job has these custom_ids already: {taken}", hint="nothing was added")

    @override
    async def close(self, job: JobId) -> None:
        await self._check_steering(job)
        await self._ingest.close_open(job, self._context.clock.now())

    async def _check_steering(self, job: JobId) -> None:
        """Raise RoleRefused unless who asks may steer *job*."""
        if caller.current() is not None:
            found = await self._store.get(job)
            caller.check_steering(found.public_id, found.submitted_by)

    async def _adopt_doubt(self, remote_id: str, batch: BatchRow) -> str:
        remote = await self._remote(remote_id)
        if not await self._doubt.claim(batch, remote, self._context.clock.now()):
            raise errors.GuardRefused(f"batch {batch.id} is not in doubt any more, or {remote_id} is another batch's")
        await self._attention.unattend(batch.job_id, UNPROVABLE, batch.id)
        await api_calls.Gates(self._context).forget_streak(api_calls.CREATE_GATE)
        return f"{remote_id} is batch {batch.id}: it is watched and collected"

    async def _adopt_foreign(self, remote_id: str, job_id: JobId) -> str:
        remote = await self._remote(remote_id)
        context = self._context
        page = await api_calls.first_page(context)
        job = await self._store.get(job_id)
        if not await self._store.adopt(job, remote, page.meta, context.entropy.nonce(), context.clock.now()):
            raise errors.GuardRefused(
                f"{remote_id} has {remote.counts.total} requests, job {job.public_id} has {job.requests.total} "
                f"({job.requests.queued} not planned yet)",
                hint="the file must hold exactly the requests that the batch was made of, and the job be new",
            )
        return f"{remote_id} is taken into {job.public_id}: it is watched and collected"

    async def _remote(self, remote_id: str) -> RemoteBatch:
        try:
            return await api_calls.call(self._context, self._context.provider.retrieve(remote_id))
        except errors.ProviderNotFound as exc:
            raise errors.NoSuchThing(f"the API does not show {remote_id}", cause=exc.message) from exc
        except errors.ProviderError as exc:
            raise errors.GuardRefused("the API could not be asked", cause=exc.message, hint="try again later") from exc


def _refuse_marked(lines: Sequence[InputLine]) -> None:
    """Raise InputError for the first of *lines* with a marker of its own."""
    for line in lines:
        if isinstance(found := refuse_marked(line), InputProblem):
            words = f"request {line.custom_id!r}: {found.field} {found.message}"
            raise errors.InputError(words, cause="nothing was added", hint=found.remedy)
