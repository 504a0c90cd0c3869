"""`batches`: the batches at the API beside those of the store, and a person's decision on one in doubt."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from orchestrator.cli import command_errors, console, jobs_text, signals, store_access
from orchestrator.cli.group import CommandEntry, HintedUsageError, command, group
from orchestrator.cli.options import GlobalOptions, job_argument
from orchestrator.domain import api_answers, errors, humanize, model, states
from orchestrator.store.location import location_of, open_reader
from orchestrator.views import batch_views, view

if TYPE_CHECKING:
    from orchestrator.client.server_address import Server
    from orchestrator.config import Settings
    from orchestrator.ports.reads import Reads, RemoteReads

EXAMPLES = """
Examples:
  orchestrator batches ls                                  the API's newest batches, and whose they are
  orchestrator batches ls reviews                          those of one job, as the store has them
  orchestrator batches show msgbatch_013Zva2CMHLNnXjNJJ    one of ours, with its history
  orchestrator batches adopt msgbatch_013Zva2CMHLNnXjNJJ   it is the batch that is in doubt
  orchestrator batches adopt msgbatch_013Zva2CMHLNnXjNJJ requests.jsonl
                                                           made elsewhere from this file: collect it here
  orchestrator batches disown msgbatch_013Zva2CMHLNnXjNJJ  it is not ours
"""

#: The most that a page of the API holds.
_SERVER_LIMIT: Final = 1000


batches = group(
    {
        "ls": CommandEntry("List the batches at the API, and whose they are; or those of a job.", "batches"),
        "show": CommandEntry("Show one batch of ours with its history.", "batches", "show_batch"),
        "adopt": CommandEntry("Take a batch for ours.", "steer"),
        "disown": CommandEntry("Say that a batch is not ours.", "steer"),
    },
    EXAMPLES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBatches:
    """Batches of the store: by remote id, and those in doubt."""

    ours: dict[str, tuple[model.Batch, model.JobSnapshot]]
    in_doubt: list[tuple[model.Batch, model.JobSnapshot]]


@command(EXAMPLES)
@job_argument(required=False)
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most N batches.")
def ls(options: GlobalOptions, job: str | None, limit: int) -> None:
    """A batch is "elsewhere" if this store did not make it, or cannot prove to have made it.

    With a JOB: its batches in the store, the newest first; the API is not asked.
    """
    if job is not None:
        _list_of_job(options, job, limit)
        return
    server = options.remote()
    listed, more = _here(options, limit) if server is None else _there(options, server, limit)
    if options.as_json:
        console.show_json({**listed.fields(), **more})
        return
    console.show_banner(options, sandbox=bool(more["sandbox"]))
    console.show(_remote_table(listed.batches) if listed.batches else "the API has no batches")
    for doubt in listed.in_doubt:
        console.show(f"in doubt: batch {doubt.batch} of {doubt.job}, {humanize.count(doubt.requests, 'request')}")
    if listed.has_more:
        console.say(options, f"there are more: --limit {limit * 4} shows them")


def _list_of_job(options: GlobalOptions, ref: str, limit: int) -> None:
    with store_access.open_reads(options) as reads:
        job = reads.find(ref)
        found = reads.batches(job.id)[::-1]
        sandbox = reads.meta().sandbox
    has_more = len(found) > limit
    if options.as_json:
        listed = [batch_views.BatchView.of(batch, job).fields() for batch in found[:limit]]
        console.show_json({"job": job.public_id, "batches": listed, "has_more": has_more, "sandbox": sandbox})
        return
    console.show_banner(options, sandbox=sandbox)
    console.show(_own_table(found[:limit]) if found else f"{job.public_id} has no batches yet")
    if has_more:
        console.say(options, f"there are {len(found) - limit:,} more: --limit {len(found)} shows them")


def _there(
    options: GlobalOptions, server: Server, limit: int
) -> tuple[batch_views.RemoteBatchesView, dict[str, object]]:
    """The batches that a server lists, in the form of `_here`. Its engine asks the API, so no key is needed here."""
    from orchestrator.client.session import not_a_sandbox

    if limit > _SERVER_LIMIT:
        raise HintedUsageError(f"a server lists at most {_SERVER_LIMIT:,} batches", hint=f"--limit {_SERVER_LIMIT}")
    with (
        command_errors.explaining_api_errors(),
        store_access.server_reader(options, server) as reader,
        reader.snapshot() as reads,
    ):
        sandbox = reads.meta().sandbox
        if options.sandbox and not sandbox:
            raise not_a_sandbox(server)
        return reader.ask(batch_views.RemoteBatchesView, "remote-batches", {"limit": limit}), {"sandbox": sandbox}


def _here(options: GlobalOptions, limit: int) -> tuple[batch_views.RemoteBatchesView, dict[str, object]]:
    """The newest batches at the API, and what is said beside them in JSON."""
    settings = options.settings()
    api = console.say_api_address(options, settings, sandbox=options.sandbox)
    odd: list[api_answers.MalformedEntry] = []
    with command_errors.explaining_api_errors():
        found = signals.run_async(lambda: _listed(settings, limit + 1, odd, sandbox=options.sandbox))
    if odd:
        console.say(
            options,
            f"{humanize.count(len(odd), 'entry', 'entries')} of the API's list cannot be read, such as {odd[0].mark}",
        )
    remotes, has_more = found[:limit], len(found) > limit
    known = _known(settings, remotes)
    listed = batch_views.RemoteBatchesView(
        batches=[
            batch_views.RemoteBatchView.of(remote, known.ours.get(remote.id), known.in_doubt) for remote in remotes
        ],
        in_doubt=[batch_views.BatchView.of(batch, job) for batch, job in known.in_doubt],
        has_more=has_more,
    )
    return listed, {"api": api, "sandbox": options.sandbox}


async def _listed(
    settings: Settings, limit: int, odd: list[api_answers.MalformedEntry], *, sandbox: bool
) -> list[api_answers.RemoteBatch]:
    """The newest *limit* batches. Raises ProviderError; GuardRefused for a sandbox that another process runs."""
    from orchestrator.daemon import open_commands, open_provider
    from orchestrator.engine.batch_list import LARGEST, list_batches

    if not sandbox:
        async with open_provider(settings, sandbox=False) as provider:
            await command_errors.find_credentials(provider)
            return await _first(limit, list_batches(provider, min(limit, LARGEST), odd))
    if not location_of(settings).exists:
        return []
    try:  # the sandbox's memory lies beside the store and has one user at a time
        async with open_commands(settings, sandbox=True) as engine:
            return await _first(limit, engine.remote_batches())
    except errors.StoreOwned as exc:
        raise errors.GuardRefused(
            "the sandbox's API lives in the engine that is running",
            cause=exc.message,
            hint="ask again when it has ended; `orchestrator status` shows our batches at any time",
        ) from exc


async def _first(limit: int, batches: AsyncGenerator[api_answers.RemoteBatch, None]) -> list[api_answers.RemoteBatch]:
    found: list[api_answers.RemoteBatch] = []
    async with aclosing(batches):
        async for remote in batches:
            found.append(remote)
            if len(found) == limit:
                break
    return found


def _known(settings: Settings, remotes: Sequence[api_answers.RemoteBatch]) -> KnownBatches:
    try:
        with open_reader(settings) as reads:
            ours = reads.batches_by_remote([remote.id for remote in remotes])
            jobs = {batch.job_id: reads.get(batch.job_id) for batch in ours.values()}
            return KnownBatches(
                ours={remote_id: (batch, jobs[batch.job_id]) for remote_id, batch in ours.items()},
                in_doubt=_in_doubt(reads),
            )
    except errors.NoSuchThing:
        return KnownBatches(ours={}, in_doubt=[])


def _in_doubt(reads: Reads) -> list[tuple[model.Batch, model.JobSnapshot]]:
    jobs = [job for job in reads.unfinished() if reads.status(job).batches[states.BatchState.IN_DOUBT]]
    return [
        (batch, job) for job in jobs for batch in reads.batches(job.id) if batch.state is states.BatchState.IN_DOUBT
    ]


@command(EXAMPLES)
@click.argument("batch", metavar="BATCH")
def show_batch(options: GlobalOptions, batch: str) -> None:
    """BATCH is the API's id (msgbatch_...) or our number. The API is not asked."""
    with store_access.open_reads(options) as reads:
        found = reads.batch(batch)
        job = reads.get(found.job_id)
        events = _history(reads, found)
        sandbox = reads.meta().sandbox
    if options.as_json:
        history = [
            {"at": view.time_text(event.at), "kind": event.kind, "state": event.new, "why": event.why}
            for event in events
        ]
        console.show_json({**batch_views.BatchView.of(found, job).fields(), "events": history, "sandbox": sandbox})
        return
    console.show_banner(options, sandbox=sandbox)
    console.show("\n".join(_batch_lines(found, job, events, now=datetime.now(UTC))))


def _history(reads: RemoteReads, batch: model.Batch) -> list[model.Event]:
    """Every event of *batch*, read in pages of its job's."""
    found: list[model.Event] = []
    after = 0
    while page := reads.events(batch.job_id, after=after):
        found += [event for event in page if event.batch_id == batch.id]
        after = page[-1].id
    return found


def _own_table(batches: Sequence[model.Batch]) -> str:
    """The table of `batches ls JOB`."""
    rows: list[tuple[str, ...]] = [("NO", "BATCH", "STATE", "REQUESTS", "SIZE", "SENT")]
    for batch in batches:
        sent = "" if batch.sent_at is None else batch.sent_at.strftime("%Y-%m-%d %H:%M:%S")
        remote = "" if batch.remote_id is None else humanize.plain(batch.remote_id)
        size = humanize.size(batch.size_bytes)
        rows.append((str(batch.id), remote, batch.state.value, f"{batch.count:,}", size, sent))
    return console.as_table(rows, right=(0, 3, 4))


def _remote_table(remotes: Sequence[batch_views.RemoteBatchView]) -> str:
    """The table of `batches ls`."""
    rows: list[tuple[str, ...]] = [("BATCH", "STATUS", "REQUESTS", "CREATED", "WHOSE")]
    for remote in remotes:
        owner = remote.owner
        if remote.batch is not None:
            owner = f"ours: batch {remote.batch} of {remote.job}, {remote.state}"
        elif remote.may_be:
            owner = f"may be ours: batch {', '.join(map(str, remote.may_be))} in doubt"
        created = remote.created_at[:19].replace("T", " ")
        row = (remote.id, remote.status, f"{remote.requests.total:,}", created, owner)
        rows.append(tuple(humanize.plain(str(cell)) for cell in row))
    return console.as_table(rows, right=(2,))


def _batch_lines(
    batch: model.Batch, job: model.JobSnapshot, events: Sequence[model.Event], *, now: datetime
) -> Iterator[str]:
    """The screen of `batches show`."""
    yield f"batch      {batch.id}" + ("" if batch.remote_id is None else f"  {humanize.plain(batch.remote_id)}")
    yield f"job        {job.public_id}"
    yield f"state      {batch.state.value}"
    yield f"size       {humanize.count(batch.count, 'request')}, {batch.size_bytes:,} bytes"
    yield f"sent with  {jobs_text.headers_text(batch)}"
    if batch.organization is not None or batch.workspace is not None:
        yield f"account    organization {batch.organization}, workspace {batch.workspace}"
    if batch.sent_at is not None:
        yield f"sent       {humanize.span(now - batch.sent_at)} ago"
    if batch.api_counts is not None:
        found = batch.api_counts
        parts = (f"{found.succeeded:,} succeeded, {found.errored:,} errored", f"{found.expired:,} expired")
        yield f"results    {', '.join(parts)}, {found.canceled:,} canceled"
    yield "history"
    for event in events:
        step = event.kind if event.new is None else f"{event.kind} -> {event.new}"
        why = "" if event.why is None else f"  {humanize.plain(event.why)}"
        yield f"  {event.at.strftime('%Y-%m-%d %H:%M:%S')}  {step}{why}"
