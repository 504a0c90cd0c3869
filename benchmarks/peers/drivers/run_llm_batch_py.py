"""`llm_batch_py.Runner.run` in a loop, as its scheduler would call it. It knows JSON answers only."""

from __future__ import annotations

import time
from typing import Final

import polars as pl
from job import BATCH_SIZE, COUNT, MAX_TOKENS, MODEL, POLL_S, finish, prompt
from llm_batch_py import (
    AnthropicConfig,
    BatchConfig,
    PromptCacheConfig,
    ResultCacheStoreConfig,
    Runner,
    StructuredOutputJob,
    structured_template,
)
from pydantic import BaseModel


# What the canned answer holds. A docstring would be sent along with every request.
class _Answer(BaseModel):
    answer: str


#: It counts the tokens of every request with an encoding that it downloads, unless told not to.
ESTIMATE: Final = "skip"

job = StructuredOutputJob(
    name="bench",
    key_cols=["id"],
    input_df=pl.DataFrame(
        {"id": [f"r{number}" for number in range(COUNT)], "text": [prompt(number) for number in range(COUNT)]}
    ),
    prompt_builder=structured_template(messages="{{ row.text }}", name="bench", version="1"),
    output_model=_Answer,
    provider=AnthropicConfig(model=MODEL, max_output_tokens=MAX_TOKENS, timeout=600, input_token_estimation=ESTIMATE),
    result_cache=ResultCacheStoreConfig(root_uri="cache"),
    prompt_cache=PromptCacheConfig(mode="off"),
    batch=BatchConfig(batch_size=BATCH_SIZE),
)
runner = Runner()
while True:
    frame = runner.run(job, metadata_columns=["llm_batch_py_status"])
    if runner.last_summary is None or not runner.last_summary.inflight_rows + runner.last_summary.submitted_rows:
        break
    time.sleep(POLL_S)
finish((key, text or "") for key, text in frame.select("id", "answer").iter_rows())
