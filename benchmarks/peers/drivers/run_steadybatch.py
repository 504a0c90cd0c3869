"""`steadybatch.Runner` with its SQLite checkpoint. It takes every answer for JSON, also without a schema."""

from __future__ import annotations

from job import BATCH_SIZE, COUNT, MAX_TOKENS, MODEL, POLL_S, finish, prompt
from steadybatch import Outcome, Request, Runner
from steadybatch.providers.anthropic_batch import AnthropicBatch

runner = Runner(AnthropicBatch(), MODEL, checkpoint="checkpoint.sqlite", poll_every=POLL_S, batch_size=BATCH_SIZE)
report = runner.run(
    Request(key=f"r{number}", messages=[{"role": "user", "content": prompt(number)}], max_tokens=MAX_TOKENS)
    for number in range(COUNT)
)
finish((result.key, (result.text or "") if result.outcome is Outcome.OK else "") for result in report.results)
