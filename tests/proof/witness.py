"""A pytest plugin for a patched copy of the tree: sees to it that the copy is what is tested, and says what failed.

Loaded with `-p proof.witness`. `PROOF_ROOT` is the copy, `PROOF_WITNESS` the file to write: `Seen` as one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(slots=True)
class Seen:
    """What a run of pytest came to: cases that ran, and of the first that failed where (setup, call) and with what."""

    cases: int = 0
    failed: str | None = None
    phase: str | None = None
    error: str | None = None


SEEN = Seen()


def pytest_sessionstart() -> None:
    """Refuse to test another tree than the copy: the installed one would pass whatever was planted."""
    package = importlib.import_module("orchestrator")
    root = Path(os.environ["PROOF_ROOT"]).resolve()
    if not Path(str(package.__file__)).resolve().is_relative_to(root):
        raise pytest.UsageError(f"{package.__file__} is tested, not the copy in {root}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the first failure by the class of what was raised."""
    report = yield
    SEEN.cases += report.when == "call"
    if report.failed and SEEN.failed is None and call.excinfo is not None:
        SEEN.failed, SEEN.phase, SEEN.error = item.nodeid, report.when, call.excinfo.typename
    return report


def pytest_sessionfinish() -> None:
    """Write it down."""
    Path(os.environ["PROOF_WITNESS"]).write_text(json.dumps(asdict(SEEN)), encoding="utf-8")
