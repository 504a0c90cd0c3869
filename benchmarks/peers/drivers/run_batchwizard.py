"""`batchwizard process`: native JSONL files in, one for each batch, native JSONL files out."""

from __future__ import annotations

from itertools import chain

from batchwizard.cli import app
from job import BATCH_SIZE, COUNT, FOLDER, POLL_WHOLE_S, finish, read_native, write_native

inputs = FOLDER / "in"
inputs.mkdir()
for start in range(0, COUNT, BATCH_SIZE):
    write_native(inputs / f"{start}.jsonl", start, min(COUNT, start + BATCH_SIZE))
command = ["process", "in", "--provider", "anthropic", "--output-directory", "results"]
app([*command, "--check-interval", str(POLL_WHOLE_S)], standalone_mode=False)
finish(chain.from_iterable(read_native(file) for file in (FOLDER / "results").glob("*_results.jsonl")))
