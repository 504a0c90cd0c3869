"""How the harness calls the program: commands, environment, a fresh store."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.measure import PROGRAM, client_env

_VERSION: Final = ("--api-version", "2023-06-01")


def run_command(source: Path, target: Path) -> list[str]:
    """Submit, wait, write the results; those of the round before, from another store, are replaced."""
    return [PROGRAM, "run", str(source), "-o", str(target), "--overwrite", *_VERSION, "-q"]


def submit_command(source: Path) -> list[str]:
    """Store the job, send nothing."""
    return [PROGRAM, "submit", str(source), *_VERSION, "-q"]


def env(base_url: str, store: Path, **settings: str) -> dict[str, str]:
    """The environment of a command on *store*; settings as `limits__poll_interval="1s"`. Looks are 0.2 s apart.

    What an input may cost is added up, and never too much.
    """
    usual = {"limits__poll_interval": "0.2s", "budget__confirm_above": "$1000000", "database__path": str(store)}
    chosen = {**usual, **settings}
    return client_env(base_url) | {f"ORCHESTRATOR_{name.upper()}": value for name, value in chosen.items()}


def fresh(folder: Path) -> Path:
    """The path of a store that does not exist yet, in *folder*, which is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder / "store.db"


def store_bytes(store: Path) -> int:
    """What the store takes on disk: database, write-ahead log and whatever else lies beside it."""
    return sum(file.stat().st_size for file in store.parent.iterdir() if file.is_file())


def wait_until(is_true: Callable[[], bool], *, timeout_s: float, pause_s: float = 0.02) -> None:
    """Ask again and again. Raises TimeoutError."""
    end = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout_s:.0f} s")
        time.sleep(pause_s)


def count_lines(path: Path) -> int:
    """How many lines a file has."""
    with path.open("rb") as lines:
        return sum(block.count(b"\n") for block in iter(lambda: lines.read(1 << 20), b""))
