"""What was measured, in `results.json`, and the tables of `README.md`, which are made from it and from nothing else."""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import ROOT
from benchmarks.outcome import Outcome
from benchmarks.targets import verdicts

RESULTS: Final = ROOT / "benchmarks/results.json"
README: Final = ROOT / "benchmarks/README.md"
_BLOCK: Final = re.compile(r"(<!-- part:(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def write(part: str, outcome: Outcome, *, rounds: int, command: str) -> None:
    """Replace *part*'s entry in the results, and no other."""
    said = read()
    said[part] = {
        "columns": list(outcome.columns),
        "rows": outcome.rows,
        "figures": outcome.figures,
        "rounds": rounds,
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "machine": machine(),
    }
    RESULTS.write_text(json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read() -> dict[str, Any]:
    """Every part's entry; empty if nothing was measured yet."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def render() -> None:
    """Write the tables into the README, between their marks."""
    said = read()
    text = README.read_text(encoding="utf-8")
    README.write_text(_BLOCK.sub(lambda mark: mark[1] + _block(mark[2], said) + mark[3], text), encoding="utf-8")


def _block(part: str, said: Mapping[str, Any]) -> str:
    if part == "targets":
        figures = {name: entry["figures"] for name, entry in said.items()}
        return table(("measure", "value", "target", "met?"), [verdict.cells for verdict in verdicts(figures)])
    if part not in said:
        return ""
    entry = said[part]
    run = f"`{entry['command']}`, rounds: {entry['rounds']}, {entry['date']}, commit {entry['commit']}"
    return f"{table(entry['columns'], entry['rows'])}\n{run}; {entry['machine']}.\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def machine() -> str:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {system}, {versions}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8")) if info.exists() else None
    return platform.machine() if found is None else found[1]


def _commit() -> str:
    """The commit that was measured; a `+` says that the tree had changes beside the results."""
    asked = ["git", "log", "-1", "--format=%h"]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    changed = ["git", "status", "--porcelain", "--", "orchestrator", "migrations", "benchmarks/*.py"]
    dirty = subprocess.run(changed, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return (said.stdout.strip() or "unknown") + ("+" if dirty else "")
