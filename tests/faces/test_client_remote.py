"""The library beside the engine of another process: handing over, watching, and taking its place."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from faces.client_world import (
    OWNER,
    QUICK,
    SLOW,
    line_of,
    requests,
    running,
    settings,
    short_runtime_folder,
    until,
)
from support.world import in_a_loop

from orchestrator import InputRefused, Job, Orchestrator
from orchestrator.client.remote_commands import RemoteEngine
from orchestrator.client.transport import SocketTransport
from orchestrator.config import default_socket_path
from orchestrator.daemon import running_engine
from orchestrator.domain.errors import GuardRefused, InputError, KeyReused, NoSuchThing, Purged, StoreError
from orchestrator.store.location import DirectReader, SqliteLocation
from orchestrator.store.ownership import Lock

#: A batch takes half a second to some seconds at this speed.
BRISK = "100"


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def beside(tmp_path: Path, **overrides: Any) -> Orchestrator:
    return Orchestrator(tmp_path / "x.db", sandbox=True, **{**QUICK, **overrides})


async def ids(job: Job) -> list[str]:
    return [result.custom_id async for result in job.results()]


@in_a_loop
async def test_a_second_process_hands_its_job_over_and_watches_it(tmp_path: Path) -> None:
    """Promise 10: one owner; whoever comes second works through it, with the same results."""
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(request) + "\n\n" for request in requests(5, said="from a file")))
    with running(OWNER, tmp_path / "x.db", 36_000) as owner:
        assert line_of(owner) == "open"
        async with beside(tmp_path) as orc:
            assert not orc.embedded
            assert not orc.embedded
            job = await orc.submit(requests(2500), name="far", betas=["b"], priority=3)
            status = await job.wait(60)
            assert (status.job.requests.succeeded, status.job.betas, status.job.priority) == (2500, ("b",), 3)
            assert (await ids(job))[::2499] == ["r0", "r2499"]
            assert (await orc.submit(requests(2500), betas=["b"])).attached
            keyed = await orc.submit(requests(3), key="a key", new=True)
            assert (await orc.submit(requests(3), key="a key", new=True)).id == keyed.id
            with pytest.raises(KeyReused, match="'a key' stands for job"):
                await orc.submit(requests(4), key="a key")
            filed = await orc.submit_file(file)
            assert (await filed.wait(60)).job.source == str(file)
            assert (await filed.request("r4")).line == 9
            assert await filed.export(tmp_path / "out.jsonl.gz") == 5
            assert await filed.retry() == 0
            assert orc.health.api_worked in {True, False}
            with pytest.raises(GuardRefused, match="is finished: it cannot be canceled"):
                await filed.cancel()
            assert await orc._handle().commands.purge_older(timedelta(hours=1)) == []
            filed_key = (await filed.status()).job.id
            assert await orc._handle().commands.purge(filed_key)
            assert not await orc._handle().commands.purge(filed_key)
            with pytest.raises(Purged):
                await ids(filed)
            await keyed.wait(60)
            assert keyed.id in {pruned.public_id for pruned in await orc._handle().commands.purge_older(timedelta(0))}
        async with beside(tmp_path) as orc:
            assert orc.health.api_worked


@in_a_loop
async def test_a_job_taken_in_by_one_process_is_known_to_the_other(tmp_path: Path) -> None:
    """Promise 7 across processes: the content hash is the same whether an engine is here or behind its socket."""
    async with beside(tmp_path) as owner, beside(tmp_path) as guest:
        assert (owner.embedded, guest.embedded) == (True, False)
        first = await owner.submit(requests(3))
        again = await guest.submit(requests(3))
        assert (again.id, again.attached) == (first.id, True)


@in_a_loop
async def test_what_the_engine_refuses_is_refused_here_in_the_same_words(tmp_path: Path) -> None:
    """Exit codes and messages do not depend on which process runs the engine."""
    bad: list[dict[str, Any]] = [*requests(2), requests(1)[0], {"custom_id": "x"}]

    async def told(orc: Orchestrator) -> tuple[object, ...]:
        with pytest.raises(InputRefused) as caught:
            await orc.submit(bad)
        problems = [(each.line, each.field, each.message, each.remedy) for each in caught.value.problems]
        return (caught.value.message, caught.value.cause, caught.value.hint, caught.value.count, problems)

    def breaking() -> Iterator[dict[str, Any]]:
        yield from requests(3000)
        raise LookupError("the source broke")

    async with beside(tmp_path) as owner, beside(tmp_path) as guest:
        assert await told(owner) == await told(guest)
        with pytest.raises(LookupError, match="the source broke"):
            await guest.submit(breaking())
        with pytest.raises(InputError, match=r"missing\.jsonl"):
            await guest.submit_file(tmp_path / "missing.jsonl")

        async def is_empty() -> bool:
            return await owner.jobs() == []

        await until(is_empty)
        left = await guest.submit(bad, skip_bad=True)
        assert left.refused_count == 2
        with pytest.raises(NoSuchThing):
            await guest._handle().commands.adopt("msgbatch_nobody", None)
        with pytest.raises(NoSuchThing):
            await guest._handle().commands.disown("msgbatch_nobody")


@in_a_loop
async def test_a_job_is_steered_and_grows_through_the_socket(tmp_path: Path) -> None:
    """Pause, resume, cancel and growing work the same from a second process."""
    async with Orchestrator(tmp_path / "x.db", sandbox=True, **SLOW), beside(tmp_path) as guest:
        growing = await guest.open_job("live")
        await growing.add(requests(3))
        await growing.add(requests(2, first=3))
        with pytest.raises(InputError, match="already: 'r4'"):
            await growing.add(requests(1, first=4))
        job = await growing.close()
        status = await job.status()
        assert (status.job.still_open, status.job.requests.total) == (False, 5)
        assert (await job.pause()).job.state.value == "paused"
        assert (await job.resume()).job.state.value == "running"
        assert (await job.cancel()).job.state.value in {"canceling", "canceled"}


@pytest.mark.long
@in_a_loop
async def test_a_killed_processs_job_goes_on_in_the_one_beside_it(tmp_path: Path) -> None:
    """Promise 1: kill the owner at any instant; whoever watched takes its place and finishes what was sent."""
    with running(OWNER, tmp_path / "x.db", 0.01) as owner:
        assert line_of(owner) == "open"
        async with beside(tmp_path) as orc:
            job = await orc.submit(requests(5))

            async def is_sent() -> bool:
                return (await job.status()).batches["in_progress"] == 1

            await until(is_sent)
            waiting = asyncio.create_task(job.wait(60))
            owner.kill()
            status = await waiting
            assert orc.embedded
            assert (status.job.requests.succeeded, status.batches["settled"]) == (5, 1)
            assert await ids(job) == [f"r{number}" for number in range(5)]


@in_a_loop
async def test_a_killed_processs_job_goes_on_in_the_next_one(tmp_path: Path) -> None:
    """Promise 1: start again after a kill, and the same requests are neither lost nor sent twice."""
    with running(OWNER, tmp_path / "x.db", 0.01) as owner:
        assert line_of(owner) == "open"
        async with beside(tmp_path) as orc:
            job = await orc.submit(requests(5))

            async def is_sent() -> bool:
                return (await job.status()).batches["in_progress"] == 1

            await until(is_sent)
        owner.kill()
        owner.wait()
    async with beside(tmp_path) as orc:
        again = await orc.submit(requests(5))
        assert again.attached
        status = await again.wait(60)
        assert (status.job.requests.succeeded, sum(status.batches.values())) == (5, 1)


@in_a_loop
async def test_ctrl_c_stops_the_engine_and_frees_the_store(tmp_path: Path) -> None:
    """Promise 11: an interrupted program leaves no lock, no socket, and its work to the next one."""
    with running(OWNER, tmp_path / "x.db", 0.01) as owner:
        assert line_of(owner) == "open"
        async with beside(tmp_path) as orc:
            job = await orc.submit(requests(2))
        owner.send_signal(signal.SIGINT)
        assert owner.wait(20) != 0
    assert not default_socket_path(tmp_path / "x.db", os.environ).exists()
    async with beside(tmp_path) as orc:
        assert orc.embedded
        assert (await (await orc.job(job.id)).wait(60)).job.requests.succeeded == 2


@in_a_loop
async def test_two_that_start_at_once_agree_who_owns_the_store(tmp_path: Path) -> None:
    """Promise 10: never two engines on one store, however close their starts."""

    async def one(name: str) -> tuple[bool, list[str]]:
        async with beside(tmp_path) as orc:
            job = await orc.submit(requests(3, said=name))
            return orc.embedded, await ids(job)

    found = await asyncio.gather(one("a"), one("b"), one("c"))
    assert [result for _, result in found] == [["r0", "r1", "r2"]] * 3


@pytest.mark.long
@in_a_loop
async def test_an_owner_that_does_not_answer_is_a_guards_refusal(tmp_path: Path) -> None:
    """Exit code 5: an engine that owns the store and says nothing within 5 s is not waited for for ever."""
    database = tmp_path / "x.db"
    async with running_engine(settings(database), sandbox=True):
        pass
    path = default_socket_path(database, os.environ)
    with Lock.take(database), socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        with pytest.raises(GuardRefused, match="does not answer") as caught:
            async with beside(tmp_path):
                pass
    assert caught.value.exit_code == 5


@in_a_loop
async def test_sandbox_and_real_work_are_not_mixed_through_the_socket(tmp_path: Path) -> None:
    """What costs money is never handed to an engine that only pretends, nor the other way round."""
    async with beside(tmp_path):
        with pytest.raises(StoreError, match="holds sandbox work"):
            async with Orchestrator(tmp_path / "x.db"):
                pass


@in_a_loop
async def test_an_engine_that_is_gone_is_told_as_one_that_does_not_answer(tmp_path: Path) -> None:
    """A command that meets a dying engine ends with exit code 5, not with a traceback of the HTTP library."""
    async with RemoteEngine(
        SocketTransport(tmp_path / "no.sock"), DirectReader(SqliteLocation(tmp_path / "x.db"))
    ) as engine:
        with pytest.raises(GuardRefused, match="does not answer"):
            await engine.identity()
    with pytest.raises(GuardRefused, match="does not answer"):
        await engine.refresh_health()
