"""This program's version; the one place that says it besides pyproject.toml (a test compares the two)."""

from typing import Final

VERSION: Final = "0.1.0"
