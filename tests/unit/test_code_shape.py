"""The shape of the code: small functions, few imports, and a name for one thing only."""

import pytest

from tools.measure_code import ROOT, Measured, measure, reused


@pytest.fixture(scope="module")
def code() -> Measured:
    return measure(ROOT)


def test_a_name_means_one_thing(code: Measured) -> None:
    """Who reads a class's name knows which one it is; ten names of modules may be those of two layers, as `plan`."""
    assert reused(code.classes) == {}
    assert len(reused(code.modules)) <= 10


def test_a_sentence_is_written_once(code: Measured) -> None:
    """A docstring that is a copy drifts: a method that says no more than its port has `@override` and none."""
    assert [line for line, count in code.first_lines.items() if count > 1] == []


def test_functions_fit_a_screen_and_do_something(code: Measured) -> None:
    """Half have at most five lines, nine of ten at most fifteen, and few only hand their arguments on."""
    lengths = sorted(code.functions)
    assert lengths[len(lengths) // 2] <= 5
    assert lengths[int(len(lengths) * 0.9)] <= 15
    assert lengths[-1] <= 44
    assert len(code.forwarders) <= 0.04 * len(lengths)


def test_a_file_is_not_mostly_imports(code: Measured) -> None:
    """Many imports are many small files: what belongs together is one module."""
    assert code.imports <= 0.115 * code.code
