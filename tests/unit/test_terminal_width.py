"""What is printed fits the terminal, and is whole where there is none."""

from __future__ import annotations

import io
import sys

import pytest

from orchestrator.cli.console import as_table, folded


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_long_names_and_sentences_fit_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of a hundred characters, and a sentence of doctor's, broke in the middle of a word."""
    rows = [("JOB", "NAME"), ("a-123456", "long-" * 20), ("b-123456", "short")]
    sentence = "a batch holds just under 100,000 requests " * 3
    assert max(map(len, as_table(rows, cuts_last=True).splitlines())) > 80
    assert folded(sentence, indent=19) == sentence
    monkeypatch.setattr(sys, "stdout", Terminal())
    for width in (80, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        table = as_table(rows, cuts_last=True).splitlines()
        assert max(map(len, table)) <= width
        assert (table[1].endswith("…"), table[2]) == (width == 80, "b-123456  short")
        first, *more = folded(sentence, indent=19).splitlines()
        assert len(first) <= width - 19
        assert all(line.startswith(" " * 19) and len(line) <= width for line in more)
