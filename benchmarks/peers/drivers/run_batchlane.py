"""`batchlane.submit_all`, `wait`, `results`; its base URL is a constant of a module."""

from __future__ import annotations

from collections.abc import Iterator

import batchlane
import batchlane.adapters.anthropic
import batchlane.runner
from job import BASE_URL, BATCH_SIZE, COUNT, MAX_TOKENS, MODEL, POLL_S, finish, prompt

batchlane.adapters.anthropic.BASE_URL = f"{BASE_URL}/v1/messages/batches"
batchlane.runner._BACKOFF_FACTOR = 1.0  # noqa: SLF001 - it doubles the pause at each look, and has no setting for it


def answers() -> Iterator[tuple[str, str]]:
    """Submit everything, then read batch by batch."""
    settings = {"max_tokens": MAX_TOKENS}
    lines = [
        batchlane.BatchLine(f"r{number}", f"anthropic/{MODEL}", [{"role": "user", "content": prompt(number)}], settings)
        for number in range(COUNT)
    ]
    for handle in batchlane.submit_all(lines, checkpoint="checkpoint.jsonl", max_requests_per_batch=BATCH_SIZE):
        batchlane.wait(handle, poll_interval=POLL_S)
        for result in batchlane.results(handle):
            yield result.custom_id, batchlane.answer_text(result) or ""


finish(answers())
