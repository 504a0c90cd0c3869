"""`db`: maintenance of the store: backup, audit, pruning, compaction, adoption, migration, a move elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import console, store_access
from orchestrator.cli.group import CommandEntry, HintedUsageError, command, group
from orchestrator.cli.options import Duration, GlobalOptions
from orchestrator.config import Settings, format_duration
from orchestrator.domain import humanize
from orchestrator.domain.urls import is_database, is_like_an_address, without_password
from orchestrator.store.location import SqliteLocation, location_of, open_store, server_location_of

if TYPE_CHECKING:
    from orchestrator.ports.reads import StoreLocation
    from orchestrator.store.maintenance import SpaceUsage

EXAMPLES = """
Examples:
  orchestrator db backup ~/backups/orchestrator.db     a copy as of now, also while an engine runs
  orchestrator db check                                read everything and say what does not fit together
  orchestrator db prune --older-than 90d --dry-run     which jobs would lose their requests and results
  orchestrator db compact                              give the space that they had back to the disk
  orchestrator db migrate                              bring a store of an earlier version forward
  orchestrator db adopt-store                          this is a copy, or was moved here: use it all the same
  orchestrator db move --to postgresql://orch@db/orch  into a database on a server, or from there into a file

To go back to a backup, stop the engine and put the copy where the store was; a -wal file beside it must go as well,
the .mark file stays. The next engine sees that the copy is older than what was sent, and takes that in before it sends
more.
"""

ADOPT_EXAMPLES = """
Examples:
  orchestrator db adopt-store                          this copy is the store from now on
  orchestrator db adopt-store --db /new/place/s.db     of a store that was moved here

Beside every store lies a mark (STORE.mark) that counts what was sent. Where it is missing, or is a copy itself, nobody
can tell whether the original sent more after this copy was made, and no engine starts. Once adopted, the engine asks
the API for every batch of that time and takes in those that are its own, before it sends anything; that takes at least
[limits] doubt_wait, and until batches that run there have ended. It cannot find what was deleted at the API, or sent
with a key of another workspace. Never use two copies: what is still to be sent would be sent by both.
"""

MOVE_EXAMPLES = """
Examples:
  orchestrator db move --to postgresql://orch@db/orch           the store is that database from now on
  orchestrator --db postgresql://orch@db/orch db move --to s.db and a file again

Stop every engine first. All of it goes along: jobs, results, batches at the API, history, deliveries that are due. The
target must be empty; the password comes from [database] password_file, PGPASSFILE or PGPASSWORD. What arrived is read
again and compared, and audited, before the old store is given up; opening that one then says where to. Killed at any
moment, the old store is the one in use, or the same command ends the move. Then name the new one: --db, or [database].
"""

_FILE = "it works on the file itself, on the machine of the store"


def _entry(help_line: str, function: str | None = None) -> CommandEntry:
    return CommandEntry(help_line, "db", function, refuses_server=_FILE)


db = group(
    {
        "backup": _entry("Copy the store as it is now, also while it is in use."),
        "check": _entry("Read all of the store and say what is wrong with it."),
        "prune": CommandEntry("Delete requests and results of jobs that are long over.", "db"),
        "compact": _entry("Give space that is free in the file back to the disk."),
        "adopt-store": _entry("Take a copy of a store, or one that was moved, into use.", "adopt_store"),
        "migrate": _entry("Bring the store's schema forward."),
        "move": _entry("Move the store into a database on a server, or into a file."),
    },
    EXAMPLES,
)


@command(EXAMPLES)
@click.argument("target", type=click.Path(path_type=Path))
def backup(options: GlobalOptions, target: Path) -> None:
    """TARGET must not exist. The copy is one committed state, one file, mode 0600, checked and synced before it is
    there.
    """
    size_bytes = _file(options, "pg_dump copies a database, also while it is in use").back_up(target)
    if options.as_json:
        console.show_json({"backup": str(target.absolute()), "bytes": size_bytes})
        return
    console.say(options, f"wrote {target}: {size_bytes:,} bytes")


@command(EXAMPLES)
def check(options: GlobalOptions) -> int:
    """Pages, references, counts, results, and every request's payload and row. Exit codes: 0 sound, 8 not."""
    location = _existing(options)
    with location.open_reader() as reads:
        sandbox = reads.meta().sandbox
    found = location.audit()
    if options.as_json:
        console.show_json({"database": str(location), "sound": not found, "findings": found, "sandbox": sandbox})
        return 8 if found else 0
    console.show_banner(options, sandbox=sandbox)
    for finding in found:
        console.show(finding)
    if not found:
        console.show(f"{location} is sound")
        return 0
    console.say(options, "restore a backup, or report this with the findings above")
    return 8


@command(EXAMPLES)
def migrate(options: GlobalOptions) -> None:
    """Every engine does that when it starts; this is for a store that is only read. A copy of the old file is left
    there.
    """
    location = _existing(options)
    before, after = location.migrate(now=datetime.now(UTC), sandbox=options.sandbox)
    if options.as_json:
        console.show_json({"database": str(location), "schema_before": before, "schema": after})
        return
    console.say(options, f"schema {after}: nothing to do" if before == after else f"schema {before} -> {after}")


@command(ADOPT_EXAMPLES)
def adopt_store(options: GlobalOptions) -> None:
    """The next engine first asks the API what was sent after the copy was made, and buys nothing again. Where only the
    mark of a store is left, a new store takes its place.
    """
    import asyncio

    settings = options.settings()
    location = location_of(settings)
    if not location.can_be_adopted:
        location.require()
    searching = asyncio.run(_adopt(settings, sandbox=options.sandbox))
    if options.as_json:
        console.show_json({"database": str(location), "searching": searching})
    elif searching:
        console.say(
            options, f"{location} is the store now; before the next engine sends anything it asks the API what was sent"
        )
    else:
        console.say(options, f"{location} lacks nothing: nothing to do")


async def _adopt(settings: Settings, *, sandbox: bool) -> bool:
    """Adopt the store; True if the API must be searched before anything is sent."""
    store = await open_store(settings, now=datetime.now(UTC), sandbox=sandbox, adopt=True)
    try:
        return await store.reconcile.open() is not None
    finally:
        await store.aclose()


@command(MOVE_EXAMPLES)
@click.option("--to", "target", required=True, metavar="URL|PATH", help="Where to; empty, or not there yet.")
def move(options: GlobalOptions, target: str) -> None:
    """The store that --db or the settings name is at --to from now on, and no longer where it was."""
    settings = options.settings()
    url = settings.database.url
    if is_like_an_address(target) and not is_database(target):
        raise HintedUsageError(
            f"--to {without_password(target)} is neither a file nor an address of PostgreSQL",
            hint="a database is written as postgresql://USER@HOST/NAME",
        )
    if is_database(target) == (url is not None):
        raise HintedUsageError(
            "a store is moved from a file into a database, or from a database into a file",
            hint="of one kind: pg_dump and pg_restore, or stop the engine and move the file; then `db adopt-store`",
        )
    now = datetime.now(UTC)
    if url is None:
        there = server_location_of(target, settings)
        report = there.take_in(Path(str(location_of(settings))), now=now, sandbox=options.sandbox)
    else:
        report = server_location_of(url, settings).give_out(Path(target).absolute(), now=now)
    shown = without_password(target)
    if options.as_json:
        console.show_json({"database": shown, "jobs": report.jobs, "requests": report.requests})
        return
    moved = f"{humanize.count(report.jobs, 'job')} with {humanize.count(report.requests, 'request')}"
    console.say(options, f"{moved} moved; the store is {shown} now: name it with --db, or in [database]")


@command(EXAMPLES)
@click.option(
    "--older-than", type=Duration(), metavar="DURATION", help="Over for so long.  [default: [database] keep_bodies]"
)
@click.option("--dry-run", is_flag=True, help="Only say which jobs they are.")
def prune(options: GlobalOptions, older_than: timedelta | None, *, dry_run: bool) -> None:
    """Their counts, custom_ids, errors and history stay. What is deleted cannot be brought back; its space stays in the
    file and is used again (`db compact` gives it back). The same input becomes a new job afterwards.
    """
    settings = options.settings()
    if options.remote() is None:
        _existing(options)
    age = settings.database.keep_bodies if older_than is None else older_than
    if age is None:
        raise HintedUsageError("--older-than is missing", hint="give it, or set [database] keep_bodies")
    with store_access.open_reads(options, settings) as reads:
        console.show_banner(options, sandbox=reads.meta().sandbox)
        would = reads.over_since(datetime.now(UTC) - age)
    if dry_run:
        jobs = would
    else:
        jobs, _ = store_access.run_command(options, settings, lambda commands, _: commands.purge_older(age))
    room = None if dry_run else _room(options)
    if options.as_json:
        facts = {"pruned": [job.public_id for job in jobs], "dry_run": dry_run, "older_than": format_duration(age)}
        console.show_json({**facts, "free_inside_bytes": None if room is None else room.free_bytes})
        return
    for job in jobs:
        console.show(f"{job.public_id}: {humanize.count(job.requests.total, 'request')}")
    does = "would lose" if dry_run else "lost"
    console.say(
        options,
        f"{humanize.count(len(jobs), 'job')} {does} {'its' if len(jobs) == 1 else 'their'} requests and results",
    )
    if room is not None and room.free_bytes:
        size = humanize.size(room.free_bytes)
        console.say(
            options, f"{size} are free inside the file for what comes; `orchestrator db compact` gives them to the disk"
        )


@command(EXAMPLES)
def compact(options: GlobalOptions) -> None:
    """For after `db prune`. No engine may run meanwhile. It takes twice the size of what is kept beside the store for a
    while, and says so first; killed at any moment, the store is as it was, or compacted.
    """
    location = _file(options, "VACUUM is PostgreSQL's own: it runs by itself, and keeps the space for what comes")
    with store_access.open_reads(options) as reads:
        sandbox = reads.meta().sandbox
    with location.lock():
        before = location.space()
        if not options.as_json:
            console.show_banner(options, sandbox=sandbox)
            console.say(options, _plan_of(before))
        if before.free_bytes:
            location.compact()
    after = location.space()
    given = before.used_bytes + before.free_bytes - after.used_bytes - after.free_bytes
    if options.as_json:
        console.show_json(
            {"database": str(location), "bytes": after.used_bytes + after.free_bytes, "given_back_bytes": given}
        )
        return
    console.say(
        options, f"{humanize.size(given)} given back; the file has {humanize.size(after.used_bytes + after.free_bytes)}"
    )


def _plan_of(room: SpaceUsage) -> str:
    return (
        f"{humanize.size(room.free_bytes)} are free inside the file; compacting needs "
        f"{humanize.size(room.needed_bytes)} on its disk for a while, where {humanize.size(room.disk_bytes)} are free"
    )


def _room(options: GlobalOptions) -> SpaceUsage | None:
    """The space of the store's file; None: it is a server's."""
    location = None if options.remote() is not None else location_of(options.settings())
    return location.space() if isinstance(location, SqliteLocation) else None


def _existing(options: GlobalOptions) -> StoreLocation:
    """The store that the settings name. Raises NoSuchThing."""
    location = location_of(options.settings())
    location.require()
    return location


def _file(options: GlobalOptions, otherwise: str) -> SqliteLocation:
    """The same, if it is a file; *otherwise*: what a database on a server has in place of the command."""
    location = location_of(options.settings())
    if not isinstance(location, SqliteLocation):
        raise HintedUsageError(f"{location} is a database on a server, not a file", hint=otherwise)
    location.require()
    return location
