"""Clients that are slow, silent, large or malformed (battery I, T84, T85, T87), on real connections."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2
import pytest
from faces.client_world import SLOW, requests, settings, short_runtime_folder
from faces.guard_world import guarded, head, said_to, statuses, to_the_end

from orchestrator.daemon import running_engine
from orchestrator.http_api.guard.connection_limits import ConnectionLimits
from orchestrator.http_api.listen import listen

UPLOAD: Final = "/api/v1/jobs"


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


async def drip(port: int, sent: bytes, drops: bytes) -> bytes:
    """Send *sent*, then *drops* byte by byte for as long as the server bears it; what it answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ended = asyncio.ensure_future(to_the_end(reader))
    writer.write(sent)
    for byte in drops:
        if ended.done():
            break
        writer.write(bytes([byte]))
        await asyncio.wait({ended}, timeout=0.02)
    answer = await ended
    writer.close()
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ",
        pytest.param(head("/") + b"GET / HTTP/1.1\r\nhost", marks=pytest.mark.long),
    ],
)
def test_who_does_not_end_a_header_is_let_go(sent: bytes) -> None:
    """T84: silent from the start, in the middle, or in the middle of a second request."""

    async def check() -> None:
        async with guarded() as (port, _):
            assert statuses(await said_to(port, sent)) == ([200] if b"\r\n\r\n" in sent else [])

    asyncio.run(check())


def test_a_header_or_a_body_that_drips_is_cut_off() -> None:
    """T84: a byte now and then is no progress: the deadline counts from the first byte. An upload is held to a pace."""

    async def check() -> None:
        async with guarded() as (port, seen):
            assert await drip(port, b"GET / HTTP/1.1\r\n", b"x" * 5000) == b""
            for target in ("/act", UPLOAD):
                asked = head(target, "content-length: 5000", method="POST")
                assert statuses(await drip(port, asked, b"x" * 5000)) == [408]
            assert seen == []

    asyncio.run(check())


def test_who_does_not_read_the_answer_is_let_go_and_the_work_ends() -> None:
    """T84: an answer without an end, and nobody takes it: the route that makes it is told."""

    async def check() -> None:
        async with guarded() as (port, seen):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(head("/endless"))
            async with asyncio.timeout(20):
                while seen != ["ended"]:  # noqa: ASYNC110 - what it waits for is another connection's end
                    await asyncio.sleep(0.01)
            writer.close()

    asyncio.run(check())


def test_many_silent_clients_do_not_keep_others_out() -> None:
    """T84: past the cap the connection that waits longest makes way, and a request is always answered."""

    async def check() -> None:
        async with guarded(ConnectionLimits(header_s=20, stall_s=20, connections=20)) as (port, seen):
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
            for _ in range(5):
                assert statuses(await said_to(port, head("/", "connection: close"))) == [200]
            ended = [await to_the_end(reader) for reader, _ in silent[:40]]
            assert ended == [b""] * 40
            assert seen == ["read 0"] * 5
            for _, writer in silent:
                writer.close()

    asyncio.run(check())


def test_where_all_are_at_work_a_new_client_is_told_so() -> None:
    """T84: a request that is worked on is never dropped for a new one."""

    async def check() -> None:
        async with guarded(ConnectionLimits(header_s=20, stall_s=20, connections=2)) as (port, seen):
            busy = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for reader, writer in busy:
                writer.write(head("/endless"))
                await reader.read(100)
            assert statuses(await said_to(port, b"")) == [503]
            for _, writer in busy:
                writer.close()
            async with asyncio.timeout(20):
                while len(seen) < 2:  # noqa: ASYNC110 - what it waits for is another connection's end
                    await asyncio.sleep(0.01)

    asyncio.run(check())


REFUSED: Final = {
    "a body that is declared too large": (head("/act", "content-length: 1073741824", method="POST"), 413),
    "a length that is no number": (head("/act", "content-length: 1e9", method="POST"), 400),
    "two lengths": (head("/act", "content-length: 1", "content-length: 2", method="POST"), 400),
    "a length and chunks": (head("/act", "content-length: 5", "transfer-encoding: chunked", method="POST"), 400),
    "an encoding that is not known": (head("/act", "transfer-encoding: gzip, chunked", method="POST"), 400),
    "a long header": (head("/", "x: " + "y" * 1_000_000), 400),
    "many headers": (head("/", *(f"x{n}: y" for n in range(101))), 431),
    "100,000 headers": (head("/", *(f"x{n}: y" for n in range(100_000))), 400),
    "a chunk that lies": (
        head("/act", "transfer-encoding: chunked", method="POST") + b"fffffffffffffffffffff\r\nx",
        400,
    ),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    "another protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_malformed_or_too_large_is_refused(what: str) -> None:
    """T85: refused before it is held, and whatever stands behind it on the connection is not read as a request."""
    sent, status = REFUSED[what]

    async def check() -> None:
        async with guarded() as (port, seen):
            answers = await said_to(port, sent + head("/smuggled"))
            assert set(statuses(answers)) <= {status}  # a reset may overtake the answer
            assert "read 0" not in seen
            assert statuses(await said_to(port, head("/", "connection: close"))) == [200]

    asyncio.run(check())


def test_chunks_without_an_end_are_cut_off_at_the_cap() -> None:
    """T85: a small body that does not say its length is counted, not held."""

    async def check() -> None:
        async with guarded() as (port, seen):
            chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            sent = head("/act", "transfer-encoding: chunked", method="POST") + chunk * 40
            assert set(statuses(await said_to(port, sent))) <= {413}
            assert not any(each.startswith("read") for each in seen)

    asyncio.run(check())


@pytest.mark.long
def test_ten_thousand_requests_on_one_connection_cost_no_memory() -> None:
    """T85: they are answered in turn, each before the next is looked at."""

    async def check() -> None:
        async with guarded(ConnectionLimits(stall_s=20)) as (port, seen):
            sent = head("/") * 9_999 + head("/", "connection: close")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answers = await said_to(port, sent)
            grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert statuses(answers) == [200] * 10_000
            assert len(seen) == 10_000
            assert grown_kib < 30_000  # our own copies of what was sent and came back among them

    asyncio.run(check())


HOSTILE: Final = (
    "' OR '1'='1", "1; DROP TABLE job--", "') UNION SELECT sql FROM sqlite_master--", "%", "_", "\\", '"', "`", "a\0b",
    "1e309", "-1", "0x10", "9" * 40, "NaN", "null", "[]", "{}", "../../etc/passwd", "%2e%2e%2f",
    "\u202e", "\ud7ff", "é" * 200,
    "randomblob(1000000000)", "1 AND sleep(9)", "${7*7}", "{{7*7}}", "<script>", "\r\nx: y", "x" * 4000, "@last'", " ",
)  # fmt: skip
PARAMETERS: Final = (
    "limit",
    "before",
    "after",
    "state",
    "q",
    "text",
    "cursor",
    "wait",
    "job",
    "error_type",
    "batch",
    "sort",
)


@pytest.mark.long
def test_hostile_parameters_change_nothing_and_break_nothing(tmp_path: Path) -> None:
    """T87: in every parameter and in every place of a path: an answer of ours, never a 500, and the store as it was."""

    async def check() -> None:
        chosen = settings(tmp_path / "x.db", server__listen="127.0.0.1:0", **SLOW)
        at = listen(chosen.server)
        assert at is not None
        async with (
            running_engine(chosen, sandbox=True, tcp=at) as engine,
            httpx2.AsyncClient(base_url=at.url, timeout=60, trust_env=False) as client,
        ):
            lines = "".join(json.dumps(each) + "\n" for each in requests(3)).encode()
            kind = {"content-type": "application/x-ndjson"}
            made = await client.post("/api/v1/jobs?name=three", content=lines, headers=kind)
            job = made.json()["job"]["id"]
            paths = ("jobs", f"jobs/{job}/requests", f"jobs/{job}/failures", "batches", "stats", "webhooks/deliveries")
            for text in HOSTILE:
                for path in paths:
                    answer = await client.get(f"/api/v1/{path}", params=dict.fromkeys(PARAMETERS[:-1], text))
                    _is_ours(answer)
                for name in PARAMETERS:
                    _is_ours(await client.get("/api/v1/jobs", params={name: text}))
                    _is_ours(await client.get(f"/api/v1/jobs/{job}/requests", params={name: text}))
                quoted = httpx2.URL("http://x/", params={"x": text}).query.decode()[2:].replace("+", "%20")
                for path in (f"jobs/{quoted}", f"jobs/{job}/requests/{quoted}", f"batches/{quoted}"):
                    _is_ours(await client.get(f"/api/v1/{path}"))
                for verb in ("pause", "cancel", "retry"):
                    _is_ours(await client.post(f"/api/v1/jobs/{quoted}/{verb}"))
                _is_ours(await client.get("/v1/messages/batches", params={"after_id": text, "limit": text}))
            jobs = await engine.read(lambda reads: reads.jobs(limit=10))
            assert [(each.public_id, each.state.value, each.requests.total) for each in jobs] == [(job, "running", 3)]

    asyncio.run(check())


def _is_ours(answer: httpx2.Response) -> None:
    assert answer.status_code < 500, (answer.url, answer.text)
    assert not any(word in answer.text for word in ("Traceback", "sqlite3", "SELECT id", str(Path.cwd()))), answer.url
