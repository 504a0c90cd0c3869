"""Fixtures of the faces' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.cli_world import Program, program_in


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The command line, in a folder and a home of its own."""
    with program_in(tmp_path) as found:
        yield found
