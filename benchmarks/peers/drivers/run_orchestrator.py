"""`orchestrator run FILE -o OUT`, from the making of the file to the answers in the common form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from job import BATCH_SIZE, FOLDER, POLL_S, finish, read_native, write_native

SETTINGS = {
    "ORCHESTRATOR_DATABASE__PATH": str(FOLDER / "store" / "store.db"),
    "ORCHESTRATOR_BATCHING__MAX_REQUESTS": str(BATCH_SIZE),
    "ORCHESTRATOR_LIMITS__POLL_INTERVAL": f"{POLL_S}s",
}

write_native(FOLDER / "in.jsonl")
program = Path(sys.executable).with_name("orchestrator")
command = [program, "run", FOLDER / "in.jsonl", "-o", FOLDER / "results.jsonl", "-q"]
done = subprocess.run(command, env={**os.environ, **SETTINGS}, check=False)
if done.returncode:
    sys.exit(f"orchestrator run: exit {done.returncode}")
finish(read_native(FOLDER / "results.jsonl"))
