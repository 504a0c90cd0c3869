"""The public surface of the package: what it is, that it loads lazily, and that the documents use nothing else."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator

ROOT = Path(orchestrator.__file__).parents[1]
NAMES = set(orchestrator.__all__) - {"__version__"}
#: Where a program may import from.
PACKAGE = "orchestrator"


def test_the_public_names_can_be_listed() -> None:
    """`dir()` and the completion of a notebook show them before they are loaded."""
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    assert "version" in dir(orchestrator)  # what is loaded


def test_every_public_name_is_there_and_documented() -> None:
    """Each name of `__all__` is the class of one module, and has its docstring."""
    homes = [importlib.import_module(f"{PACKAGE}.{home}") for home in orchestrator._HOMES]
    for name in NAMES:
        found = getattr(orchestrator, name)
        assert [home.__name__ for home in homes if found.__module__ == home.__name__] == [found.__module__], name
        assert {getattr(home, name) for home in homes if hasattr(home, name)} == {found}
        assert inspect.getdoc(found), name


def test_the_reference_has_the_public_surface() -> None:
    """What is public is said where users look: the page of the library names each of `__all__`."""
    page = (ROOT / "docs/reference/library.md").read_text()
    assert {*re.findall(r"^## (\w+)$", page, re.MULTILINE), *re.findall(r"^\| `(\w+)`", page, re.MULTILINE)} - {
        "Errors"
    } == NAMES


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_the_front_has_no_names_that_are_for_the_commands_alone() -> None:
    """What only the commands and the blocking twin need is private."""
    assert public(orchestrator.Orchestrator) == {
        "embedded", "estimate", "fleet", "health", "job", "jobs", "map", "open_job", "submit", "submit_file",
    }  # fmt: skip
    assert public(orchestrator.OpenJob) == {"add", "close", "job"}


@pytest.mark.parametrize(
    ("asynchronous", "blocking", "only_blocking", "only_asynchronous"),
    [
        (orchestrator.Orchestrator, orchestrator.SyncOrchestrator, {"open", "close"}, {"health"}),
        (orchestrator.Job, orchestrator.SyncJob, set(), {"page"}),
        (orchestrator.OpenJob, orchestrator.SyncOpenJob, set(), set()),
    ],
)
def test_the_blocking_twin_has_the_same_methods_and_arguments(
    asynchronous: type, blocking: type, only_blocking: set[str], only_asynchronous: set[str]
) -> None:
    """A script is a program without `await`, and nothing else."""
    assert public(blocking) - only_blocking == public(asynchronous) - only_asynchronous
    for name in public(blocking) & public(asynchronous):
        ours, theirs = getattr(blocking, name), getattr(asynchronous, name)
        if callable(ours):
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters), name


def test_importing_the_package_costs_nothing() -> None:
    """F24: the names are loaded when they are used."""
    look = "import sys, orchestrator; print('orchestrator.client' in sys.modules, 'anthropic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def programs() -> Iterator[tuple[str, str]]:
    """Every program that users are shown, with the place where it stands."""
    for path in sorted((ROOT / "examples").rglob("*.py")):
        yield str(path.relative_to(ROOT)), path.read_text()
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]):
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)):
            yield f"{path.relative_to(ROOT)}#{number}", code


@pytest.mark.parametrize(("place", "code"), [pytest.param(*found, id=found[0]) for found in programs()])
def test_the_documents_use_public_names_only(place: str, code: str) -> None:
    """What a user copies keeps working: it imports from the package alone, and reads no private attribute."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.ImportFrom(module=str() as module) if module.split(".")[0] == PACKAGE:
                assert module == PACKAGE, place
                assert {name.name for name in node.names} <= NAMES, place
            case ast.Import():
                assert not any(name.name.startswith(f"{PACKAGE}.") for name in node.names), place
            case ast.Attribute(attr=name):
                assert not name.startswith("_") or name.endswith("__"), place
