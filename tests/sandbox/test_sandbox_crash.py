"""Crash points: each strikes at its own instant, and nothing but the settings of one process can order one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from sandbox.sandbox_world import BATCHES, HEADERS, HOUR, body, http_client, run, still_sandbox

from orchestrator.sandbox import CrashPoint, Sandbox, SandboxSettings, build_sandbox, parse_faults
from orchestrator.sandbox.crash_points import CrashInjector
from orchestrator.sandbox.in_process import SandboxTransport
from orchestrator.sandbox.ledger import Audit, AuditResult, LedgerRow, witness

PIECES = 4


class _Death(BaseException):
    """Stands for SIGKILL: nothing on the way may take it for an error."""


def _die() -> None:
    raise _Death


def _client(sandbox: Sandbox, point: CrashPoint) -> httpx2.AsyncClient:
    transport = SandboxTransport(CrashInjector(sandbox.router, point, _die))
    return httpx2.AsyncClient(transport=transport, base_url="http://inside.test", headers=HEADERS)


class _Upload:
    """A body in pieces, that knows how many of them were taken."""

    def __init__(self) -> None:
        self.taken = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """The pieces."""
        whole = body(8)
        step = -(-len(whole) // PIECES)
        for start in range(0, len(whole), step):
            self.taken += 1
            yield whole[start : start + step]


@pytest.mark.parametrize(
    ("point", "taken", "exists"),
    [
        (CrashPoint.SENDING, 1, False),
        (CrashPoint.RECEIVED, PIECES, False),
        (CrashPoint.CREATED, PIECES, True),
        (CrashPoint.ANSWERED, PIECES, True),
    ],
)
def test_a_create_dies_where_it_should(point: CrashPoint, taken: int, exists: bool) -> None:
    """How much of the body is out, and whether the batch exists, is what tells these points apart."""

    async def story() -> None:
        sandbox, upload = still_sandbox(), _Upload()
        async with _client(sandbox, point) as client:
            assert (await client.get(BATCHES, params={"limit": 1})).status_code == 200
            with pytest.raises(_Death):
                await client.post(BATCHES, content=upload.pieces())
        assert upload.taken == taken
        assert len(sandbox.machine.list().data) == exists

    run(story())


@pytest.mark.parametrize(("point", "limit", "other"), [(CrashPoint.CURSOR, 1, 1000), (CrashPoint.WATCHING, 1000, 1)])
def test_a_look_dies_once_its_answer_is_whole(point: CrashPoint, limit: int, other: int) -> None:
    """The look for the newest batch and the look at many are two points."""

    async def story() -> None:
        sandbox = still_sandbox()
        async with _client(sandbox, point) as client:
            assert (await client.get(BATCHES, params={"limit": other})).status_code == 200
            got = b""
            with pytest.raises(_Death):  # noqa: PT012 - the pieces before the end are what is tested
                async with client.stream("GET", BATCHES, params={"limit": limit}) as answer:
                    async for piece in answer.aiter_raw():
                        got += piece
        assert json.loads(got)["data"] == []

    run(story())


def test_a_download_dies_in_its_middle() -> None:
    """Some bytes of the results were given, and not all."""

    async def story() -> None:
        sandbox = still_sandbox()
        batch = sandbox.machine.create(body(8))
        sandbox.clock.advance(HOUR)
        whole = b"".join(sandbox.machine.results(batch.id))
        got = b""
        async with _client(sandbox, CrashPoint.READING) as client:
            with pytest.raises(_Death):  # noqa: PT012 - the pieces before the end are what is tested
                async with client.stream("GET", f"{BATCHES}/{batch.id}/results") as answer:
                    async for piece in answer.aiter_raw():
                        got += piece
        assert whole.startswith(got)
        assert 0 < len(got) < len(whole)

    run(story())


def test_a_call_that_is_refused_is_no_crash_point() -> None:
    """A client that dies at an error would prove nothing about batches."""

    async def story() -> None:
        async with _client(still_sandbox(), CrashPoint.CREATED) as client:
            assert (await client.post(BATCHES, content=b"{}")).status_code == 400

    run(story())


def test_a_sandbox_on_a_port_never_kills_itself(tmp_path: Path) -> None:
    """Whatever its settings say: it is a process of its own, and its clients' business is not to end it."""

    async def story() -> None:
        chosen = SandboxSettings(journal=tmp_path / "journal", crash_at=CrashPoint.CREATED, speed=1)
        sandbox = build_sandbox(chosen)
        async with http_client(sandbox, "over TCP") as client:
            assert (await client.post(BATCHES, content=body(1))).status_code == 200
            for order in ({"faults": "created"}, {"faults": {"sending": 1}}):
                assert (await client.post("/sandbox/faults", json=order)).status_code == 400
            script = {"endpoint": "create", "fault": "created"}
            assert (await client.post("/sandbox/script", json=script)).status_code == 400
        sandbox.close()

    run(story())


def test_no_fault_is_called_like_a_crash_point() -> None:
    """A rate in a settings file must not be able to kill the program that reads it."""
    for point in CrashPoint:
        with pytest.raises(ValueError, match="unknown fault"):
            parse_faults(point)


def test_a_crash_point_needs_a_journal() -> None:
    """Without one the batches would die with the process, and paying twice would be the sandbox's doing."""
    with pytest.raises(ValueError, match="journal"):
        build_sandbox(SandboxSettings(crash_at=CrashPoint.CREATED))


def test_the_journal_tells_of_kills_and_of_batches_that_still_run(tmp_path: Path) -> None:
    """The witness of a crash test: a batch that nobody watches to its end is in the books all the same."""
    path = tmp_path / "journal"
    sandbox = still_sandbox(journal=path)
    sandbox.machine.create(body(3))
    sandbox.machine.record_kill("created")
    sandbox.machine.record_kill("reading")
    sandbox.close()
    seen = witness(path)
    assert seen.kills == ("created", "reading")
    assert [row.billed for row in seen.rows] == [True] * 3
    again = still_sandbox(journal=path)
    assert len(again.machine.list().data) == 1
    again.close()


def _row(batch: str, params: str, *, billed: bool = True) -> LedgerRow:
    outcome = "succeeded" if billed else "errored"
    return LedgerRow(batch_id=batch, custom_id="w", params_sha256=params, outcome=outcome, billed=billed)  # type: ignore[arg-type]  # one of the outcomes


def _books(rows: list[LedgerRow], asked: list[tuple[str, bool]]) -> AuditResult:
    audit = Audit(rows)
    for params, is_answered in asked:
        audit.ask(params, is_answered=is_answered)
    return audit.books()


def test_right_books_are_found_right() -> None:
    """Equal requests may be billed as often as they were asked for; one that failed is neither lost nor billed."""
    rows = [_row("m1", "a"), _row("m1", "a"), _row("m2", "b", billed=False), _row("m3", "b")]
    books = _books(rows, [("a", True), ("a", True), ("b", True)])
    assert books == AuditResult(requests=3, batches=3, lost=0, paid_twice=0)
    assert books.is_clean


@pytest.mark.parametrize(
    ("rows", "asked", "lost", "paid_twice"),
    [
        ([_row("m1", "a")], [("a", True), ("b", True)], 1, 0),
        ([_row("m1", "a")], [("a", False)], 1, 0),
        ([_row("m1", "a")], [("a", True), ("a", True)], 1, 0),
        ([_row("m1", "a"), _row("m2", "a")], [("a", True)], 0, 1),
        ([_row("m1", "a"), _row("m1", "stranger")], [("a", True)], 0, 1),
        ([_row("m1", "a"), _row("m2", "a"), _row("m3", "a")], [("a", True), ("b", True)], 1, 2),
    ],
    ids=["lost", "unanswered", "one of two equals lost", "doubled", "never asked for", "both"],
)
def test_wrong_books_are_found_wrong(
    rows: list[LedgerRow], asked: list[tuple[str, bool]], lost: int, paid_twice: int
) -> None:
    """An auditor that finds nothing is worth nothing: planted losses and double purchases are counted."""
    books = _books(rows, asked)
    assert (books.lost, books.paid_twice) == (lost, paid_twice)
    assert not books.is_clean
