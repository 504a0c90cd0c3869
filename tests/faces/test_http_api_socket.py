"""The socket of a running engine, spoken to in plain HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from faces.client_world import QUICK, SLOW, requests, settings, short_runtime_folder, talking_to, until

from orchestrator.assembly import Engine
from orchestrator.config import default_socket_path
from orchestrator.daemon import running_engine
from orchestrator.domain.errors import StoreError, UsageError
from orchestrator.http_api.listen import bind_unix_socket

LINES = "".join(json.dumps(request) + "\n" for request in requests(5)).encode()


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


async def is_over(engine: Engine, public_id: str) -> bool:
    job = await engine.read(lambda reads: reads.find(public_id))
    return job.state.value in {"finished", "canceled"}


async def everything(engine: Engine) -> int:
    return len(await engine.read(lambda reads: reads.jobs(limit=100)))


def test_a_file_is_taken_in_once_however_it_is_packed(tmp_path: Path) -> None:
    """Promise 7: the same bytes attach to the job that is there."""

    async def check() -> None:
        async with (
            running_engine(settings(tmp_path / "x.db"), sandbox=True) as engine,
            talking_to(tmp_path / "x.db") as client,
        ):
            first = await client.post("jobs?name=five&source=/data/five.jsonl", content=LINES)
            again = await client.post("jobs?name=other", content=gzip.compress(LINES))
            assert (first.status_code, first.json()["attached"]) == (201, False)
            assert (again.status_code, again.json()["attached"]) == (200, True)
            job = first.json()["job"]
            assert again.json()["job"]["id"] == job["id"]
            assert (job["name"], job["source"], job["requests"]["total"]) == ("five", "/data/five.jsonl", 5)
            await until(lambda: is_over(engine, job["id"]))
            shown = (await client.get(f"jobs/{job['id']}")).json()
            assert (shown["state"], shown["requests"]["succeeded"], shown["sandbox"]) == ("finished", 5, True)
            assert [each["id"] for each in (await client.get("jobs")).json()["jobs"]] == [job["id"]]

    asyncio.run(check())


def test_a_refused_file_is_told_line_by_line_and_leaves_nothing(tmp_path: Path) -> None:
    """All or nothing: a file with a bad line is not stored, unless bad lines are to be skipped."""

    async def check() -> None:
        async with (
            running_engine(settings(tmp_path / "x.db"), sandbox=True) as engine,
            talking_to(tmp_path / "x.db") as client,
        ):
            bad = LINES + b'{"custom_id":"r0","params":{}}\n{"custom_id":1}\n'
            refused = await client.post("jobs?name=bad", content=bad)
            problem = refused.json()
            assert (refused.status_code, problem["type"], problem["exit_code"]) == (422, "input-refused", 2)
            assert refused.headers["content-type"] == "application/problem+json"
            assert {each["line"] for each in problem["problems"]} == {6, 7}
            assert problem["problem_count"] >= len(problem["problems"])
            assert await everything(engine) == 0
            rest = await client.post("jobs?name=bad&skip_bad=1", content=bad)
            assert (rest.status_code, rest.json()["refused"], rest.json()["job"]["requests"]["total"]) == (201, 2, 5)

    asyncio.run(check())


def test_a_client_that_goes_away_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    """Promise 1: what was not acknowledged does not half exist."""

    async def check() -> None:
        async with running_engine(settings(tmp_path / "x.db"), sandbox=True) as engine:
            path = str(default_socket_path(tmp_path / "x.db", os.environ))
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(b"POST /api/v1/jobs?name=half HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(b"%x\r\n%b\r\n" % (len(LINES), LINES))
            await writer.drain()

            async def is_importing() -> bool:
                return await everything(engine) == 1

            async def is_gone() -> bool:
                return await everything(engine) == 0

            await until(is_importing)
            writer.close()
            await until(is_gone)

    asyncio.run(check())


def test_an_engine_that_stops_breaks_an_upload_off_and_leaves_nothing(tmp_path: Path) -> None:
    """Promise 11: stopping never waits for a client, and half an upload is gone with the next start."""

    async def check() -> None:
        answer: asyncio.Task[bytes]
        async with running_engine(settings(tmp_path / "x.db"), sandbox=True) as engine:
            reader, writer = await asyncio.open_unix_connection(default_socket_path(tmp_path / "x.db", os.environ))
            writer.write(b"POST /api/v1/jobs?name=half HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(b"%x\r\n%b\r\n" % (len(LINES), LINES))

            async def is_importing() -> bool:
                return await everything(engine) == 1

            await until(is_importing)
            answer = asyncio.create_task(reader.read())
        assert b'"stopping"' in await answer
        writer.close()
        async with running_engine(settings(tmp_path / "x.db"), sandbox=True) as engine:
            assert await everything(engine) == 0

    asyncio.run(check())


def test_steering_a_job_that_is_in_no_state_for_it_is_a_conflict(tmp_path: Path) -> None:
    """A pause that did nothing is not reported as one that did."""

    async def check() -> None:
        quick = settings(tmp_path / "x.db", **SLOW)
        async with running_engine(quick, sandbox=True) as engine, talking_to(tmp_path / "x.db") as client:
            job = (await client.post("jobs?name=five", content=LINES)).json()["job"]["id"]
            states = [(await client.post(f"jobs/{job}/{verb}")).json()["state"] for verb in ("pause", "resume")]
            assert states == ["paused", "running"]
            assert (await client.post(f"jobs/{job}/resume")).status_code == 409
            assert (await client.post("jobs/@last/cancel")).json()["state"] == "canceled"
            again = await client.post(f"jobs/{job}/pause")
            assert (again.status_code, again.json()["type"], again.json()["exit_code"]) == (409, "does-not-apply", 5)
            assert (await engine.read(lambda reads: reads.find(job))).state.value in {"canceling", "canceled"}

    asyncio.run(check())


def test_requests_are_added_to_an_open_job_until_it_is_closed(tmp_path: Path) -> None:
    """A job that grows takes every request once, and finishes after it is closed."""
    more = "".join(json.dumps(request) + "\n" for request in requests(3, first=5)).encode()

    async def check() -> None:
        async with (
            running_engine(settings(tmp_path / "x.db"), sandbox=True) as engine,
            talking_to(tmp_path / "x.db") as client,
        ):
            job = (await client.post("jobs?name=grows&open=1", content=LINES)).json()["job"]
            assert job["still_open"]
            added = (await client.post("jobs/grows/requests", content=more)).json()
            assert (added["added"], added["job"]["requests"]["total"]) == (3, 8)
            twice = await client.post("jobs/grows/requests", content=more)
            assert (twice.status_code, twice.json()["type"]) == (422, "input-error")
            wrong = await client.post("jobs/grows/requests", content=b"{}\n")
            assert (wrong.status_code, wrong.json()["type"]) == (422, "input-refused")
            assert not (await client.post("jobs/grows/close")).json()["still_open"]
            await until(lambda: is_over(engine, job["id"]))
            late = await client.post("jobs/grows/requests", content=more)
            assert (late.status_code, late.json()["type"]) == (409, "guard-refused")
            nothing = (await client.post("jobs/grows/retry?only=api_error")).json()
            assert (nothing["queued"], nothing["job"]["requests"]["succeeded"]) == (0, 8)

    asyncio.run(check())


WRONG: list[tuple[str, str, int, str]] = [
    ("GET", "jobs/nobody", 404, "no-such-thing"),
    ("GET", "nowhere", 404, "not-found"),
    ("DELETE", "jobs", 405, "method-not-allowed"),
    ("GET", "jobs?limit=0", 400, "usage-error"),
    ("POST", "jobs?nmae=x", 400, "usage-error"),
    ("POST", "jobs?new=yes", 400, "usage-error"),
    ("POST", "jobs?priority=101", 400, "usage-error"),
    ("POST", "jobs?api_version=latest", 400, "usage-error"),
    ("POST", "jobs?beta=a%0Ab", 400, "usage-error"),
    ("POST", "jobs?name=", 400, "usage-error"),
    ("POST", "jobs?key=", 400, "usage-error"),
    ("POST", "prune", 400, "usage-error"),
    ("POST", "prune?older_than=30", 400, "usage-error"),
    ("DELETE", "jobs/nobody", 404, "no-such-thing"),
    ("POST", "batches/msgbatch_0/adopt", 404, "no-such-thing"),
    ("POST", "batches/msgbatch_0/disown", 404, "no-such-thing"),
]


def test_what_is_asked_wrongly_is_answered_with_a_problem_document(tmp_path: Path) -> None:
    """RFC 9457: every refusal says what, why and what to do, in one form."""

    async def check() -> None:
        async with (
            running_engine(settings(tmp_path / "x.db"), sandbox=True) as engine,
            talking_to(tmp_path / "x.db") as client,
        ):
            for method, path, status, slug in WRONG:
                answer = await client.request(method, path)
                problem: dict[str, Any] = answer.json()
                assert (answer.status_code, problem["type"]) == (status, slug), path
                assert answer.headers["content-type"] == "application/problem+json"
                assert set(problem) == {"type", "title", "status", "detail", "hint", "exit_code"}
                assert problem["status"] == status
            assert await everything(engine) == 0

    asyncio.run(check())


def test_the_engine_says_who_it_is_and_whether_the_api_answers(tmp_path: Path) -> None:
    """Promise 10: whoever finds the store owned can ask the owner."""

    async def check() -> None:
        async with (
            running_engine(settings(tmp_path / "x.db"), sandbox=True) as engine,
            talking_to(tmp_path / "x.db") as client,
        ):
            who = (await client.get("version")).json()
            assert (who["pid"], who["db"], who["sandbox"]) == (os.getpid(), str(tmp_path / "x.db"), True)
            assert who["lineage"] == (await engine.read(lambda reads: reads.meta())).lineage
            assert (await client.get("health")).json() == {
                "api_worked": False,
                "last_trouble": None,
                "reads_blocked": False,
            }
            job = (await client.post("jobs?name=five", content=LINES)).json()["job"]["id"]
            await until(lambda: is_over(engine, job))
            assert (await client.get("health")).json()["api_worked"] is True

    asyncio.run(check())


def test_the_socket_is_the_users_alone_and_goes_with_its_engine(tmp_path: Path) -> None:
    """Promise 10: mode 0600; a dead owner's socket is replaced; signals stay the program's."""
    path = default_socket_path(tmp_path / "x.db", os.environ)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def check() -> None:
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        async with running_engine(settings(tmp_path / "x.db", **QUICK), sandbox=True):
            assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == during

    asyncio.run(check())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not os.path.lexists(path)


def test_a_socket_that_cannot_be_made_is_told_and_takes_nothing_away(tmp_path: Path) -> None:
    """A file of somebody else's in its place stays; a path over 107 bytes fails with what to do."""
    taken = tmp_path / "taken"
    taken.write_text("precious")
    with pytest.raises(StoreError, match="cannot be made"):
        bind_unix_socket(taken)
    assert taken.read_text() == "precious"
    with pytest.raises(UsageError, match="too long"):
        bind_unix_socket(tmp_path / ("x" * 108))


def test_a_large_file_is_streamed_not_collected(tmp_path: Path) -> None:
    """Promise 8: 40 MB go through in blocks; what is sent is read only as fast as it is stored."""
    filling = "x" * 20_000

    async def body() -> AsyncIterator[bytes]:
        for number in range(2000):
            params = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": filling}]}
            yield json.dumps({"custom_id": str(number), "params": params}).encode() + b"\n"

    async def check() -> None:
        slow = settings(tmp_path / "x.db", **SLOW)
        async with running_engine(slow, sandbox=True) as engine, talking_to(tmp_path / "x.db") as client:
            answer = await client.post("jobs?name=large", content=body())
            assert answer.json()["job"]["requests"]["total"] == 2000
            assert await everything(engine) == 1

    asyncio.run(check())
