"""The table of planted bugs fits the tree: a bug that no longer applies proves nothing (T98)."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from proof.cases import NAMED_CASES
from proof.planted import PLANTED, Planted
from proof.selftest import ROOT, MovedOn, judge, patched
from proof.witness import Seen


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_every_edit_applies_and_leaves_code(bug: Planted) -> None:
    """Each `before` is there exactly once, and what comes out still parses."""
    texts: dict[str, str] = {}
    for file, before, after in bug.edits:
        text = texts.get(file, (ROOT / file).read_text(encoding="utf-8"))
        texts[file] = patched(text, (file, before, after), bug.name)
        assert texts[file] != text
    for file, text in texts.items():
        if file.endswith(".py"):
            ast.parse(text)


def exists(test: str) -> bool:
    """Whether the file of a node id has a test of that name; which of its cases is not asked."""
    file, _, name = test.partition("[")[0].partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_every_bug_names_a_test_that_exists(bug: Planted) -> None:
    """By file and function."""
    assert exists(bug.test)


@pytest.mark.parametrize("case", NAMED_CASES)
def test_every_named_case_has_its_tests_and_one_of_them_catches_a_bug(case: str) -> None:
    """A case without a test, or with tests that no bug was ever caught by, is only a name."""
    tests = NAMED_CASES[case]
    assert all(map(exists, tests)), tests
    assert any(bug.test in tests for bug in PLANTED), case


def test_names_are_unique_and_every_bug_says_what_it_costs() -> None:
    """A row that nobody understands is not kept."""
    assert max(Counter(bug.name for bug in PLANTED).values()) == 1
    assert all(len(bug.why) > 30 for bug in PLANTED)
    assert len(PLANTED) >= 40


def test_an_edit_that_fits_twice_or_not_at_all_fails_loudly() -> None:
    """Drift is told with the name of the bug."""
    for text in ("", "a a"):
        with pytest.raises(MovedOn, match="some-bug: the code moved on"):
            patched(text, ("file.py", "a", "b"), "some-bug")


@pytest.mark.parametrize(
    ("code", "seen", "caught"),
    [
        (0, Seen(cases=3), False),
        (1, Seen(cases=2, failed="x", phase="call", error="AssertionError"), True),
        (1, Seen(cases=2, failed="x", phase="call", error="Failed"), True),
        (1, Seen(cases=2, failed="x", phase="call", error="AttributeError"), False),
        (1, Seen(cases=0, failed="x", phase="setup", error="AssertionError"), False),
        (2, Seen(), False),
        (4, Seen(), False),
    ],
)
def test_only_an_assertion_of_the_named_test_catches(code: int, seen: Seen, caught: bool) -> None:
    """A copy that cannot be imported, or a test that is not found, must not pass for a bug that was caught."""
    assert judge(PLANTED[0], code, seen).caught is caught
