"""The examples run as they stand, as a reader would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
ANSWER = "SANDBOX canned answer to: "


def run(example: str, database: Path) -> list[str]:
    """The lines that *example* prints in the sandbox; it must end well, without a key, and say nothing on stderr."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("ANTHROPIC", "ORCHESTRATOR"))}
    # A socket's path is short, and pytest's folders are not.
    environ.pop("XDG_RUNTIME_DIR", None)
    command = [sys.executable, "-W", "error", str(EXAMPLES / example), "--sandbox", "--db", str(database)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, cwd=database.parent, env=environ
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_guides_end_to_end_example_answers_every_request_once(tmp_path: Path) -> None:
    """The guide's own example with this library; run again, it finds its job instead of paying again."""
    first = run("guide_end_to_end.py", tmp_path / "x.db")
    assert first[0].startswith("Created job: classify-")
    assert first[1] == "Job finished: 3 succeeded, 0 failed"
    assert [line.split(": ")[0] for line in first[2:]] == ["classify-0", "classify-1", "classify-2"]
    assert all(ANSWER in line for line in first[2:])
    second = run("guide_end_to_end.py", tmp_path / "x.db")
    assert second[0] == first[0].replace("Created", "Found")
    assert second[1:] == first[1:]


@pytest.mark.long
def test_the_prompt_caching_example_answers_every_question(tmp_path: Path) -> None:
    """The guide's prompt caching example, without a loop, with the SDK's own message objects."""
    lines = run("prompt_caching.py", tmp_path / "x.db")
    assert [line.split(": ")[0] for line in lines[1:]] == [f"analysis-{i}" for i in range(4)]


def test_the_dataframe_example_prints_the_answers_beside_the_rows(tmp_path: Path) -> None:
    """A DataFrame in, a DataFrame out, each row with its answer."""
    pytest.importorskip("pandas", reason="a tool of development: pip install pandas")
    head, *rows = run("ask_about_a_dataframe.py", tmp_path / "x.db")
    assert head.split() == ["id", "product", "answer", "status"]
    assert [row.split()[0] for row in rows] == ["007", "008"]
    assert all(ANSWER in row and row.endswith("succeeded") for row in rows)


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_every_example_tells_how_it_is_run(example: str) -> None:
    """An example's first lines name the command, and its options explain themselves."""
    assert f"python examples/{example} --sandbox" in (EXAMPLES / example).read_text("utf-8")
    told = subprocess.run(
        [sys.executable, str(EXAMPLES / example), "--help"], check=True, capture_output=True, text=True, timeout=60
    )
    assert "--sandbox" in told.stdout
