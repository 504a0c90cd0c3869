"""How much a test does: what `make test` has time for, or everything, as in the long tier of the proof."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pytest

#: True in `make proof`, which runs the tests that ask for this (`proof.tier`).
IS_LONG: Final = os.environ.get("ORCHESTRATOR_TEST_LONG") == "1"


def points_of_each_kind(kinds: Sequence[str], *, every: int) -> list[int]:
    """Of the points 0, 1, …, which are of these kinds: the first of each kind, and one in *every*.

    That one is at another place of each row, so that no rhythm hides any. All of them in the long tier.
    """
    if IS_LONG:
        return list(range(len(kinds)))
    first = {kind: number for number, kind in reversed(list(enumerate(kinds)))}
    some = {row + row // every * 7 % every for row in range(0, len(kinds) - every + 1, every)}
    return sorted({*first.values(), *some})


def some_of(params: Iterable[Any], count: int) -> list[Any]:
    """Of the *params* of a test the first *count* for `make test`; the others are of the long tier."""
    return [
        each if number < count else pytest.param(each, marks=pytest.mark.long) for number, each in enumerate(params)
    ]
