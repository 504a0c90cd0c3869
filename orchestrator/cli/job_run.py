"""One `run` or `resume`: takes an input in, follows its job, whichever engine works on it, and writes the results."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.cli import confirm_cost, console, follow, input_options, jobs_text, output_files, store_access
from orchestrator.cli.progress import progress_for
from orchestrator.cli.shape_options import ShapeChoice
from orchestrator.domain import errors, humanize, ids, model, states
from orchestrator.views import guarded_source, status_text

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.client.results_file import Output
    from orchestrator.client.session import Session
    from orchestrator.config import Settings


class OutputChoice(NamedTuple):
    """Where the results go, if it was said, and what they look like. overwrite: even if another file lies there."""

    output: str | None
    overwrite: bool
    shaped: ShapeChoice

    def checked(self, options: GlobalOptions, path: str) -> Output:
        """The output at *path*, which can be written. Raises OutputError."""
        return output_files.checked_output(options, path, overwrite=self.overwrite, shaped=self.shaped)


class JobRun:
    """One `run` or `resume`. output: where the results go; None: nowhere, or for an input by the job's own name."""

    def __init__(
        self,
        options: GlobalOptions,
        settings: Settings,
        limits: follow.WaitLimits,
        output: Output | None,
        wish: OutputChoice,
    ) -> None:
        self._options, self._settings = options, settings
        self._limits = limits
        self._output = output
        self._wish = wish
        self._refused = 0  # lines that were left out of the input
        self._is_trial = False  # only the results of some requests are asked for
        self._sampler: follow.StatusSampler | None = None
        self.resume_line: str | None = None  #: how to go on, once there is a job
        self.has_work = False  #: other jobs go on while the input is read, or this one of an earlier life

    @property
    def path(self) -> str | None:
        """Where the results go, if that is known yet."""
        return None if self._output is None else self._output.path

    @property
    def left(self) -> str | None:
        """What it leaves behind if it ends now, by its last look; None: it was not that far."""
        seen = None if self._sampler is None else self._sampler.last
        return None if seen is None else status_text.left_words(seen)

    @property
    def _go_on_line(self) -> str | None:
        """The command that goes on and writes the results where these go; None: they go nowhere."""
        return None if self._output is None else self.resume_line

    async def run_input(self, chosen: input_options.InputOptions) -> model.JobStatus:
        """Ingest the input, or find the job that it is already, and follow it until its results are written."""
        async with store_access.open_session(self._options, self._settings) as session:
            jobs = await guarded_source.living_jobs(session.handle.bulk)
            self.has_work = any(job.state not in states.OVER for job in jobs)
            job = await self._take_in(session, chosen)
            unwritten = await self._write_refused(session, chosen, job)
            status = await self._stay(session, job.id, yes=chosen.yes)
            if unwritten is not None:
                raise unwritten
            return status

    async def resume_job(self, job: model.JobSnapshot) -> model.JobStatus:
        """Resume *job* and follow it until its results are written."""
        async with store_access.open_session(self._options, self._settings) as session:
            await self._go_on(session, job)
            return await self._stay(session, job.id)

    async def _take_in(self, session: Session, chosen: input_options.InputOptions) -> model.JobSnapshot:
        """The job that the input became or was.

        Raises OutputError if another job's file is at the output; nothing is stored then.
        """
        source, new, terms = chosen.source(self._settings), chosen.new_job(self._settings), chosen.terms()
        engine = session.handle
        checked = (
            source if self._output is None else output_files.guard_output(source, self._output, new, terms, engine.bulk)
        )
        paid = confirm_cost.confirmed(self._options, self._settings, checked, chosen, engine.bulk)
        taken = await engine.commands.ingest(paid, new, terms)
        job, self._refused = input_options.job_of_ingest(taken, source.name, chosen), taken.refused
        self._is_trial = new.trial is not None and job.trial is not None
        if self._output is None:
            # No other job, of any store, has its id.
            own = self._wish.shaped.default_name(job.public_id)
            self._output = self._wish.checked(self._options, own)
        more = self._wish.shaped.words()
        self.resume_line = console.resume_line(self._options, job.public_id, self.path, more=more)
        await self._output.check_columns(engine.bulk, job.id)
        await self._output.refuse_foreign(engine.bulk, job.id)
        jobs_text.say_taken_in(self._options, source, taken)
        return job

    async def _write_refused(
        self, session: Session, chosen: input_options.InputOptions, job: model.JobSnapshot
    ) -> errors.OutputError | None:
        """Write the lines that were left out; the error if that failed, to be raised when the work is done."""
        if not self._refused:
            return None
        place = output_files.refused_path(chosen, self.path)
        try:
            await output_files.write_refused(
                self._options, session.handle.reader, job, place, overwrite=self._wish.overwrite
            )
        except errors.OutputError as exc:
            return exc
        return None

    async def _stay(self, session: Session, key: ids.JobId, *, yes: bool = False) -> model.JobStatus:
        """Follow the job to its end, or that of its trial. yes: nobody is asked when its pilot has ended."""
        job = await session.handle.reader.read(lambda reads: reads.get(key))
        if not session.handle.is_local:
            owner = (
                "another process runs the engine on this store"
                if self._options.server is None
                else "the server runs it"
            )
            console.say(self._options, f"{owner}: it does the work, this one watches")
        if not job.is_tried and (yes or not follow.is_piloted(job)):
            await self._go_on(session, job)
        status = await self._followed(session, key)
        while follow.is_piloted(status.job):
            if not yes and not await confirm_cost.is_confirmed(follow.reason_without_remedy(status.job)):
                raise follow.paused_error(status, self._go_on_line)
            await self._go_on(session, status.job)
            status = await self._followed(session, key)
        return status

    async def _go_on(self, session: Session, job: model.JobSnapshot) -> None:
        """Resume *job* if it is paused."""
        if job.state is states.JobState.PAUSED and await session.handle.commands.resume(job.id):
            console.say(self._options, f"it was paused ({humanize.plain(follow.short_reason(job))}); resuming it")

    async def _followed(self, session: Session, key: ids.JobId) -> model.JobStatus:
        """Follow the job until it is over, or its pilot or trial is, and write what there is then."""
        self._sampler = sampler = follow.StatusSampler(key, self._settings)
        progress = progress_for(self._options)
        try:
            status = await follow.wait_for_job(
                sampler,
                lambda: (session.handle.reader, session.handle.health),
                progress,
                limits=self._limits,
                until=follow.is_enough,
                go_on=self._go_on_line,
            )
        except errors.BudgetExceeded:  # what was paid for is worth having, whether it goes on or not
            stopped = await session.handle.reader.read(store_access.status_of(key))
            written = await self._write(session, key, stopped)
            jobs_text.say_results(self._options, self.path, f"{written:,} of {stopped.job.requests.total:,} requests")
            raise
        await self._write(session, key, status)
        return status

    async def _write(self, session: Session, key: ids.JobId, status: model.JobStatus) -> int:
        """Write the results that there are, if they go anywhere; how many."""
        if self._output is None:
            return 0
        with output_files.writing_to(self._output.path, console.results_line(self._options, status)):
            return await self._output.write(session.handle.bulk, key, trial=self._is_trial and status.job.is_tried)
