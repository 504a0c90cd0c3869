"""Promise 3 against results that are not as documented: what was paid for is kept, told, and never bought again."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import World, in_a_loop, new_world

from orchestrator.ports.runtime import Download

MINUTE = timedelta(minutes=1)
Spoil = Callable[[bytes], bytes]


class Spoilt:
    """The API, but its downloads come as *file* makes them: the lines in, the chunks out; called for each download."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.downloads = 0
        self.chunks = 0
        self.file: Callable[[list[bytes], int], AsyncIterator[bytes]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def results(self, remote_id: str) -> AbstractAsyncContextManager[Download]:
        """One download."""
        return self._results(remote_id)

    @asynccontextmanager
    async def _results(self, remote_id: str) -> AsyncGenerator[Download, None]:
        async with self._inner.results(remote_id) as download:
            lines = b"".join([chunk async for chunk in download.chunks]).splitlines(keepends=True)
        self.downloads += 1
        assert self.file is not None
        yield Download(meta=download.meta, chunks=self._counted(self.file(lines, self.downloads)))

    async def _counted(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            self.chunks += 1
            yield chunk


def line_of(lines: list[bytes], number: int = 3) -> int:
    """Where the line of a request stands."""
    return next(place for place, line in enumerate(lines) if b'-%d"' % number in line)


def spoiling(spoil: Spoil, *, downloads: int = 10**6) -> Callable[[list[bytes], int], AsyncIterator[bytes]]:
    """Request 3's line goes through *spoil* in the first so many *downloads*."""

    async def file(lines: list[bytes], number: int) -> AsyncGenerator[bytes, None]:
        place = line_of(lines)
        spoilt = spoil(lines[place]) if number <= downloads else lines[place]
        yield b"".join((*lines[:place], spoilt, *lines[place + 1 :]))

    return file


def spoilt_world(path: Path, **more: Any) -> Any:
    return new_world(
        path / "store.db", wrap=lambda context: replace(context, provider=Spoilt(context.provider)), **more
    )


async def ended(world: World, file: Callable[[list[bytes], int], AsyncIterator[bytes]]) -> Any:
    """A job of ten whose batch has ended."""
    spoilt: Any = world.context.provider
    spoilt.file = file
    job = await world.submit(10)
    await world.tick("plan", "submit")
    world.advance(20 * MINUTE)
    await world.tick("poll")
    assert await world.states(job.id) == ["ended"]
    return job


SPOILT: dict[str, Spoil] = {
    "no UTF-8": lambda line: line.replace(b"canned", b"can\xffned"),
    "NaN": lambda line: line.replace(b'"usage":{', b'"usage":{"x":NaN,'),
    "a zero byte": lambda line: line.replace(b"canned", b"can\x00ned"),
    "truncated": lambda line: line[: len(line) // 2] + b"\n",
    "too deep": lambda line: line.replace(b'"usage":{', b'"usage":{"x":' + b"[" * 50_000 + b"]" * 50_000 + b","),
    "no result": lambda line: line[: line.index(b',"result"')] + b"}\n",
    "result is null": lambda line: line[: line.index(b',"result"')] + b',"result":null}\n',
    "kind is a number": lambda line: line.replace(b'"type":"succeeded"', b'"type":7'),
    "more behind it": lambda line: line[:-1] + b" and more\n",
    "too long": lambda line: line.replace(b"canned", b"x" * (64 << 20)),
}


@pytest.mark.parametrize("how", SPOILT)
@in_a_loop
async def test_a_line_that_cannot_be_read_is_told_at_once_and_kept_as_it_came(tmp_path: Path, how: str) -> None:
    """F14: the job stayed "running" for a day, nothing was said, and the paid line was thrown away."""
    kept: list[bytes] = []

    def spoil(line: bytes) -> bytes:
        kept.append(SPOILT[how](line))
        return kept[-1]

    async with spoilt_world(tmp_path) as world:
        job = await ended(world, spoiling(spoil))
        await world.tick("collect")
        assert await world.attention(job.id) == ["unreadable_result"]
        assert (await world.status(job.id)).job.requests.succeeded == 9
        await world.settle(rounds=10)
        status = await world.status(job.id)
        assert (status.job.state, status.job.requests.succeeded, status.job.requests.failed) == ("finished", 9, 1)
        (odd,) = [line for line in await world.results(job.id) if line["custom_id"] == "r3"]
        result: Any = odd["result"]
        assert (result["type"], result["error"]["error"]["type"]) == ("errored", "unreadable_result")
        raw = base64.b64decode(result["raw_base64"])
        assert raw == kept[-1].rstrip(b"\n") if how != "too long" else kept[-1].startswith(raw)
        assert raw
        (matter,) = status.attention
        assert (matter.kind, "retry" in matter.message) == ("unreadable_result", True)
        assert world.creates == 1, "what was most likely paid for is not bought again"


@in_a_loop
async def test_a_byte_order_mark_hides_no_answer(tmp_path: Path) -> None:
    """F14: with it taken off, the line is whole."""
    async with spoilt_world(tmp_path) as world:
        job = await ended(world, spoiling(lambda line: b"\xef\xbb\xbf" + line))
        await world.tick("collect", "settle")
        assert (await world.status(job.id)).job.requests.succeeded == 10
        assert await world.attention(job.id) == []


@pytest.mark.parametrize("how", ["no UTF-8", "truncated", "no result"])
@in_a_loop
async def test_a_line_that_was_spoilt_on_its_way_comes_whole_the_next_time(tmp_path: Path, how: str) -> None:
    """F14, promise 3: one reading proves nothing about what the API has; the second is the answer."""
    async with spoilt_world(tmp_path) as world:
        job = await ended(world, spoiling(SPOILT[how], downloads=1))
        await world.tick("collect")
        assert await world.attention(job.id) == ["unreadable_result"]
        await world.settle(rounds=10)
        assert (await world.status(job.id)).job.requests.succeeded == 10
        assert await world.attention(job.id) == []


@in_a_loop
async def test_a_line_that_is_spoilt_differently_each_time_is_not_given_up_at_once(tmp_path: Path) -> None:
    """F14: it is the way that spoils it."""
    count = iter(range(1, 256))
    async with spoilt_world(tmp_path) as world:
        job = await ended(
            world, spoiling(lambda line: line.replace(b"canned", bytes([0xFF, next(count)])), downloads=6)
        )
        for _ in range(6):
            await world.tick("collect", "settle")
            assert (await world.status(job.id)).job.requests.failed == 0
            world.advance(20 * MINUTE)
        await world.settle(rounds=10)
        assert (await world.status(job.id)).job.requests.succeeded == 10


@in_a_loop
async def test_a_line_without_an_id_is_told_at_once(tmp_path: Path) -> None:
    """F14: whose it is cannot be said, so its request waits for its result as one that never came."""
    async with spoilt_world(tmp_path) as world:
        job = await ended(world, spoiling(lambda _: b'{"custom_id":"\xff","result":{}}\n'))
        await world.tick("collect")
        assert await world.attention(job.id) == ["unreadable_result"]


@pytest.mark.parametrize("readings", [4, 5])
@in_a_loop
async def test_a_last_line_without_its_end_is_first_taken_for_a_cut(tmp_path: Path, readings: int) -> None:
    """F14, promise 3: a cut download looks like that; five in a row that end in the same byte are what the API has."""

    async def file(lines: list[bytes], _: int) -> AsyncGenerator[bytes, None]:
        yield b"".join(lines)[:-40]

    async with spoilt_world(tmp_path) as world:
        job = await ended(world, file)
        for _ in range(readings):
            await world.tick("collect", "settle")
            world.advance(20 * MINUTE)
        requests = (await world.status(job.id)).job.requests
        assert (requests.succeeded, requests.failed) == (9, 1 if readings == 5 else 0)


@pytest.mark.parametrize("kind", [b"sideways", b"", b"Succeeded", b"billed_elsewhere"])
@in_a_loop
async def test_a_result_of_an_unknown_kind_is_kept_and_not_bought_again(tmp_path: Path, kind: bytes) -> None:
    """M7: three POSTs in ten seconds, up to five times the price; only a person may ask for it once more."""

    def spoil(line: bytes) -> bytes:
        return line.replace(b'"type":"succeeded"', b'"type":"%b"' % kind)

    async with spoilt_world(tmp_path) as world:
        job = await ended(world, spoiling(spoil))
        await world.settle(rounds=10)
        status = await world.status(job.id)
        assert (status.job.state, status.job.requests.failed, world.creates) == ("finished", 1, 1)
        assert [matter.kind for matter in status.attention] == ["unknown_result"]
        (odd,) = [line for line in await world.results(job.id) if line["custom_id"] == "r3"]
        result: Any = odd["result"]
        assert result["type"] == kind.decode()
        assert "canned" in str(result["message"])
        (group,) = await world.store.read(lambda reads: reads.errors(job.id))
        assert group.error_type == (kind.decode() if kind else "unknown_result")
        assert "kind that this program does not know" in group.error_message
        assert await world.commands.retry(job.id, ()) == 1
        await world.settle()
        assert world.creates == 2


@in_a_loop
async def test_odd_lines_of_every_sort_in_the_sandbox_end_a_job_without_a_second_purchase(tmp_path: Path) -> None:
    """F14, F21, M7: as a share of many lines, and errors that are not nested keep their words."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"bad_bytes": 0.1, "odd_kind": 0.1, "flat_error": 1, "invalid": 0.2})
        job = await world.submit(100)
        await world.settle()
        requests = (await world.status(job.id)).job.requests
        assert (requests.succeeded > 40, requests.failed > 20, world.creates) == (True, True, 1)
        errors = [line["result"] for line in await world.results(job.id)]
        flat = [one for one in errors if "error" in one and "type" in one["error"] and "error" not in one["error"]]  # type: ignore[operator, index]
        assert flat
        groups = await world.store.read(lambda reads: reads.errors(job.id))
        assert "Could not process image" in {group.error_message for group in groups}


@pytest.mark.parametrize("more", ["lines", "blanks", "one long line", "foreign"])
@in_a_loop
async def test_a_download_ends_when_everything_is_here(tmp_path: Path, more: str) -> None:
    """L5: a stream that never ended held its slot for ever, and the batch was never complete."""

    async def file(lines: list[bytes], _: int) -> AsyncGenerator[bytes, None]:
        yield b"".join(lines)
        while True:
            yield {
                "lines": b"".join(lines),
                "blanks": b"\n" * 65536,
                "one long line": b"x" * 65536,
                "foreign": b'{"custom_id":"theirs-1","result":{"type":"expired"}}\n' * 1000,
            }[more]

    async with spoilt_world(tmp_path) as world:
        job = await ended(world, file)
        await world.tick("collect", "settle")
        assert (await world.status(job.id)).job.state == "finished"
        spoilt: Any = world.context.provider
        assert spoilt.chunks <= 2


@pytest.mark.parametrize("more", ["lines", "blanks", "one long line"])
@in_a_loop
async def test_a_download_without_an_end_that_lacks_something_is_left_at_a_bound(tmp_path: Path, more: str) -> None:
    """L5: so many bytes that bring nothing new are enough; it is repeated later, as one that came short."""

    async def file(lines: list[bytes], _: int) -> AsyncGenerator[bytes, None]:
        rest = b"".join(line for place, line in enumerate(lines) if place != line_of(lines))
        yield rest
        many = rest * 400
        while True:
            yield {"lines": many, "blanks": b"\n" * (1 << 20), "one long line": b"x" * (1 << 20)}[more]

    async with spoilt_world(tmp_path) as world:
        job = await ended(world, file)
        await world.tick("collect")
        (batch,) = await world.batches(job.id)
        assert (batch.state, batch.downloads) == ("ended", 1)
        assert (await world.status(job.id)).job.requests.succeeded == 9
