"""Programs of the system that a test needs: skipped without them, except where the checks have installed them."""

from __future__ import annotations

import os
import shutil

import pytest


def needed_tool(name: str, *, package: str) -> str:
    """The path of *name*. Without it the test is skipped; with ORCHESTRATOR_TEST_TOOLS=1, as in `.ci/run`, it fails."""
    found = shutil.which(name)
    if found is None:
        told = f"{name} is not installed (Debian package {package})"
        if os.environ.get("ORCHESTRATOR_TEST_TOOLS") == "1":
            pytest.fail(told)
        pytest.skip(told)
    return found
