"""Promise 4: a poisoned request does not sink its batch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import in_a_loop, message, new_world, next_life

from orchestrator.domain.api_answers import CreateAnswer, Invalid
from orchestrator.engine.context import Context
from orchestrator.ports.runtime import CreateBody, Headers
from orchestrator.sandbox import MachineSettings

Refuse = Callable[[bytes], Invalid | None]


class WholeBody:
    """A body that was read already."""

    def __init__(self, content: bytes, count: int) -> None:
        self.size_bytes = len(content)
        self.count = count
        self._content = content

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes."""
        yield self._content


class PickyProvider:
    """The API, but it looks at bodies before it takes them: refusals that the sandbox has no fault for."""

    def __init__(self, inner: Any, refuse: Refuse) -> None:
        self._inner = inner
        self._refuse = refuse
        self.posts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def create(self, body: CreateBody, headers: Headers) -> CreateAnswer:
        """Refuse, or pass on."""
        self.posts += 1
        content = b"".join([chunk async for chunk in body.chunks()])
        refusal = self._refuse(content)
        if refusal is not None:
            return refusal
        answer: CreateAnswer = await self._inner.create(WholeBody(content, body.count), headers)
        return answer


def picky(refuse: Refuse) -> Callable[[Context], Context]:
    """Put a picky API behind the stages."""
    return lambda context: replace(context, provider=PickyProvider(context.provider, refuse))


def poisoned(*places: int, count: int = 30) -> list[dict[str, object]]:
    """Params of which those at *places* (from 1) carry poison."""
    return [message(f"poison {i}" if i in places else f"fine {i}") for i in range(1, count + 1)]


@pytest.mark.parametrize("culprit", [1, 7, 30])
@in_a_loop
async def test_a_400_that_names_a_request_fails_that_one_and_the_rest_goes_on(tmp_path: Path, culprit: int) -> None:
    """Promise 4: with the API's own words, in place, sent once."""

    def refuse(content: bytes) -> Invalid | None:
        place = content[: content.find(b"poison")].count(b'"params"') - 1
        why = f"requests.{place}.params: no poison, please"
        return Invalid(why=why, index=place) if b"poison" in content else None

    async with new_world(tmp_path / "store.db", wrap=picky(refuse)) as world:
        job = await world.submit(params=poisoned(culprit))
        await world.settle()
        counts = (await world.status(job.id)).job.requests
        assert (counts.succeeded, counts.failed) == (29, 1)
        line = (await world.results(job.id))[culprit - 1]
        assert line["custom_id"] == f"r{culprit}"
        assert line["result"]["error"]["error"]["type"] == "invalid_request_error"  # type: ignore[index]
        assert "no poison" in line["result"]["error"]["error"]["message"]  # type: ignore[index]
        assert world.machine.batches_created == 1


@in_a_loop
async def test_an_unnamed_400_with_different_words_is_narrowed_down_to_the_culprits(tmp_path: Path) -> None:
    """Promise 4: halving goes on where the halves differ; only the poisoned requests fail."""

    def refuse(content: bytes) -> Invalid | None:
        return Invalid(why="something is wrong", index=None) if b"poison" in content else None

    async with new_world(tmp_path / "store.db", wrap=picky(refuse)) as world:
        job = await world.submit(params=poisoned(3, 4))
        await world.settle()
        counts = (await world.status(job.id)).job.requests
        assert (counts.succeeded, counts.failed) == (28, 2)
        failed = [line["custom_id"] for line in await world.results(job.id) if line["result"]["type"] == "errored"]  # type: ignore[index]
        assert failed == ["r3", "r4"]
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_an_unnamed_400_in_the_same_words_twice_pauses_and_fails_nothing(tmp_path: Path) -> None:
    """Promise 4: halved once, the same words for both halves: the cause is not in a request. A resume tries afresh."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "400", 3)
        await world.settle()
        status = await world.status(job.id)
        assert (status.job.state, status.job.reason_code) == ("paused", "refused")
        assert "Invalid request" in str(status.job.reason)
        assert (status.job.requests.queued, status.job.requests.failed) == (30, 0)
        assert world.creates == 3
        await world.commands.resume(job.id)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 30
        assert world.machine.batches_created == 1


@in_a_loop
async def test_a_crash_while_both_halves_are_given_up_fails_nothing(tmp_path: Path) -> None:
    """Promise 4: killed between the two steps that give the halves up, the next life still fails nothing."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "400", 2)
        world.script("create", "refuse")
        await world.tick("plan", "submit")
        (first,) = [batch for batch, _ in await world.store.bisect.parked()]
        (other,) = await world.store.submit.sendable(1)
        world.advance(timedelta(minutes=1))  # the refusal paused creates
        page = await world.provider.page(after_id=None, limit=1)
        sent = await world.store.submit.intend(other, None, page.meta, world.clock.now())
        assert sent is not None
        await world.store.bisect.park(sent, str(first.refusal), world.clock.now())
        await world.store.commands.pause(job.id, "refused", "words", world.clock.now())
        await world.store.bisect.abandon(first, "words", world.clock.now())
        async with next_life(world) as second:
            await second.tick("mend")
            assert {batch.state.value for batch in await second.batches(job.id)} == {"abandoned"}
            await second.commands.resume(job.id)
            await second.settle()
            assert (await second.status(job.id)).job.requests.succeeded == 30


@in_a_loop
async def test_a_413_is_halved_down_to_the_one_request_that_is_too_large(tmp_path: Path) -> None:
    """Promise 4: that one fails as `request_too_large`; the others are answered, each bought once."""
    machine = MachineSettings(batch_seconds=(60, 600), max_body_bytes=3000)
    async with new_world(tmp_path / "store.db", machine=machine) as world:
        params = [message("x" * (4000 if i == 5 else 10)) for i in range(10)]
        job = await world.submit(params=params)
        await world.settle()
        counts = (await world.status(job.id)).job.requests
        assert (counts.succeeded, counts.failed) == (9, 1)
        line = (await world.results(job.id))[5]
        assert line["result"]["error"]["error"]["type"] == "request_too_large"  # type: ignore[index]


@in_a_loop
async def test_a_half_in_doubt_keeps_its_sibling_waiting(tmp_path: Path) -> None:
    """Promise 4 meets promise 2: an unclear answer is no word; when it turns out void the other half is narrowed on."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "400", 2)
        world.script("create", "drop")
        await world.tick("plan", "submit")
        assert sorted(await world.states(job.id)) == ["abandoned", "in_doubt", "planned"]
        await world.settle()
        counts = (await world.status(job.id)).job.requests
        assert (counts.succeeded, counts.failed) == (30, 0)
        assert set(world.bought().values()) == {1}
