"""`langasync.batch_chain` and its poller. It neither splits nor names: the driver cuts, and counts positions."""

from __future__ import annotations

import asyncio

from job import BATCH_SIZE, COUNT, MAX_TOKENS, MODEL, finish, prompt
from langasync import BatchPoller, batch_chain
from langchain_anthropic import ChatAnthropic
from langchain_core.prompts import ChatPromptTemplate


async def main() -> list[tuple[str, str]]:
    """Submit in pieces, take what the poller yields."""
    chain = ChatPromptTemplate.from_messages([("user", "{text}")]) | ChatAnthropic(model=MODEL, max_tokens=MAX_TOKENS)
    wrapper = batch_chain(chain)
    starts = {}
    for start in range(0, COUNT, BATCH_SIZE):
        stop = min(COUNT, start + BATCH_SIZE)
        handle = await wrapper.submit([{"text": prompt(number)} for number in range(start, stop)])
        starts[handle.job_id] = start
    answers = []
    async for done in BatchPoller().wait_all():
        for place, message in enumerate(done.results or (), starts[done.job_id]):
            answers.append((f"r{place}", message.content))
    return answers


finish(asyncio.run(main()))
