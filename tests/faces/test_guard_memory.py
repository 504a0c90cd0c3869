"""What uploads hold together of large lines, in whatever form they come, and what who finds no room is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import zstandard
from faces.api_world import engine_with_services, finished
from faces.client_world import requests

from orchestrator.domain.errors import ServerBusy
from orchestrator.domain.limits import LARGE_LINE_BYTES, LARGE_LINES_BYTES, MAX_INPUT_LINE_BYTES
from orchestrator.http_api.app import build_app
from orchestrator.http_api.services import Services
from orchestrator.http_api.upload_memory import LargeLineMemory, UploadClaim
from orchestrator.ports.streams import InputLine
from orchestrator.views.source_codec import CONTENT_TYPE, encode_items

MIB = 1 << 20
SHARED = 8 * MIB
OCTETS = {"content-type": "application/octet-stream"}


def client_of(services: Services) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=build_app(services), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://engine/api/v1/", timeout=60)


def large(custom_id: str, size_bytes: int) -> dict[str, Any]:
    (request,) = requests(1, said="x" * size_bytes)
    return {**request, "custom_id": custom_id}


def line(custom_id: str, size_bytes: int) -> bytes:
    return json.dumps(large(custom_id, size_bytes)).encode() + b"\n"


def handed(custom_id: str, size_bytes: int) -> bytes:
    records = encode_items([InputLine(1, custom_id, json.dumps(large("", size_bytes)["params"]).encode())])
    return records + b'.{"content_hash":"%b","size_bytes":1}\n' % custom_id.encode()


BODIES: dict[str, tuple[Callable[[int, int], bytes], str, dict[str, str]]] = {
    "plain": (lambda n, size: line(f"r{n}", size), "jobs?new=1", OCTETS),
    "zstd": (lambda n, size: zstandard.compress(line(f"r{n}", size)), "jobs?new=1", OCTETS),
    "only checked": (lambda n, size: zstandard.compress(line(f"r{n}", size)), "check", OCTETS),
    "a command's": (lambda n, size: handed(f"r{n}", size), "jobs?new=1", {"content-type": CONTENT_TYPE}),
    "one object": (
        lambda n, size: json.dumps({"requests": [large(f"r{n}", size // 8)]}).encode(),
        "jobs?new=1",
        {"content-type": "application/json"},
    ),
    "the SDK's": (
        lambda n, size: json.dumps({"requests": [large(f"r{n}", size)]}).encode(),
        "http://engine/v1/messages/batches",
        {"content-type": "application/json", "anthropic-version": "2023-06-01"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", BODIES)
def test_large_lines_of_all_uploads_share_a_bound(tmp_path: Path, form: str) -> None:
    """M2: an upload that finds no room waits a little and is told to come back; one that comes later finds it."""
    body, path, headers = BODIES[form]

    async def check() -> None:
        async with engine_with_services(tmp_path / "x.db") as (engine, services):
            shared = services.memory
            shared._total, shared._patience_s = SHARED, 0.05  # what it is like when they are full
            other = UploadClaim(shared)
            await other.hold(5 * MIB)
            async with client_of(services) as client:
                answer = await client.post(path, content=body(1, 6 * MIB), headers=headers)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "2"), answer.text
                assert "memory" in answer.text
                small = await client.post(path, content=body(2, 100_000), headers=headers)
                assert small.is_success
                assert shared.held == 5 * MIB
                await other.hold(0)
                answer = await client.post(path, content=body(3, 6 * MIB), headers=headers)
                assert answer.is_success, answer.text
                assert shared.held == 0
            jobs = await engine.read(lambda reads: reads.jobs(limit=10))
            assert len(jobs) == (0 if form == "only checked" else 2)

    asyncio.run(check())


def test_what_is_added_to_an_open_job_is_held_whole_and_counted(tmp_path: Path) -> None:
    """M2: all or nothing means to hold it all, however small its lines are."""

    async def check() -> None:
        async with engine_with_services(tmp_path / "x.db") as (_, services):
            shared = services.memory
            shared._total, shared._patience_s = SHARED, 0.05
            async with client_of(services) as client:
                opened = await client.post("jobs?open=1&name=grows", content=line("a", 10), headers=OCTETS)
                assert opened.status_code == 201
                other = UploadClaim(shared)
                await other.hold(5 * MIB)
                many = b"".join(line(f"b{n}", 200_000) for n in range(30))
                answer = await client.post("jobs/grows/requests", content=many, headers=OCTETS)
                assert (answer.status_code, answer.json()["type"]) == (503, "server-busy")
                await other.hold(0)
                answer = await client.post("jobs/grows/requests", content=many, headers=OCTETS)
                assert answer.json()["added"] == 30
                assert shared.held == 0

    asyncio.run(check())


def test_an_upload_never_holds_more_than_it_claimed_but_for_a_piece(tmp_path: Path) -> None:
    """M2: a few kilobytes that unpack to hundreds of megabytes are stopped where the room ends, not behind it."""

    async def bomb() -> AsyncIterator[bytes]:
        packed = zstandard.ZstdCompressor().compress(line("bomb", 64 * MIB))
        assert len(packed) < 64 * 1024
        for start in range(0, len(packed), 4096):
            yield packed[start : start + 4096]

    async def check() -> None:
        async with engine_with_services(tmp_path / "x.db") as (_, services):
            shared = services.memory
            shared._total, shared._patience_s = SHARED, 0.05
            other = UploadClaim(shared)
            await other.hold(2 * MIB)
            seen: list[int] = []
            claim = Watched(shared, seen)
            source = services.opener(bomb(), name="bomb", api_version="2023-06-01", claim=claim)
            with pytest.raises(ServerBusy):
                async for _ in source.chunks():
                    pass
            assert max(seen) <= 6 * MIB + 2 * MIB
            assert source.size_bytes <= 8 * MIB

    asyncio.run(check())


class Watched(UploadClaim):
    """A claim whose wishes are noted."""

    def __init__(self, shared: LargeLineMemory, seen: list[int]) -> None:
        super().__init__(shared)
        self._seen = seen

    async def hold(self, size_bytes: int) -> None:
        self._seen.append(size_bytes)
        await super().hold(size_bytes)


def test_room_is_waited_for_and_given_back() -> None:
    """M2: who waits goes on as soon as another lets go; the largest line there may be finds room alone."""

    async def check() -> None:
        shared = LargeLineMemory(10 * MIB, patience_s=60)
        first, second = UploadClaim(shared), UploadClaim(shared)
        await first.hold(8 * MIB)
        waiting = asyncio.ensure_future(second.hold(4 * MIB))
        await asyncio.sleep(0)
        assert not waiting.done()
        await first.hold(6 * MIB)
        await waiting
        assert shared.held == 10 * MIB
        await first.hold(LARGE_LINE_BYTES)
        assert shared.held == 4 * MIB
        await second.hold(1000 * MIB)
        assert shared.held == 10 * MIB
        gone = asyncio.ensure_future(first.hold(2 * MIB))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait({gone})
        await second.hold(0)
        assert shared.held == 0

    assert LARGE_LINES_BYTES >= MAX_INPUT_LINE_BYTES
    asyncio.run(check())


def test_an_upload_with_a_large_window_is_told_what_to_do(tmp_path: Path) -> None:
    """M2, F22: over the network 8 MiB of a window are taken, and the answer says how to go on."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27, write_content_size=False)
    packing = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = packing.compress(line("a", 10)) + packing.flush()

    async def check() -> None:
        async with engine_with_services(tmp_path / "x.db") as (_, services), client_of(services) as client:
            answer = await client.post("jobs", content=packed, headers={"content-type": "application/zstd"})
            told = answer.json()
            assert answer.status_code == 422
            assert "needs a window of 128 MiB" in told["title"]
            assert "--long" in told["hint"]
            fits = zstandard.ZstdCompressor(level=19).compress(line("a", 10))
            taken = await client.post("jobs?name=fits", content=fits, headers={"content-type": "application/zstd"})
            assert taken.status_code == 201
            await finished(client, "fits")

    asyncio.run(check())
