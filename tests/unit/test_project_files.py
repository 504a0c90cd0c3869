"""The files around the code say what the code does."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tomllib
from pathlib import Path

import msgspec
import pytest

import orchestrator
from orchestrator.config import render_example
from orchestrator.domain.api_versions import NEWEST_API_VERSION
from orchestrator.domain.params import ParamRules, problems_in

ROOT = Path(__file__).parents[2]


class Row(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    params: msgspec.Raw


def test_the_example_configuration_is_the_one_the_code_writes() -> None:
    """`config init` and `config.example.toml` are one text; CONTRIBUTING.md says how to write it anew."""
    assert (ROOT / "config.example.toml").read_text(encoding="utf-8") == render_example()


def test_the_licence_is_the_apache_licence_unchanged() -> None:
    """The digest is that of the text at apache.org/licenses/LICENSE-2.0.txt."""
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_version_is_the_same_everywhere() -> None:
    """`--version` must not ask the package metadata: that costs more than the whole command may."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == orchestrator.__version__


def test_the_distribution_has_a_name_of_its_own() -> None:
    """N (b) 1.4: on PyPI `orchestrator` is somebody else's; the import and the command keep that name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    own = f"{project['project']['name']}["
    assert own == "batch-orchestrator["
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    named = [entry for entry in (*extras["test"], *extras["dev"], *groups["dev"]) if "orchestrator[" in entry]
    assert len(named) == 3
    assert all(entry.startswith(own) for entry in named)
    for file in [
        *ROOT.glob("*.md"),
        *ROOT.glob("deploy/*.*"),
        *ROOT.glob("orchestrator/**/*.py"),
        *ROOT.glob("*.toml"),
    ]:
        text = file.read_text(encoding="utf-8").replace(own, "")
        assert "orchestrator[" not in text, file
        assert "pip install orchestrator" not in text, file


def test_uv_run_installs_no_tool_of_development() -> None:
    """N (b) 1.2: README's `uv run orchestrator` brought a browser, a type checker and a linter along."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]["default-groups"] == []


def test_every_request_of_the_example_may_go_into_a_batch() -> None:
    """`make demo` is the first thing a user sees: all 200 are valid, distinct and small."""
    rows = [msgspec.json.decode(line, type=Row) for line in (ROOT / "examples/reviews.jsonl").read_bytes().splitlines()]
    assert [row.custom_id for row in rows] == [f"review-{number:03d}" for number in range(1, 201)]
    assert len({bytes(row.params) for row in rows}) == 200
    rules = ParamRules(api_version=NEWEST_API_VERSION)
    assert not [problem for row in rows for problem in problems_in(bytes(row.params), rules)]


@pytest.mark.process
def test_the_makefile_explains_its_targets() -> None:
    """`make` alone is safe, and lists every target that is meant for people."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = text.partition(".PHONY: ")[2].partition("\n")[0].split()
    done = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True)
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  make ")] == targets


def test_the_check_script_can_be_run() -> None:
    """It is called by its path, not through a shell."""
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_architecture_names_modules_that_are_there() -> None:
    """A map that names what is gone leads nowhere."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+/[a-z_./]*)`", text))
    assert len(named) > 40
    for name in named:
        assert any(
            (base / f"{name}{ending}").exists() for base in (ROOT, ROOT / "orchestrator") for ending in ("", ".py")
        ), name


def test_every_promise_that_is_cited_has_its_number() -> None:
    """A cited promise ("promise 2") can be looked up: ARCHITECTURE has the list, docs/promises.md the proof."""
    listed = re.findall(r"^(\d+)\. \*\*", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE)
    proven = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "promises.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == proven == [str(number) for number in range(1, 16)]
    for folder in ("orchestrator", "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            for cited in re.findall(r"[Pp]romises? ([\d, and]*\d)", path.read_text(encoding="utf-8")):
                assert set(re.findall(r"\d+", cited)) <= set(listed), path
