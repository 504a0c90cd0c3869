"""The API guide's own loop, as a user would write it: `create` with a list, `retrieve` until ended, `results`.

Usage: python benchmarks/guide_loop.py INPUT.jsonl OUTPUT.jsonl. The API is at ANTHROPIC_BASE_URL.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import anthropic

_BATCH = 100_000


def main(source: Path, target: Path) -> None:
    """Send everything in batches of up to 100,000, wait, write the results in the order of the input."""
    client = anthropic.Anthropic(default_headers={"anthropic-version": "2023-06-01"})
    with source.open("rb") as lines:
        requests = [json.loads(line) for line in lines]
    answers = {}
    for start in range(0, len(requests), _BATCH):
        batch = client.messages.batches.create(requests=requests[start : start + _BATCH])
        while batch.processing_status != "ended":
            time.sleep(0.2)
            batch = client.messages.batches.retrieve(batch.id)
        for entry in client.messages.batches.results(batch.id):
            answers[entry.custom_id] = entry
    with target.open("w") as out:
        for request in requests:
            out.write(answers[request["custom_id"]].to_json(indent=None) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
