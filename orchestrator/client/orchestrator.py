"""The library's front: opens a store, runs its engine or uses the one that runs, and makes jobs."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypedDict, Unpack

from orchestrator.client.errors import not_open, refusal, used_once
from orchestrator.client.job import Job, JobAppender, OpenJob
from orchestrator.domain import errors, humanize, job_spec, limits, model, params, queries, states
from orchestrator.ports import engine, streams

if TYPE_CHECKING:
    from orchestrator.client.session import EngineHandle, Session
    from orchestrator.config import Settings
    from orchestrator.ports.reads import RemoteReads

_OBJECTS: Final = "<library>"
_UNNAMED: Final = "requests"
_STDIN: Final = "-"
_SHOWN: Final = 20


class Submission(TypedDict, total=False):
    """Options of `submit`, `submit_file` and `open_job`.

    api_version, betas: fixed for the job (default: `[api] version`, none). priority: 1–100, a larger share of the
    account's queue for a larger number. tags: what it is filed under. new: start a new job although one with the same
    content exists. skip_bad: leave bad requests out instead of refusing all. key: an idempotency key of your own: the
    same key again is the same job, even with `new`; with other requests it raises KeyReused.
    """

    api_version: str | None
    betas: Sequence[str]
    priority: int
    tags: Sequence[str]
    new: bool
    skip_bad: bool
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """A `Submission` and a name: the options of the job, and how its input is ingested."""

    job: job_spec.JobOptions
    ingest: engine.IngestOptions

    @classmethod
    def of(cls, name: str | None, how: Submission) -> SubmitOptions:
        """The options in *how*. Raises UsageError for an unknown one; values are checked when the job is made."""
        refuse_unknown(how, [*(field for field in job_spec.OPTIONS if field != "name"), "new", "skip_bad"])
        given: dict[str, Any] = {**how}
        force_new, skip_bad = given.pop("new", False), given.pop("skip_bad", False)
        return cls(
            job=job_spec.JobOptions(name=name, **given),
            ingest=engine.IngestOptions(force_new=force_new, skip_bad=skip_bad, max_problems=_SHOWN),
        )


class Orchestrator:
    """Use it as `async with Orchestrator(...) as orc:`. Inside the block, jobs are submitted, watched and collected.

    db: the database file (default: the settings'). sandbox: use a local API that costs nothing and gives canned
    answers. config: a settings file instead of the usual two. Other settings by name, with two underscores:
    `limits__poll_interval="10s"`.

    server: the address of a daemon that does the work instead, such as `orchestrator serve` on another machine. token:
    its access token (default: ORCHESTRATOR_SERVER_TOKEN, or the file in ORCHESTRATOR_TOKEN_FILE); your own daemon on
    this machine needs none. No store is opened here then.

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

    async def submit(
        self,
        requests: Iterable[object] | AsyncIterable[object],
        *,
        name: str | None = None,
        **how: Unpack[Submission],
    ) -> Job:
        """Submit SDK `Request` dicts (`{"custom_id": …, "params": {…}}`), streamed; return once they are stored.

        The same requests for the same API version and betas are the same job: submitting them again attaches to it, and
        resumes it if it was paused. Raises InputRefused.
        """
        options = SubmitOptions.of(name, how)
        new, source = self._prepare(requests, options)
        return await self._submit(source, new, options)

    async def submit_file(
        self, path: str | os.PathLike[str], *, name: str | None = None, **how: Unpack[Submission]
    ) -> Job:
        """Submit a file of JSON Lines, also `.gz` and `.zst`, or "-" for standard input.

        As `submit`; raises InputError too.
        """
        from orchestrator.inputs import open_source

        options = SubmitOptions.of(name, how)
        place = _place(path)
        new = self._new_job(options.job, place, default_name=job_spec.name_of(place))
        source = open_source(path, rules=self._rules(new.api_version), max_line_bytes=limits.MAX_INPUT_LINE_BYTES)
        return await self._submit(source, new, options)

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

    async def jobs(self, *, limit: int = 100, tags: Collection[str] = ()) -> list[model.JobStatus]:
        """The newest jobs, newest first; those with all of *tags*."""
        where = queries.JobFilter(tags=frozenset(tags))
        return await self._handle().reader.read(
            lambda reads: [reads.status(job) for job in reads.jobs(limit=limit, where=where)]
        )

    def _prepare(
        self, requests: Iterable[object] | AsyncIterable[object], options: SubmitOptions
    ) -> tuple[job_spec.NewJob, streams.Source]:
        """The job and the source of its requests, of which nothing is read yet."""
        from orchestrator.inputs import source_from_objects

        new = self._new_job(options.job, _OBJECTS)
        return new, source_from_objects(requests, name=_UNNAMED, rules=self._rules(new.api_version))

    async def _submit(self, source: streams.Source, new: job_spec.NewJob, options: SubmitOptions) -> Job:
        """Ingest *source*; an existing job that is paused goes on. Raises InputRefused."""
        handle = self._handle()
        result = await handle.commands.ingest(source, new, options.ingest)
        if result.job is None:
            raise refusal(source.name, result)
        if result.attached and result.job.state is states.JobState.PAUSED:
            await handle.commands.resume(result.job.id)
        return Job(self._handle, result.job, attached=result.attached, refused_count=result.refused)

    async def _appender(self, name: str, how: Submission) -> JobAppender:
        options = SubmitOptions.of(name, how)
        new = self._new_job(replace(options.job, key=None), _OBJECTS, still_open=True)
        unfinished = (
            [] if options.ingest.force_new else await self._handle().reader.read(lambda reads: reads.unfinished())
        )
        there = [job for job in unfinished if job.name == name and job.still_open and job.state not in states.OVER]
        job = there[-1] if there else None
        version = new.api_version if job is None else job.api_version
        return JobAppender(self._handle, new, self._rules(version), job)

    def _rules(self, api_version: str) -> params.ParamRules:
        from orchestrator.domain.limits import largest_params

        return params.ParamRules(
            api_version=api_version, max_request_bytes=largest_params(self._loaded().batching.max_bytes)
        )

    def _new_job(
        self, options: job_spec.JobOptions, source: str, *, default_name: str = _UNNAMED, still_open: bool = False
    ) -> job_spec.NewJob:
        """The job that *options* describe; *default_name* applies where none was chosen. Raises UsageError."""
        version = self._loaded().api.version_or_default
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
        from orchestrator.config import load_settings
        from orchestrator.config.sources import ARGUMENT

        flags = dict(self._flags)
        if self._db is not None:
            flags["database.path"] = os.fspath(self._db)
        config = None if self._config is None else Path(self._config)
        env = os.environ if self._server is None else environ_for_remote(os.environ)
        return load_settings(
            flags=flags, env=env, cwd=Path.cwd(), config_file=config, sandbox=self._sandbox, called=ARGUMENT
        )


def _place(path: str | os.PathLike[str]) -> str:
    """The absolute path of a file, and the default name of its job."""
    text = os.fspath(path)
    return "<stdin>" if text == _STDIN else humanize.readable(str(Path(text).absolute()))


def _found(reads: RemoteReads, ref: str) -> tuple[model.JobSnapshot, errors.GuardRefused | None]:
    """The job, and why it may not be the one that is meant."""
    try:
        return reads.sole(ref), None
    except errors.GuardRefused as exc:
        return reads.find(ref), exc


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


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise UsageError for the first of *given* that is not in *known*."""
    names = list(known)
    for option in given:
        if option not in names:
            raise errors.UsageError(
                f"there is no option {option!r}",
                hint=humanize.nearest(option, names) or f"the options are: {', '.join(names)}",
            )


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
