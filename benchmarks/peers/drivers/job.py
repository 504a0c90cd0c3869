"""What every driver is told and owes: N prompts to answer through batches, and a file with the N answers.

`driver.py N FOLDER`, the API at BASE_URL. It runs in the peer's own environment: standard library alone. What the peer
reads from its environment (its base URL, its key, HOME, the settings of `peers/table.py`) the measuring side has set.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

COUNT = int(sys.argv[1])
FOLDER = Path(sys.argv[2]).resolve()
BASE_URL = os.environ["BASE_URL"]
MODEL = "claude-haiku-4-5"
MAX_TOKENS = 16
#: The API's own limit of one batch; every peer is told to fill its batches to it.
BATCH_SIZE = 100_000
POLL_S = 0.5
#: For peers that take whole seconds only.
POLL_WHOLE_S = 1

os.chdir(FOLDER)


def prompt(number: int) -> str:
    """The text of one request; its id is `r{number}`."""
    return f"prompt {number}"


def write_native(path: Path, start: int = 0, stop: int = COUNT) -> None:
    """The requests from *start* to before *stop* as lines of the API's own form."""
    with path.open("w") as out:
        for number in range(start, stop):
            message = {"role": "user", "content": prompt(number)}
            params = {"model": MODEL, "max_tokens": MAX_TOKENS, "messages": [message]}
            out.write(json.dumps({"custom_id": f"r{number}", "params": params}) + "\n")


def read_native(path: Path) -> Iterable[tuple[str, str]]:
    """Ids and texts of result lines in the API's own form; a request without an answer is left out."""
    with path.open("rb") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["result"]["type"] == "succeeded":
                yield entry["custom_id"], entry["result"]["message"]["content"][0]["text"]


def finish(answers: Iterable[tuple[str, str]]) -> None:
    """Write `out.jsonl`; end the process with a reason unless each of the N ids has one text, and no other id has."""
    seen: set[str] = set()
    lines = 0
    with (FOLDER / "out.jsonl").open("w") as out:
        for key, text in answers:
            if text:
                seen.add(key)
                lines += 1
                out.write(json.dumps({"id": key, "text": text}) + "\n")
    missing = sum(f"r{number}" not in seen for number in range(COUNT))
    if missing or lines != COUNT:
        sys.exit(f"{missing} of {COUNT} answers are missing; {lines} lines, {len(seen)} different ids")
