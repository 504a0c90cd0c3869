"""The library's front: opens a store, runs its engine or uses the one that runs, and makes jobs."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, NoReturn, Self, TypeAlias, Unpack

from orchestrator.client.errors import not_open, refusal, used_once
from orchestrator.client.job import Job, JobAppender, OpenJob
from orchestrator.client.option_signature import lists_options
from orchestrator.client.submission import PROMPT_HINT, RowSubmission, Submission, SubmitOptions, count_mode, of_prompts
from orchestrator.domain import errors, humanize, job_spec, limits, model, params, queries, states, table_spec
from orchestrator.ports import engine, streams
from orchestrator.ports.estimates import CountMode

if TYPE_CHECKING:
    from orchestrator.client.result import Result
    from orchestrator.client.session import EngineHandle, Session
    from orchestrator.config import Settings
    from orchestrator.ports.estimates import Estimate
    from orchestrator.ports.reads import RemoteReads
    from orchestrator.views.fleet_views import FleetAnswerView

_OBJECTS: Final = "<library>"
_UNNAMED: Final = "requests"
_STDIN: Final = "-"
#: What is handed in: requests or rows, or with a prompt the path of a table.
Input: TypeAlias = Iterable[object] | AsyncIterable[object] | str | os.PathLike[str]


class Orchestrator:
    """Use it as `async with Orchestrator(...) as orc:`. Inside the block, jobs are submitted, watched and collected.

    db: the database file, or the address of a database on a PostgreSQL server (default: the settings'). sandbox: use a
    local API that costs nothing and gives canned answers. config: a settings file instead of the usual two. Other
    settings by name, with two underscores: `limits__poll_interval="10s"`.

    server: the address of a daemon that does the work instead, such as `orchestrator serve` on another machine. token:
    its access token (default: ORCHESTRATOR_SERVER_TOKEN, or the file in ORCHESTRATOR_TOKEN_FILE); your own daemon on
    this machine needs none, and counts one given here. No store is opened here then.

    Leaving the block stops the engine safely; unfinished jobs go on the next time. If another process owns the store,
    its engine does the work; should it end, this one takes its place. An engine that fails cancels the block, and its
    error is raised from it.
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
        if server is not None and db is not None:
            raise errors.UsageError("db and server exclude each other", hint="a server has a store of its own")
        if server is None and token is not None:
            raise errors.UsageError("a token is for a server, and none is named", hint='server="https://…"')
        self._server = server
        self._token = token
        self._db = db
        self._sandbox = sandbox
        self._config = config
        self._flags = as_flags(overrides)
        self._stack = AsyncExitStack()
        self._session: Session | None = None
        self._settings: Settings | None = None

    async def __aenter__(self) -> Self:
        if self._session is not None:
            raise used_once()
        self._settings = self._load()
        self._session = await self._stack.enter_async_context(self._open_session(self._settings))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, exc, trace)

    @property
    def embedded(self) -> bool:
        """True if the engine runs in this process; may become true when the process that ran it ends."""
        return self._handle().is_local

    @property
    def health(self) -> engine.EngineHealth:
        """Whether the API answers."""
        return self._handle().health

    @lists_options(RowSubmission)
    async def submit(
        self,
        requests: Iterable[object] | AsyncIterable[object] | str | os.PathLike[str],
        *,
        name: str | None = None,
        **how: Unpack[RowSubmission],
    ) -> Job:
        """Submit SDK `Request` dicts (`{"custom_id": …, "params": {…}}`), streamed; return once they are stored.

        The same requests for the same API version and betas are the same job: submitting them again attaches to it, and
        resumes it if it was paused; another `max_cost` becomes its cap. Raises InputRefused.

        With prompt, *requests* are rows, and each becomes a request: an iterable of mappings, such as
        `df.to_dict("records")` of pandas, `df.iter_rows(named=True)` of polars, `table.to_pylist()` of Arrow or a
        dataset, or the path of a table. A row is kept with its request, and comes back as `row` of its result. NaN is
        null there, times are ISO 8601, decimals text, bytes base64; what has no form in JSON is a problem with its row
        and column.

        What each option is: `help(RowSubmission)` for those of rows, `help(Submission)` for those of any job.
        """
        options = SubmitOptions.of(name, how)
        return await self._submit(*self._prepare(requests, options), options)

    @lists_options(RowSubmission)
    async def map(
        self, prompts: Iterable[str] | AsyncIterable[str], *, name: str | None = None, **how: Unpack[RowSubmission]
    ) -> list[Result]:
        """Ask every one of *prompts*; the results in their order, in memory. `result.text` is an answer.

        The options are those of `submit`; model is needed, or `[defaults]` of the settings. prompt: a template around
        each, such as "Translate into French: {{ prompt }}". The same prompts with the same options are the same job:
        what was answered is not paid for again. A request that failed is among the results; raises what `submit` and
        `Job.wait` raise.
        """
        rows, asked = of_prompts(prompts, how)
        job = await self.submit(rows, name=name, **asked)
        return [result async for result in job.results()]

    @lists_options(RowSubmission)
    async def submit_file(
        self, path: str | os.PathLike[str], *, name: str | None = None, **how: Unpack[RowSubmission]
    ) -> Job:
        """Submit a file of JSON Lines, also `.gz` and `.zst`, or "-" for standard input; with prompt, a table.

        As `submit`; raises InputError too.
        """
        from orchestrator.inputs import open_source

        options = SubmitOptions.of(name, how)
        if options.rows is not None:
            return await self._submit(*self._of_rows(path, options.rows, options.job), options)
        _refuse_table(path)
        place = _place(path)
        new = self._new_job(options.job, place, default_name=job_spec.name_of(place))
        source = open_source(path, rules=self._rules(new.fixed_version), max_line_bytes=limits.MAX_INPUT_LINE_BYTES)
        return await self._submit(source, new, options)

    @lists_options(RowSubmission)
    async def estimate(
        self,
        requests: Iterable[object] | AsyncIterable[object] | str | os.PathLike[str],
        *,
        exact: bool = False,
        offline: bool = False,
        **how: Unpack[RowSubmission],
    ) -> Estimate:
        """What *requests* will take and cost, before they are submitted. Nothing is stored, and no batch is made.

        With prompt they are rows, as those of `submit`.

        The API counts the tokens of a sample, which is free (200 calls at most); exact: of every request; offline: of
        none, and the figures are rough. Amounts are Decimal dollars, None where they are not known: `cost.low`,
        `cost.expected` (None without history), `cost.high`, `cost.worst`. Raises InputRefused.
        """
        options = SubmitOptions.of(None, how)
        mode = count_mode(exact=exact, offline=offline)
        return await self._estimate(*self._prepare(requests, options), options, mode)

    @lists_options(Submission)
    async def open_job(self, name: str, **how: Unpack[Submission]) -> OpenJob:
        """A job that still grows. One of this name that was left open, by a crash for example, goes on.

        Of the options, `new` starts another one instead; `skip_bad` and `key` do not apply.
        """
        return OpenJob(await self._appender(name, how))

    async def job(self, ref: str) -> Job:
        """The job that *ref* means: an id, a unique beginning of one, a name, or "@last". Raises NoSuchThing.

        Of several jobs with one name it is the newest, for reading only: to steer it raises GuardRefused.
        """
        found, unclear = await self._handle().reader.read(lambda reads: _found(reads, ref))
        return Job(self._handle, found, unclear=unclear)

    async def jobs(
        self,
        *,
        limit: int = 100,
        tags: Collection[str] = (),
        submitted_by: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> list[model.JobStatus]:
        """The newest jobs, newest first; those with all of *tags*, handed in with the token of that name.

        since, until: the first and the last day (UTC) on which they were made.
        """
        where = queries.JobFilter(tags=frozenset(tags), submitted_by=submitted_by, since=since, until=until)
        return await self._handle().reader.read(
            lambda reads: [reads.status(job) for job in reads.jobs(limit=limit, where=where)]
        )

    async def fleet(self) -> FleetAnswerView:
        """The daemons on the store, what each of them has, and what a person should look at: `GET /api/v1/fleet`.

        Where one process owns the store, `fleet` of the answer is false and its lists are empty. This process is among
        `daemons` if its engine works there. Raises StoreUnreachable, ServerSilent.
        """
        return await self._handle().view_fleet()

    def _prepare(self, requests: Input, options: SubmitOptions) -> tuple[streams.Source, job_spec.NewJob]:
        """The source of the requests, of which nothing is read yet, and the job."""
        from orchestrator.inputs import source_from_objects

        if options.rows is not None:
            return self._of_rows(requests, options.rows, options.job)
        new = self._new_job(options.job, _OBJECTS)
        # A path, and whatever else is no iterable of requests, is refused with what to do.
        return source_from_objects(requests, name=_UNNAMED, rules=self._rules(new.fixed_version)), new  # type: ignore[arg-type]

    def _of_rows(
        self, rows: Input, how: table_spec.RowOptions, job: job_spec.JobOptions
    ) -> tuple[streams.Source, job_spec.NewJob]:
        """The same of requests that are made of rows. Raises UsageError."""
        from orchestrator import tables
        from orchestrator.domain.answer_schema import AnswerSchema

        defaults = self._loaded().defaults
        schema = None if job.schema is None else AnswerSchema.read(job.schema)
        recipe = how.recipe(model=defaults.model, max_tokens=defaults.max_tokens, system=defaults.system, schema=schema)
        if isinstance(rows, str | os.PathLike):
            place = _place(rows)
            new = self._new_job(job, place, default_name=job_spec.name_of(place))
            given = tables.TableInput(paths=(os.fspath(rows),), kind=how.format, delimiter=how.delimiter)
            table_spec.refuse_delimiter(tables.told_kind(given), how.delimiter)
            return tables.RowSource(given, recipe, self._rules(new.fixed_version)), new
        table_spec.refuse_delimiter(None, how.delimiter)
        new = self._new_job(job, _OBJECTS, default_name=tables.ObjectRows.name)
        return tables.ObjectRows(rows, recipe, self._rules(new.fixed_version)), new

    async def _submit(self, source: streams.Source, new: job_spec.NewJob, options: SubmitOptions) -> Job:
        """Ingest *source*; an existing job that is paused goes on. Raises InputRefused."""
        handle = self._handle()
        result = await handle.commands.ingest(source, new, options.ingest)
        if result.job is None:
            raise refusal(source.name, result)
        if result.attached and result.job.state is states.JobState.PAUSED and not result.job.is_tried:
            await handle.commands.resume(result.job.id)
        return Job(self._handle, result.job, attached=result.attached, refused_count=result.refused)

    async def _estimate(
        self, source: streams.Source, new: job_spec.NewJob, options: SubmitOptions, mode: CountMode
    ) -> Estimate:
        found = await self._handle().estimates.estimate(source, new, options.ingest, mode)
        if found.estimate is None:
            raise refusal(source.name, found)
        return found.estimate

    async def _appender(self, name: str, how: Submission) -> JobAppender:
        options = SubmitOptions.of(name, how, may_be_rows=False)
        new = self._new_job(replace(options.job, key=None), _OBJECTS, still_open=True)
        unfinished = (
            [] if options.ingest.force_new else await self._handle().reader.read(lambda reads: reads.unfinished())
        )
        there = [job for job in unfinished if job.name == name and job.still_open and job.state not in states.OVER]
        job = there[-1] if there else None
        version = new.api_version if job is None else job.api_version
        return JobAppender(self._handle, new, self._rules(version), job)

    def _rules(self, api_version: str | None) -> params.ParamRules:
        from orchestrator.domain.limits import largest_params

        return params.ParamRules(
            api_version=api_version, max_request_bytes=largest_params(self._loaded().batching.max_bytes)
        )

    def _new_job(
        self, options: job_spec.JobOptions, source: str, *, default_name: str = _UNNAMED, still_open: bool = False
    ) -> job_spec.NewJob:
        """The job that *options* describe; *default_name* applies where none was chosen. Raises UsageError."""
        version = self._loaded().api.version
        return options.new_job(source, default_name=default_name, default_version=version, still_open=still_open)

    def _open_session(self, settings: Settings) -> AbstractAsyncContextManager[Session]:
        if self._server is None:
            from orchestrator.client.session import local_session

            return local_session(settings, sandbox=self._sandbox)
        from orchestrator.client.server_address import server_at
        from orchestrator.client.session import remote_session

        return remote_session(server_at(self._server, token=self._token), sandbox=self._sandbox)

    def _handle(self) -> EngineHandle:
        if self._session is None:
            raise not_open()
        return self._session.handle

    def _loaded(self) -> Settings:
        if self._settings is None:
            raise not_open()
        return self._settings

    def _load(self) -> Settings:
        from orchestrator.client.server_address import environ_for_remote
        from orchestrator.config import database_flags, load_settings
        from orchestrator.config.sources import ARGUMENT

        flags = dict(self._flags)
        if self._db is not None:
            flags |= database_flags(os.fspath(self._db))
        config = None if self._config is None else Path(self._config)
        env = os.environ if self._server is None else environ_for_remote(os.environ)
        return load_settings(
            flags=flags, env=env, cwd=Path.cwd(), config_file=config, sandbox=self._sandbox, called=ARGUMENT
        )


def _place(path: str | os.PathLike[str]) -> str:
    """The absolute path of a file, and the default name of its job."""
    text = os.fspath(path)
    return "<stdin>" if text == _STDIN else humanize.readable(str(Path(text).absolute()))


def _refuse_table(path: str | os.PathLike[str]) -> None:
    """Raise UsageError for what is rows, and not requests."""
    from orchestrator.tables import TableInput, holds_rows

    what = holds_rows(TableInput(paths=(os.fspath(path),)))
    if what is not None:
        raise errors.UsageError(f"{humanize.readable(os.fspath(path))} is {what}", hint=PROMPT_HINT)


def _found(reads: RemoteReads, ref: str) -> tuple[model.JobSnapshot, errors.GuardRefused | None]:
    """The job, and why it may not be the one that is meant."""
    try:
        return reads.sole(ref), None
    except errors.GuardRefused as exc:
        return reads.find(ref), exc
    except errors.NoSuchThing as exc:
        hint = "jobs() has them" if exc.hint == queries.LISTED_JOBS else exc.hint
        raise errors.NoSuchThing(exc.message, cause=exc.cause, hint=hint) from exc


_OWN: Final = ("db", "sandbox", "config", "server", "token")
_KEY: Final = re.compile(r"(anthropic_?)?(api_?key|auth_?token|key)", re.IGNORECASE)


def as_flags(overrides: Mapping[str, object]) -> dict[str, object]:
    """The settings in `limits__poll_interval="10s"` by their names ("limits.poll_interval"). Raises UsageError.

    The message never quotes a value, which may be a key.
    """
    flags = {}
    for argument, value in overrides.items():
        section, separator, key = argument.partition("__")
        name = f"{section}.{key}"
        if not separator or name not in _settings():
            _refuse(argument)
        flags[name] = value
    return flags


def _refuse(argument: str) -> NoReturn:
    if _KEY.fullmatch(argument.rpartition("__")[2]):
        hint = 'set ANTHROPIC_API_KEY, or name a file that holds the key alone: api__key_file="PATH"'
        raise errors.UsageError(f"an API key is not taken as an argument ({argument})", hint=hint)
    settings = [name.replace(".", "__", 1) for name in _settings()]
    section = argument.partition("__")[0]
    if argument == section and any(name.startswith(f"{section}__") for name in settings):
        one = next(name for name in settings if name.startswith(f"{section}__"))
        hint = f"name a setting of it, such as {one}=…"
        raise errors.UsageError(f"{argument} is a section, not a setting", hint=hint)
    raise errors.UsageError(
        f"there is no argument {argument!r}",
        hint=humanize.nearest(argument, [*_OWN, *settings])
        or 'config.example.toml has the settings; [limits] poll_interval is limits__poll_interval="10s"',
    )


def _settings() -> Iterable[str]:
    from orchestrator.config.sections import KEYS  # late: most programs name no setting

    return KEYS
