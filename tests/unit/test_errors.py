"""Errors that others raise, told as what they are."""

from __future__ import annotations

import errno
import os

import pytest

from orchestrator.cli.command_errors import report_error
from orchestrator.daemon import first_error
from orchestrator.domain.errors import OutOfMemory, StoreFull, shortage

SHORTAGES = [
    MemoryError(),
    RuntimeError("can't start new thread"),
    ImportError("x.so: failed to map segment from shared object"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


@pytest.mark.parametrize("lack", SHORTAGES, ids=repr)
def test_a_lack_of_memory_is_no_bug_of_ours(lack: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """L12. Alone, inside of a group of tasks, or behind another error: exit code 71, and the words for it."""
    behind = ValueError("broken off")
    behind.__context__ = lack
    group = BaseExceptionGroup("tasks", [ValueError("other"), BaseExceptionGroup("inner", [lack])])
    for error in (lack, behind, group):
        assert report_error(error, tracebacks=False) == 71
        told = capsys.readouterr().err
        assert told.startswith("error: out of memory\n")
        assert "bug" not in told
        assert "Traceback" not in told


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_bug_of_ours_wherever_it_is_met(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """M8. What no place of its own translates is still told as that; a used-up quota is the same."""
    raised = OSError(number, os.strerror(number), "/somewhere/file")
    assert isinstance(first_error(BaseExceptionGroup("tasks", [KeyError("x"), raised])), StoreFull)
    assert report_error(raised, tracebacks=False) == 8
    told = capsys.readouterr().err
    assert told.startswith("error: the disk is full\n")
    assert "/somewhere/file" in told
    assert "free some space" in told


def test_a_library_s_user_gets_the_words_too() -> None:
    """L12. An engine in this process that ends for a lack of memory raises an error for people."""
    assert isinstance(first_error(BaseExceptionGroup("tasks", [KeyError("x"), MemoryError()])), OutOfMemory)


def test_what_a_person_can_act_on_is_not_taken_for_it() -> None:
    """L12. An error of ours that comes with it keeps its own words."""
    full = StoreFull("the disk is full")
    assert first_error(BaseExceptionGroup("tasks", [MemoryError(), full])) is full
    assert shortage(ValueError("of something else")) is None
