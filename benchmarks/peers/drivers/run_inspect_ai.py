"""`inspect_ai`'s batch mode: N concurrent `generate` calls that its batcher gathers."""

from __future__ import annotations

import asyncio

from inspect_ai.model import BatchConfig, GenerateConfig, get_model
from job import BATCH_SIZE, COUNT, MAX_TOKENS, MODEL, POLL_S, finish, prompt

BATCHES = BatchConfig(
    size=min(COUNT, BATCH_SIZE),  # sends as soon as so many are gathered
    max_size=BATCH_SIZE,
    send_delay=600,  # and not before: else it sends what it has
    tick=POLL_S,
)


async def main() -> list[tuple[str, str]]:
    """All at once."""
    config = GenerateConfig(max_tokens=MAX_TOKENS, max_connections=COUNT + 10, cache_prompt=False, batch=BATCHES)
    model = get_model(f"anthropic/{MODEL}", config=config)
    outputs = await asyncio.gather(*(model.generate(prompt(number)) for number in range(COUNT)))
    return [(f"r{number}", output.completion) for number, output in enumerate(outputs)]


finish(asyncio.run(main()))
