"""Floods: connections, streams, log lines and heads that a proxy could read in another way, on real connections."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2
import pytest
from faces.client_world import SLOW, requests, settings, short_runtime_folder
from faces.guard_world import guarded, head, said_to, statuses

from orchestrator.daemon import running_engine
from orchestrator.domain.errors import ServerBusy
from orchestrator.http_api.guard.connection_limits import ConnectionLimits, connection_limits, raise_open_files_limit
from orchestrator.http_api.guard.request_limits import LongRequestSlots, long_request
from orchestrator.http_api.listen import listen
from orchestrator.observability.logs import Floods, configure_logging, get_logger

PATIENT: Final = ConnectionLimits(header_s=20, stall_s=20, connections=16, accepted=4)


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What is written to the log meanwhile."""
    out = io.StringIO()
    configure_logging(level="info", fmt="json", stream=out)
    try:
        yield out
    finally:
        configure_logging(level="info", fmt="json")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_flood_of_connections_opens_no_more_files_than_the_cap() -> None:
    """M1: asyncio accepts as many at once as its backlog says; past the cap only a few may be open for a moment."""

    async def check() -> None:
        async with guarded(PATIENT) as (port, _):
            before = open_files()
            most = 0
            clients = []
            for _ in range(40):
                clients += await asyncio.gather(*[asyncio.open_connection("127.0.0.1", port) for _ in range(10)])
                ours = len(clients)
                most = max(most, open_files() - before - ours)
            share = connection_limits(1024, 512)
            assert most <= PATIENT.connections + 4 * PATIENT.accepted
            assert share.connections + 4 * share.accepted <= (1024 - 192) // 2
            assert statuses(await said_to(port, head("/", "connection: close"))) == [200]
            for _, writer in clients:
                writer.close()

    asyncio.run(check())


@pytest.mark.parametrize("open_files", [64, 256, 1024, 4096, 65_536, 1 << 20])
def test_all_listeners_together_leave_files_for_the_store(open_files: int) -> None:
    """M1: two listeners, each at its cap and in the middle of a flood, leave the reserve alone."""
    share = connection_limits(open_files, 512)
    assert 1 <= share.accepted <= 16
    assert 1 <= share.connections <= 512
    assert 2 * (share.connections + 4 * share.accepted) <= open_files - min(192, open_files // 2)
    assert share.connections == 512 or open_files < 4096


def test_the_soft_limit_of_open_files_is_raised() -> None:
    """M1: systemd and most shells begin with 1,024, although more is allowed."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        assert raise_open_files_limit() == min(65_536, before[1]) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raise_open_files_limit() == min(65_536, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_setting_that_the_limit_does_not_allow_is_lowered_with_a_word(tmp_path: Path) -> None:
    """M1: `max_connections` is a promise; where files are missing for it, the log says so and what to do."""

    async def check() -> None:
        chosen = settings(tmp_path / "x.db", server__listen="127.0.0.1:0", server__max_connections="5000", **SLOW)
        async with running_engine(chosen, sandbox=True, tcp=listen(chosen.server)):
            pass

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        with logged() as out:
            asyncio.run(check())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    (told,) = [line for line in map(json.loads, out.getvalue().splitlines()) if line["event"] == "connections.lowered"]
    assert (told["wanted"], told["open_files"]) == (5000, 1024)
    assert told["taken"] < 416
    assert "LimitNOFILE" in told["hint"]


STREAMS: Final = ("/live", "/api/v1/events/stream", "/api/v1/jobs/x/events/stream")
WAITS: Final = ("/api/v1/jobs/x?wait=60s", "/api/v1/jobs/a%0Ab?a=b&wait=1s", "/api/v1/jobs/x/results?follow=1")


@pytest.mark.parametrize("target", [*STREAMS, *WAITS])
def test_streams_and_long_polls_take_half_of_the_connections(target: str) -> None:
    """L2: the others are told to come back, and short requests are answered whatever lasts."""

    async def check() -> None:
        async with guarded(PATIENT) as (port, _):
            taken = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            for reader, writer in taken:
                writer.write(head(target))
                assert statuses(await reader.readuntil(b"begun")) == [200]
            refused = await said_to(port, head(target, "connection: close"))
            assert statuses(refused) == [503]
            assert b"retry-after:" in refused.lower()
            assert b"server-busy" in refused
            for _ in range(20):
                assert statuses(await said_to(port, head("/livez", "connection: close"))) == [200]
            taken.pop()[1].close()
            async with asyncio.timeout(20):
                while True:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(head(target))
                    if statuses(await reader.readuntil(b"\r\n")) == [200]:
                        break
            writer.close()
            for _, each in taken:
                each.close()

    asyncio.run(check())


def test_uploads_and_downloads_leave_places_too() -> None:
    """L2: whoever sends or reads slowly holds a place as well; what lasts never takes every connection."""
    places = LongRequestSlots(512)

    def asked(method: str, path: str, query: bytes = b"") -> dict[str, object]:
        return {"method": method, "path": path, "query_string": query}

    held = []
    for scope in (
        asked("GET", "/live"),
        asked("POST", "/api/v1/jobs"),
        asked("GET", "/v1/messages/batches/x/results"),
        asked("POST", "/v1/messages/batches"),
        asked("GET", "/api/v1/jobs/x/results", b"follow=0"),
        asked("GET", "/api/v1/jobs/x/results.csv"),
        asked("GET", "/api/v1/jobs/x/results.parquet"),
    ):
        for _ in range(512):
            place = places.slot(scope)
            try:
                place.__enter__()
            except ServerBusy:
                break
            held.append(place)
    assert len(held) == 256 + 192
    for short in ("/livez", "/api/v1/jobs", "/api/v1/jobs/x", "/api/v1/jobs/x/results/page", "/metrics"):
        assert long_request(asked("GET", short)) is None
    for place in held:
        place.__exit__(None, None, None)
    with places.slot(asked("GET", "/live")):
        pass


def test_a_long_poll_ends_when_nobody_waits_any_more(tmp_path: Path) -> None:
    """L2: a client that gave up leaves its place; else a few restless ones would take all of them for a minute."""

    async def check() -> None:
        chosen = settings(tmp_path / "x.db", server__listen="127.0.0.1:0", server__max_connections="8", **SLOW)
        at = listen(chosen.server)
        assert at is not None
        async with (
            running_engine(chosen, sandbox=True, tcp=at),
            httpx2.AsyncClient(base_url=at.url, timeout=60, trust_env=False) as client,
        ):
            lines = "".join(json.dumps(each) + "\n" for each in requests(3)).encode()
            kind = {"content-type": "application/x-ndjson"}
            await client.post("/api/v1/jobs?name=three", content=lines, headers=kind)
            port = at.listener.getsockname()[1]
            tag = (await client.get("/api/v1/jobs/three")).headers["etag"]
            for _ in range(4):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head("/api/v1/jobs/three?wait=60s", f"if-none-match: {tag}"))
                await writer.drain()
                writer.close()
            async with asyncio.timeout(30):
                while True:
                    answer = await client.get("/api/v1/jobs/three?wait=1ms", headers={"if-none-match": tag})
                    if answer.status_code in {200, 304}:
                        break
                    assert answer.status_code == 503

    asyncio.run(check())


CHUNKED: Final = head("/act", "transfer-encoding: chunked", method="POST")
MALFORMED: Final = {
    "bare LF in a head": b"GET /livez HTTP/1.1\nhost: localhost\n\n",
    "bare LF after one header": b"GET /livez HTTP/1.1\r\nhost: localhost\nx: y\r\n\r\n",
    "bare LF at the end": b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\n",
    "a header over two lines": b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: y\r\n z\r\n\r\n",
    "a header over two lines, by a tab": b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: y\r\n\tz\r\n\r\n",
    "a length that is folded": head("/act", "content-length:", " 5", method="POST"),
    "the same length twice": head("/act", "content-length: 5", "content-length: 5", method="POST"),
    "a list of lengths": head("/act", "content-length: 5, 5", method="POST"),
    "HTTP/1.0 with chunks": head("/act", "transfer-encoding: chunked", method="POST").replace(b"/1.1", b"/1.0"),
    "HTTP/1.2": b"GET /livez HTTP/1.2\r\nhost: localhost\r\n\r\n",
    "HTTP/2.0": b"GET /livez HTTP/2.0\r\nhost: localhost\r\n\r\n",
    "a fragment": head("/livez#x"),
    "another origin's URL": head("http://localhost/livez"),
    "a chunk with a bare CR": CHUNKED + b"5;\rb\r\nhello\r\n0\r\n\r\n",
    "a chunk with blanks": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "a chunk by bare LF": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "a trailer by bare LF": CHUNKED + b"0\r\nx: y\n\r\n",
    "a trailer over two lines": CHUNKED + b"0\r\nx: y\r\n z\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("what", MALFORMED)
def test_what_a_proxy_could_read_in_another_way_is_refused(what: str) -> None:
    """L9: one answer that closes the connection; what stands behind it is no request."""

    async def check() -> None:
        async with guarded() as (port, seen):
            answers = await said_to(port, MALFORMED[what] + head("/smuggled"))
            assert set(statuses(answers)) <= {400, 505}
            assert not any(each.startswith("read") for each in seen)

    asyncio.run(check())


def test_what_is_well_formed_is_taken() -> None:
    """L9: strict is not deaf: chunks with extensions and trailers, HTTP/1.0, a header that is empty."""

    async def check() -> None:
        async with guarded() as (port, seen):
            close = "connection: close"
            chunked = head("/act", "transfer-encoding: chunked", close, method="POST")
            assert statuses(await said_to(port, chunked + b"5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n")) == [200]
            assert statuses(await said_to(port, head("/", "x:", "y: \xe9", close))) == [200]
            assert statuses(await said_to(port, head("/", close).replace(b"/1.1", b"/1.0"))) == [200]
            assert seen == ["read 5", "read 0", "read 0"]

    asyncio.run(check())


def test_malformed_requests_and_offers_to_upgrade_do_not_fill_the_log() -> None:
    """L4: a stranger's bytes are worth one line a minute, however many come; an upgrade is not worth any."""

    async def check() -> None:
        async with guarded() as (port, _):
            for _ in range(50):
                await said_to(port, b"\x16\x03\x01\r\n\r\n")
            offer = ("connection: upgrade, close", "upgrade: websocket", "sec-websocket-version: 13")
            for _ in range(20):
                assert statuses(await said_to(port, head("/", *offer))) == [200]

    with logged() as out:
        asyncio.run(check())
    assert len(out.getvalue().splitlines()) == 1
    assert "Invalid HTTP request" in out.getvalue()


def test_lines_of_a_kind_are_written_once_a_minute_with_their_number() -> None:
    """L4, M1: numbers and addresses make no other kind, another error does; ours are never left out."""
    clock = [0.0]
    floods = Floods(lambda: clock[0], is_flood=lambda record: record.name != "ours")

    def said(name: str, text: str, exc: Exception | None = None) -> list[str]:
        info = None if exc is None else (type(exc), exc, exc.__traceback__)
        record = logging.LogRecord(name, logging.ERROR, "", 0, text, None, info)
        return [each.getMessage() for each in floods.written(record)]

    assert len(said("asyncio", "accept() failed\nsocket: <fd=7>")) == 1
    for fd in range(1000):
        assert said("asyncio", f"accept() failed\nsocket: <fd={fd}>") == []
        assert len(said("lib", f"no boundary {fd!r} at 0x{fd:x}")) == (fd == 0)
    assert len(said("asyncio", "accept() failed", ValueError())) == 1
    assert len(said("ours", "job.moved")) == len(said("ours", "job.moved")) == 1
    clock[0] = 60.0
    assert said("ours", "job.moved") == [
        "accept() failed: 1,000 more lines of this kind were left out",
        "no boundary 0 at 0x0: 999 more lines of this kind were left out",
        "job.moved",
    ]
    assert said("asyncio", "accept() failed\nagain") == ["accept() failed\nagain"]
    for kind in range(5000):
        said("lib", "".join(chr(97 + int(digit)) for digit in str(kind)))
    clock[0] = 120.0
    assert len(said("ours", "x")) == 2


def test_events_of_ours_that_a_client_causes_are_a_kind_too() -> None:
    """L4: a download that is cut is worth a line a minute; a change of a state always its own."""
    log = get_logger("orchestrator.x")
    with logged() as out:
        for _ in range(10):
            log.warning("download.cut", why="x")
            log.info("job.moved", job=1)
    events = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert (events.count("download.cut"), events.count("job.moved")) == (1, 10)
