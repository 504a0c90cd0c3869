"""A hand-over whose source is slow: the engine hears that somebody is still there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from support.world import in_a_loop

from orchestrator.client.remote_commands import keep_alive
from orchestrator.ports.streams import InputLine
from orchestrator.views.source_codec import KEEP_ALIVE_RECORD, DecodedSource, encode_lines


@in_a_loop
async def test_a_slow_source_is_not_a_silent_body() -> None:
    """A pipe that thinks for a minute is not given up after ten seconds; what it says arrives in its order."""
    go_on = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"first"
        await go_on.wait()
        yield b"second"

    got = []
    async for piece in keep_alive(pieces(), 0.001):
        got.append(piece)
        if piece is KEEP_ALIVE_RECORD:
            go_on.set()
    assert (got[0], got[-1], set(got)) == (b"first", b"second", {b"first", KEEP_ALIVE_RECORD, b"second"})


@in_a_loop
async def test_the_engine_passes_over_what_says_nothing() -> None:
    """The requests and their hash are the same with and without it."""
    whole = encode_lines([InputLine(1, "a", b"{}"), InputLine(2, "b", b"{}")])
    first, rest = whole.split(b"\n", 1)

    async def blocks() -> AsyncGenerator[bytes, None]:
        for block in (KEEP_ALIVE_RECORD, first, b"\n", KEEP_ALIVE_RECORD[:100], KEEP_ALIVE_RECORD[100:], rest):
            yield block

    found = [item for chunk in [each async for each in DecodedSource(blocks(), name="x").chunks()] for item in chunk]
    assert found == [InputLine(1, "a", b"{}"), InputLine(2, "b", b"{}")]


@in_a_loop
async def test_a_source_that_fails_or_is_left_ends_in_its_own_task() -> None:
    """What a program's generator holds across its yields is let go where it was taken."""
    tasks = []

    async def pieces() -> AsyncGenerator[bytes, None]:
        tasks.append(asyncio.current_task())
        try:
            yield b"first"
            yield b"second"
            raise LookupError("the source broke")
        finally:
            tasks.append(asyncio.current_task())

    failing = keep_alive(pieces())
    assert [await anext(failing), await anext(failing)] == [b"first", b"second"]
    with pytest.raises(LookupError, match="the source broke"):
        await anext(failing)
    left = keep_alive(pieces())
    assert await anext(left) == b"first"
    await left.aclose()
    assert len(tasks) == 4
    assert (tasks[0], tasks[2]) == (tasks[1], tasks[3])
