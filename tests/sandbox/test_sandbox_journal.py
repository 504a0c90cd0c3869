"""A sandbox with a journal finds its batches again after its process was killed."""

import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sandbox.sandbox_world import BATCHES, HEADERS, HOUR, START, World, body, http_client, run, still_sandbox
from support.places import fill_up, small_disk

from orchestrator.domain.errors import MAKE_SPACE, StoreFull
from orchestrator.sandbox import ApiError, Machine, Sandbox
from orchestrator.sandbox.in_process import SandboxTransport
from orchestrator.sandbox.journal import JournalError, JournalFile
from orchestrator.sandbox.router import Router


def reopened(path: Path, **settings: object) -> Sandbox:
    return still_sandbox(journal=path, **settings)  # type: ignore[arg-type]  # keyword settings of the machine


def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    """Batches, cancels, deletes and results survive; so does the memory of which params met a fault."""
    path = tmp_path / "sandbox.journal"
    first = reopened(path, faults="error=.3")
    kept, canceled, deleted = (first.machine.create(body(1200, prefix=name)) for name in ("k", "c", "d"))
    first.clock.advance(timedelta(seconds=5))
    first.machine.cancel(canceled.id)
    first.clock.advance(HOUR)
    first.machine.delete(deleted.id)
    lines = {batch.id: list(first.machine.results(batch.id)) for batch in (kept, canceled)}
    ledger = list(first.machine.ledger())

    second = reopened(path, faults="error=.3")
    second.clock.advance(timedelta(minutes=1))
    assert {batch.id: list(second.machine.results(batch.id)) for batch in (kept, canceled)} == lines
    assert second.machine.retrieve(canceled.id).cancel_initiated_at is not None
    with pytest.raises(ApiError, match="not found"):
        second.machine.retrieve(deleted.id)
    assert list(second.machine.ledger()) == ledger
    again = second.machine.create(body(1200, prefix="k2"))
    second.clock.advance(HOUR)
    failed = {row.params_sha256 for row in ledger if row.outcome == "errored"}
    assert failed
    retried = [row for row in second.machine.ledger() if row.batch_id == again.id and row.params_sha256 in failed]
    assert {row.outcome for row in retried} == {"succeeded"}
    assert second.machine.batches_created == 4
    for sandbox in (first, second):
        sandbox.close()


def test_time_never_goes_back_over_a_restart(tmp_path: Path) -> None:
    """What the API said about time stays true: also when the last thing before the kill was only a look."""

    async def story() -> None:
        path = tmp_path / "sandbox.journal"
        first = reopened(path)
        async with http_client(first, "in process") as client:
            for _ in range(5):
                first.clock.advance(timedelta(minutes=7))
                await client.get(BATCHES)
        said = first.clock.now()
        second = reopened(path)
        assert said <= second.clock.now() <= said + timedelta(minutes=2)
        for sandbox in (first, second):
            sandbox.close()

    run(story())


def test_a_torn_write_leaves_the_whole_batch_or_nothing(tmp_path: Path) -> None:
    """Killed between a big body and its answer: cut at any byte, what is left is whole and can be added to."""
    path = tmp_path / "sandbox.journal"
    first = reopened(path)
    kept = first.machine.create(body(3, prefix="k"))
    solid = path.stat().st_size
    torn = first.machine.create(body(3, prefix="t"))
    first.close()
    whole = path.read_bytes()
    for size in range(solid, len(whole) + 1):
        path.write_bytes(whole[:size])
        sandbox = reopened(path)
        ids = {batch.id for batch in sandbox.machine.list().data}
        assert ids == ({kept.id, torn.id} if size == len(whole) else {kept.id})
        sandbox.machine.create(body(1, prefix="n"))
        sandbox.close()
        after = reopened(path)
        assert len(after.machine.list().data) == len(ids) + 1
        after.close()


def test_the_journal_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    """It holds the beginnings of prompts."""
    path = tmp_path / "sandbox.journal"
    path.touch(0o666)
    reopened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_machine_writes_through_a_plain_function() -> None:
    """No file is needed to persist a machine: bytes out, lines in."""
    written: list[bytes] = []
    machine = Machine(now=lambda: START, journal=written.append)
    batch = machine.create(body(600))
    assert len(written) == 1, "a create and its rows are one write"
    other = World().machine
    other.replay(b"".join(written).splitlines(keepends=True))
    assert other.retrieve(batch.id).request_counts.processing == 600


def test_a_full_disk_refuses_the_create_and_spoils_nothing(tmp_path: Path) -> None:
    """What could not be written has not happened; what was written before is still readable."""
    program = (
        "import resource, signal, sys; from pathlib import Path; from orchestrator.sandbox.journal import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "journal = JournalFile(Path(sys.argv[1])); journal.append(b'x' * 600)\n"
        "try: journal.append(b'y' * 600)\n"
        "except JournalError as exc: print('refused')\n"
        "journal.append(b'z' * 300)\n"
    )
    path = tmp_path / "journal"
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert (done.stdout, path.read_bytes()) == ("refused\n", b"x" * 600 + b"z" * 300)


def test_a_journal_that_finds_no_space_is_no_bug_of_ours() -> None:
    """M8. The note of a new life met a full disk, and rose as "this is a bug"; now it is exit 8, with what to do."""
    with small_disk("1m") as disk:
        journal = JournalFile(disk / "journal")
        fill_up(disk)
        with pytest.raises(StoreFull) as told:
            journal.append(b"x" * 600)
        journal.close()
        assert (told.value.exit_code, told.value.hint) == (8, MAKE_SPACE)
        assert "No space left" in str(told.value.cause)


def test_a_create_that_cannot_be_recorded_is_no_create() -> None:
    """The record comes first: no batch may exist that a restart would forget."""

    async def story() -> None:
        sandbox = still_sandbox()
        full = False

        def write(record: bytes) -> None:
            if full:
                raise JournalError("no space")

        machine = Machine(now=sandbox.clock.now, journal=write)
        async with httpx2.AsyncClient(
            transport=SandboxTransport(Router(machine, sandbox.clock)), headers=HEADERS
        ) as client:
            full = True
            assert (await client.post(f"http://inside.test{BATCHES}", content=body(1))).status_code == 500
            full = False
            assert (await client.get(f"http://inside.test{BATCHES}")).json()["data"] == []

    run(story())


def test_faults_are_drawn_anew_in_each_life(tmp_path: Path) -> None:
    """A client that is killed at a fault must not meet the same fault at every start."""
    draws = []
    for _ in range(6):
        sandbox = reopened(tmp_path / "journal", faults="create.drop_after_accept=.5")
        draws.append(tuple(sandbox.machine.plan.draw("create") for _ in range(8)))
        sandbox.close()
    assert len(set(draws)) > 3
