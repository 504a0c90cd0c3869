"""The real command, a real API over TCP, real SIGKILLs; the API's own books are the judge (promises 1, 2 and 3)."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import Api, program, program_env, running_api

REQUESTS = 6000
PER_BATCH = 500
KILLS = 12
PARAMS = b'{"model":"claude-haiku-4-5","max_tokens":16,"messages":[{"role":"user","content":"say %d"}]}'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: a unix socket lies in it."""
    path = Path(tempfile.mkdtemp(prefix="o-"))
    yield path
    shutil.rmtree(path)


def write_input(path: Path, count: int) -> dict[str, str]:
    """Write *count* requests; returns custom_id → sha256 of the params as they stand in the file."""
    digests: dict[str, str] = {}
    with path.open("wb") as out:
        for number in range(count):
            params = PARAMS % number
            out.write(b'{"custom_id":"id %d","params":%b}\n' % (number, params))
            digests[f"id {number}"] = hashlib.sha256(params).hexdigest()
    return digests


def audit(api: Api, output: Path, digests: dict[str, str]) -> None:
    """Every request executed and billed exactly once, every answer there, right, and in the order of the input."""
    executed = Counter(str(row["params_sha256"]) for row in api.ledger())
    billed = Counter(str(row["params_sha256"]) for row in api.ledger() if row["billed"])
    assert len(digests) == len(set(digests.values()))
    lost = [digest for digest in digests.values() if digest not in billed]
    twice = [digest for digest, times in executed.items() if times > 1]
    assert (len(lost), len(twice)) == (0, 0)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == list(digests)
    for number, line in enumerate(lines):
        assert f"say {number}" in line["result"]["message"]["content"][0]["text"]


def run_until_done(env: dict[str, str], source: Path, output: Path, kills: int) -> int:
    """Start the program, kill it at a random moment while it works, start it again, …; at last let it finish.

    Returns its exit code. A run that ends before its kill means that the test does not test: it fails.
    """
    chance = random.Random(7)
    command = program("run", str(source), "-o", str(output), "-q")
    for kill in range(kills):
        with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                process.wait(timeout=chance.uniform(0.3, 3.0))
            except subprocess.TimeoutExpired:
                process.kill()
            else:
                raise AssertionError(f"done before kill {kill + 1}: {process.returncode}")
    last = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert (last.returncode, last.stderr) == (0, "")
    return last.returncode


def test_twelve_random_kills_lose_nothing_and_buy_nothing_twice(folder: Path) -> None:
    """Killed 12 times while it works on 6,000 requests: the books are as if it had never been killed."""
    digests = write_input(folder / "in.jsonl", REQUESTS)
    with running_api(speed=3600, batch_seconds=[7200, 18000]) as api:
        env = program_env(
            api.base_url,
            folder,
            BATCHING__MAX_REQUESTS=str(PER_BATCH),
            LIMITS__POLL_INTERVAL="0.1s",
            LIMITS__MAX_IN_FLIGHT_REQUESTS="1000",
        )
        assert run_until_done(env, folder / "in.jsonl", folder / "out.jsonl", KILLS) == 0
        audit(api, folder / "out.jsonl", digests)
        assert api.stats()["batches_created"] == REQUESTS // PER_BATCH


def test_lost_answers_and_kills_together_buy_nothing_twice(folder: Path) -> None:
    """Every fifth POST is accepted and its answer lost, and the process is killed in between."""
    digests = write_input(folder / "in.jsonl", 2000)
    with running_api(speed=3600, batch_seconds=[3600, 9000], faults="drop_after_accept=.2") as api:
        env = program_env(
            api.base_url,
            folder,
            BATCHING__MAX_REQUESTS="200",
            LIMITS__POLL_INTERVAL="0.1s",
            LIMITS__MAX_IN_FLIGHT_REQUESTS="400",
        )
        assert run_until_done(env, folder / "in.jsonl", folder / "out.jsonl", 5) == 0
        audit(api, folder / "out.jsonl", digests)
