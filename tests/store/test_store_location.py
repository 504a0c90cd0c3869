"""A store is opened in one place: by its settings, never by a path that somebody took along."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator

pytestmark = pytest.mark.sqlite

PACKAGE = Path(orchestrator.__file__).parent


def test_nobody_but_the_store_opens_one_or_takes_its_path() -> None:
    """Another kind of store plugs in at `store/location.py`: whoever else opened a file would not meet it."""
    opens = re.compile(r"StoreReader\b|\bconnect_\w+er\(|SqliteStore\.open|\.database\.path")
    found = {
        str(path.relative_to(PACKAGE)): match[0]
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in {"store", "config"} and (match := opens.search(path.read_text()))
    }
    assert found == {}


def test_who_only_reads_loads_no_event_loop() -> None:
    """`status` starts in milliseconds: neither asyncio nor aiosqlite is part of that."""
    code = "import sys, orchestrator.store.location; print(sorted({'asyncio', 'aiosqlite'} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
