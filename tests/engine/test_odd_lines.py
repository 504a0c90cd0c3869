"""Promise 3, against the odd: lines that are not ours, lines that change, texts that look like line ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from support.world import World, in_a_loop, message, new_world

from orchestrator.domain.model import JobRow
from orchestrator.ports.runtime import Download

MINUTE = timedelta(minutes=1)


async def ended(world: World, *jobs: JobRow) -> None:
    """Every batch has ended, none is collected."""
    await world.tick("plan", "submit")
    world.advance(20 * MINUTE)
    await world.tick("poll")
    for job in jobs:
        assert set(await world.states(job.id)) == {"ended"}


async def echoes(world: World, job: JobRow) -> dict[object, str]:
    """The answers that are here, by custom_id."""
    lines = await world.results(job.id)
    return {line["custom_id"]: line["result"]["message"]["content"][0]["text"] for line in lines}  # type: ignore[index]


class Mixed:
    """The API, but the first download of each batch gives another batch's file."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.instead: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def results(self, remote_id: str) -> AbstractAsyncContextManager[Download]:
        """A file, perhaps the wrong one."""
        download: AbstractAsyncContextManager[Download] = self._inner.results(self.instead.pop(remote_id, remote_id))
        return download


@in_a_loop
async def test_the_lines_of_another_batch_are_nobodys_answers(tmp_path: Path) -> None:
    """Promise 3 (T32): the numbers fit, the counts fit, the nonce does not: not one of them is stored."""
    async with new_world(tmp_path / "store.db", wrap=lambda c: replace(c, provider=Mixed(c.provider))) as world:
        first, second = await world.submit(10, name="first"), await world.submit(10, name="second")
        await ended(world, first, second)
        (one,), (two,) = await world.batches(first.id), await world.batches(second.id)
        api = world.context.provider
        assert isinstance(api, Mixed)
        api.instead = {str(one.remote_id): str(two.remote_id), str(two.remote_id): str(one.remote_id)}
        await world.tick("collect", "settle")
        assert await echoes(world, first) == await echoes(world, second) == {}
        await world.settle()
        for job in (first, second):
            found = await echoes(world, job)
            assert len(found) == 10
            assert all(f"{job.name} " in text for text in found.values())


@in_a_loop
async def test_line_separators_inside_an_answer_end_no_line(tmp_path: Path) -> None:
    """Promise 3 (T31): U+2028, U+2029 and U+0085 are legal in JSON texts; only a newline byte ends a line."""
    text = "one\u2028two\u2029three\u0085four"
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(params=[message(f"{text} {i}") for i in range(10)])
        await ended(world, job)
        (remote,) = world.machine.list().data
        assert text.encode() in b"".join(world.machine.results(remote.id)), "the API sends them as they are"
        await world.tick("collect", "settle")
        assert await world.states(job.id) == ["settled"]
        found = await echoes(world, job)
        assert len(found) == 10
        assert all(text in echo for echo in found.values())


class Moody:
    """The API, but what it answers is different in every download."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.downloads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @asynccontextmanager
    async def results(self, remote_id: str) -> AsyncIterator[Download]:
        """The file with the number of the download in every answer."""
        self.downloads += 1
        async with self._inner.results(remote_id) as download:
            yield replace(download, chunks=self._marked(download.chunks, b"DOWNLOAD%d" % self.downloads))

    async def _marked(self, chunks: AsyncIterator[bytes], mark: bytes) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk.replace(b"SANDBOX", mark)


@in_a_loop
async def test_what_was_read_once_never_changes(tmp_path: Path) -> None:
    """Promise 3: the first line of a request is its answer, whatever a later download says of it."""
    async with new_world(tmp_path / "store.db", wrap=lambda c: replace(c, provider=Moody(c.provider))) as world:
        job = await world.submit(40)
        await ended(world, job)
        world.script("results", "cut_clean")
        await world.tick("collect", "settle")
        before = await echoes(world, job)
        assert 0 < len(before) < 40
        await world.settle()
        after = await echoes(world, job)
        assert {name: after[name] for name in before} == before
        assert all("DOWNLOAD2" in after[name] for name in after.keys() - before.keys())
        assert len(after) == 40


@in_a_loop
async def test_a_clock_that_is_a_month_ahead_loses_no_results(tmp_path: Path) -> None:
    """Promise 3 (T44): how old results are is told by the API's clock alone; ours calls nothing lost."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(10)
        await ended(world, job)
        world.advance(timedelta(days=40), api=timedelta(0))
        world.machine.plan.set({"results.404": 1})
        for _ in range(6):
            await world.tick("collect", "settle")
            world.advance(10 * MINUTE)
        world.machine.plan.set({})
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 10
        assert await world.attention(job.id) == []


@in_a_loop
async def test_nothing_is_deleted_at_the_api_before_it_is_here(tmp_path: Path) -> None:
    """`delete_after_collect`: while one result is missing, the API's copy is the only one."""
    async with new_world(tmp_path / "store.db", delete_after_collect=True) as world:
        job = await world.submit(40)
        await ended(world, job)
        world.script("results", "cut_clean")
        await world.tick("collect", "settle")
        assert len(await echoes(world, job)) < 40
        assert len(world.machine.list().data) == 1
        await world.settle()
        assert len(await echoes(world, job)) == 40
        await world.tick("settle")
        assert world.machine.list().data == []
