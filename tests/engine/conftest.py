"""The tests of the engine run on every kind of store."""

from __future__ import annotations

import pytest
from support.both import ON_EITHER, parametrize_kinds

dialect = ON_EITHER


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of SQLite alone is marked so."""
    parametrize_kinds(metafunc)
