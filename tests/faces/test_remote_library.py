"""The library at a daemon elsewhere: the same handles, the same values, and no store on this side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from faces.cli_world import SLOW
from faces.client_world import requests
from faces.remote_world import Cutting, Daemon, daemon_in
from support.world import in_a_loop

from orchestrator import InputRefused, JobTimeout, Orchestrator, SyncOrchestrator
from orchestrator.client.errors import ServerSilent
from orchestrator.client.remote_reads import HttpReader, number_of, public_id_of
from orchestrator.client.server_address import Server, server_at
from orchestrator.client.transport import ServerTransport
from orchestrator.domain.errors import GuardRefused, InputError, NeedsPerson, NoSuchThing, UsageError
from orchestrator.domain.ids import JobId
from orchestrator.store.location import SqliteLocation

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that runs."""
    with daemon_in(tmp_path_factory.mktemp("remote")) as made, made.running():
        yield made


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose batches take longer than any test."""
    with daemon_in(tmp_path_factory.mktemp("slow")) as made, made.running(env=SLOW):
        yield made


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)


def token(daemon: Daemon) -> str:
    return daemon.token_file.read_text().strip()


def everything_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def at(daemon: Daemon) -> Orchestrator:
    return Orchestrator(server=daemon.url, token=token(daemon))


@in_a_loop
async def test_a_program_hands_its_requests_to_a_daemon_elsewhere(daemon: Daemon, tmp_path: Path) -> None:
    """`Orchestrator(server=…)` gives the same handles; nothing is stored on this side."""
    bad = {"custom_id": "bad", "params": {**requests(1)[0]["params"], "model": "no-such-model"}}
    async with at(daemon) as orc:
        assert not orc.embedded
        job = await orc.submit([*requests(450), bad], name="far", betas=["b"], priority=3)
        status = await job.wait(timedelta(seconds=60))
        assert (status.job.requests.succeeded, status.job.requests.failed, status.sandbox) == (450, 1, True)
        assert (status.job.name, status.job.betas, status.job.priority) == ("far", ("b",), 3)
        assert [result.custom_id async for result in job.results()] == [*(f"r{n}" for n in range(450)), "bad"]
        assert [result.number for result in await job.page(after=449)] == [450, 451]
        assert await job.export(tmp_path / "out.jsonl") == 451
        assert [group.error_type for group in await job.errors()] == ["not_found_error"]
        assert (await orc.submit([*requests(450), bad], betas=["b"])).attached
        assert job.id in {each.job.public_id for each in await orc.jobs()}
        assert (await orc.fleet()).fleet is False
        assert (await orc.job("far")).id == job.id
        assert await job.retry("nothing_error") == await job.retry(error_cause="nothing") == 0
        with pytest.raises(InputError, match="request bad would not be taken"):
            await job.retry("not_found_error", set={"max_tokens": 0})
        with pytest.raises(GuardRefused, match="is finished: it cannot be canceled"):
            await job.cancel()
        with pytest.raises(NoSuchThing):
            await orc.job("nobody")
        assert await job.retry(["not_found_error", "api_error"], set={"model": "claude-haiku-4-5"}, grow=True) == 1
        assert (await job.wait(timedelta(seconds=60))).job.requests.succeeded == 451
        mended = await job.request("bad")
        before, after = json.loads(mended.original_params or b""), json.loads(mended.params or b"")
        assert before == bad["params"]
        assert after == {**before, "model": "claude-haiku-4-5", "max_tokens": 2 * before["max_tokens"]}
    assert [path.name for path in everything_in(tmp_path)] == ["out.jsonl"]


@in_a_loop
async def test_rows_go_there_and_back(daemon: Daemon) -> None:
    """Byte for byte, in pages; whatever answers and rows quote of each other."""
    said = [{"role": "user", "content": 'say "result":{"type":"succeeded"}'}]
    given = [
        {"custom_id": f"t{number}", "params": {**requests(1)[0]["params"], "messages": said}, "row": row}
        for number, row in enumerate([{"id": "007", "result": {"type": "succeeded"}}, {}, {"é": [1.50, None]}])
    ]
    async with at(daemon) as orc:
        job = await orc.submit([*given, *requests(1, said="no row")], name="rows")
        assert [result.row async for result in job.results()] == [*(each["row"] for each in given), None]
        assert (await job.request("t2")).row == '{"é":[1.5,null]}'.encode()
        assert (await job.request("r0")).row is None


@in_a_loop
async def test_what_is_read_from_afar_is_what_the_store_has(daemon: Daemon) -> None:
    """Every value that a face shows is the same over the API as out of the file, results byte for byte."""
    async with at(daemon) as orc:
        job = await orc.submit(requests(3, said="same"), name="same")
        await job.wait(60)
        far = await orc._handle().reader.read(lambda reads: reads.status(reads.find("same")))
        key = far.job.id
        rows = await orc._handle().bulk.read(lambda reads: reads.results(key, above=0, limit=10))
        one = await job.request("r1")
        batches = await orc._handle().reader.read(lambda reads: reads.batches(key))
        spans = await orc._handle().reader.read(lambda reads: reads.spans(key))
        kinds = await orc._handle().reader.read(lambda reads: [event.kind for event in reads.events(key)])
    with SqliteLocation(daemon.host.db).open_reader() as reads:
        near = reads.status(reads.find("same"))
        own = near.job.id
        assert rows == reads.results(own, above=0, limit=10)
        there = reads.request(own, "r1")
        assert (one.params, one.result, one.number, one.state, one.failed_attempts) == (
            there.params,
            there.result,
            there.number,
            there.state,
            there.failed_attempts,
        )
        assert [(each.id, each.remote_id, each.api_counts) for each in batches] == [
            (each.id, each.remote_id, each.api_counts) for each in reads.batches(own)
        ]
        assert len(spans) == len(reads.spans(own)) == 1
        assert kinds == [event.kind for event in reads.events(own)]
        assert (far.job.requests, far.batches, far.job.source) == (near.job.requests, near.batches, near.job.source)


@in_a_loop
async def test_refusals_cross_the_network_as_they_are(daemon: Daemon) -> None:
    """The same errors as here: an input with its problems, a wish that cannot be, lines that are left out."""
    bad = [*requests(2, said="refusal"), {"custom_id": "x"}]
    async with at(daemon) as orc:
        with pytest.raises(InputRefused) as caught:
            await orc.submit(bad)
        assert (caught.value.count, caught.value.problems[0].line) == (1, 3)
        left = await orc.submit(bad, skip_bad=True)
        assert left.refused_count == 1
        assert [problem.line for problem in await left.refused()] == [3]
        with pytest.raises(InputError, match=r"missing\.jsonl"):
            await orc.submit_file("missing.jsonl")
        with pytest.raises(NoSuchThing):
            await left.request("nobody")


@in_a_loop
async def test_a_job_grows_and_is_steered_from_afar(slow: Daemon) -> None:
    """Open jobs, pause, resume, cancel; a wait that is not over in time raises JobTimeout."""
    async with at(slow) as orc:
        growing = await orc.open_job("live")
        await growing.add(requests(3))
        again = await orc.open_job("live")
        assert await again.add(requests(2, first=3)) == 2
        job = await again.close()
        assert (await job.status()).job.requests.total == 5
        assert (await job.pause()).job.state.value == "paused"
        assert (await job.resume()).job.state.value == "running"
        with pytest.raises(JobTimeout):
            await job.wait(0.05)
        assert (await job.cancel()).job.state.value in {"canceling", "canceled"}


def test_without_await_it_is_the_same(daemon: Daemon) -> None:
    """`SyncOrchestrator(server=…)`, in a script or a notebook."""
    with SyncOrchestrator(server=daemon.url, token=token(daemon)) as orc:
        assert not orc.embedded
        job = orc.submit(requests(2, said="sync"))
        assert job.wait(60).job.requests.succeeded == 2
        assert [result.custom_id for result in job.results()] == ["r0", "r1"]


@in_a_loop
async def test_a_network_that_cuts_connections_is_waited_out(daemon: Daemon) -> None:
    """Looks are repeated once the server has answered; before that, and when patience is over, ServerSilent rises."""
    said: list[str] = []
    with Cutting(daemon.port, after=0, times=2).running() as network:
        transport = ServerTransport(Server(url=network.url, token=token(daemon)))
        with HttpReader(transport, has_answered=True, say=said.append) as reader:
            assert await reader.read(lambda reads: reads.meta().sandbox)
    assert (network.cut, len(said)) == (2, 1)
    with HttpReader(ServerTransport(Server(url=NOBODY))) as reader, pytest.raises(ServerSilent):
        await reader.read(lambda reads: reads.meta())
    lost = HttpReader(ServerTransport(Server(url=NOBODY)), has_answered=True, patience=timedelta(0))
    with lost, pytest.raises(ServerSilent) as caught:
        await lost.read(lambda reads: reads.meta())
    assert caught.value.exit_code == 6


@in_a_loop
async def test_what_cannot_be_is_said_before_anything_is_asked(daemon: Daemon) -> None:
    """A store and a server; real work that is taken for play; a wrong token; nobody there."""
    with pytest.raises(UsageError, match="exclude each other"):
        Orchestrator("x.db", server=NOBODY)
    with pytest.raises(UsageError, match="a token is for a server"):
        Orchestrator(token="t" * 43)
    with pytest.raises(UsageError, match="is not sent to"):
        server_at("http://jobs.invalid", token="t" * 43)
    with pytest.raises(NeedsPerson, match="rejected the token"):
        async with Orchestrator(server=daemon.url, token="t" * 43):
            pass
    with pytest.raises(ServerSilent):
        async with Orchestrator(server=NOBODY):
            pass
    async with Orchestrator(server=daemon.url, token=token(daemon), sandbox=True) as orc:
        assert await orc.jobs(limit=1) is not None


def test_a_jobs_number_is_its_id_and_the_token_is_never_shown() -> None:
    """Whoever looks means the same job by a number, in whatever process; a repr is no place for a secret."""
    assert public_id_of(number_of("reviews-k3j9x2")) == "reviews-k3j9x2"
    assert number_of("a") != number_of("b") != JobId(0)
    assert "t" * 43 not in repr(Server(url=NOBODY, token="t" * 43))
