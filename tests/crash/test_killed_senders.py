"""Promise 2: a process that is killed in the middle of its POST leaves bytes to its kernel, which goes on sending."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from proof.campaign import until
from support.forked import DEVNULL, start
from support.processes import program_env, running_api
from support.slow_way import paid_twice, slow_way

_REQUESTS = 100
#: 2.6 MB in all: more than a bounded kernel holds (2 MiB), less than one without bounds (4 MB).
_PAD = 26_000
_RATE = 250_000
#: The wait of a doubt, and as long again: shorter than what an unbounded kernel still has to send.
_SETTINGS = {"LIMITS__DOUBT_WAIT": "1s", "LIMITS__POLL_INTERVAL": "0.1s", "LIMITS__POLL_INTERVAL_MAX": "0.5s"}


def states(db: Path) -> list[str]:
    """The states of the batches, in the order of planning; none while there is no store yet."""
    if not db.exists():
        return []
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'batch'").fetchone()[0]
        return [row[0] for row in connection.execute("SELECT state FROM batch ORDER BY id")] if tables else []


@pytest.mark.long
def test_what_a_killed_sender_left_to_its_kernel_makes_no_second_batch(tmp_path: Path) -> None:
    """Killed one second into a POST of ten; the next process waits, calls it void, and sends the requests again."""
    source, db = tmp_path / "in.jsonl", tmp_path / "store" / "store.db"
    params = {"model": "claude-haiku-4-5", "max_tokens": 5}
    source.write_text(
        "".join(
            json.dumps({"custom_id": f"r{n}", "params": {**params, "messages": [
                {"role": "user", "content": f"{n} " + "x" * _PAD}]}}) + "\n"
            for n in range(_REQUESTS)
        )
    )  # fmt: skip
    run = ("run", str(source), "-o", str(tmp_path / "out.jsonl"), "-q")
    with running_api(speed=1, batch_seconds=[1, 2]) as api, slow_way(api.base_url, _RATE) as way:
        with start("orchestrator", *run, env=program_env(way.url, tmp_path, **_SETTINGS), stdout=DEVNULL) as killed:
            until(lambda: way.passed > _RATE // 2, "the body is on its way")
            assert states(db) == ["submitting"]
            killed.send_signal(signal.SIGKILL)
        with start("orchestrator", *run, env=program_env(api.base_url, tmp_path, **_SETTINGS), stdout=DEVNULL) as again:
            assert again.wait(timeout=120) == 0
        assert states(db) == ["void", "settled"]
        until(lambda: way.open == 0, "what the kernel still had is through")
        assert paid_twice(api.ledger()) == 0
        assert (api.stats().batches_created, len(api.ledger())) == (1, _REQUESTS)
