"""The snippets of the API's guide run unchanged against the daemon: only ANTHROPIC_BASE_URL is another."""

from __future__ import annotations

import os
from pathlib import Path

from faces.client_world import SLOW
from faces.messages_world import Served, served
from support.forked import PIPE, start_script

GUIDE = Path(__file__).parent.parent.parent / "examples" / "guide"

RUN = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"


def run(world: Served, example: str, *arguments: str) -> list[str]:
    """The lines that the example prints; it must end well and say nothing on stderr."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("ANTHROPIC", "ORCHESTRATOR"))}
    environ |= {"ANTHROPIC_BASE_URL": world.url, "ANTHROPIC_API_KEY": "any", "SECONDS_BETWEEN": "0.1"}
    with start_script(RUN, str(GUIDE / example), *arguments, env=environ, stdout=PIPE, stderr=PIPE) as process:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b"")
    return out.decode().splitlines()


def test_create_poll_and_results(tmp_path: Path) -> None:
    """Three programs, one after the other, that share only the batch's id."""
    with served(tmp_path) as world:
        created = run(world, "create.py")
        batch_id = created[0].removeprefix("Batch ID: ")
        assert created[1] == "Status: in_progress"
        assert run(world, "poll.py", batch_id)[-3:] == ["Batch complete!", "Succeeded: 2", "Errored: 0"]
        results = run(world, "results.py", batch_id)
        assert [line.split("] ")[0] for line in results] == ["[request-1", "[request-2"]
        assert "Summarize climate change impacts" in results[0]


def test_cancel(tmp_path: Path) -> None:
    """The guide says what is printed."""
    with served(tmp_path, **SLOW) as world:
        batch_id = run(world, "create.py")[0].removeprefix("Batch ID: ")
        assert run(world, "cancel.py", batch_id) == ["Status: canceling"]


def test_prompt_caching_and_end_to_end(tmp_path: Path) -> None:
    """A document that all requests share, and the whole way in one program."""
    with served(tmp_path) as world:
        batch_id = run(world, "prompt_caching.py")[0].removeprefix("Batch ID: ")
        assert "Succeeded: 3" in run(world, "poll.py", batch_id)
        lines = run(world, "end_to_end.py")
        assert lines[0].startswith("Created batch: msgbatch_01")
        assert [line.split(": ")[0] for line in lines[1:]] == ["classify-0", "classify-1", "classify-2"]


def test_every_snippet_of_the_guide_is_here() -> None:
    """A snippet that is added to the folder is run above."""
    known = ["cancel.py", "create.py", "end_to_end.py", "poll.py", "prompt_caching.py", "results.py"]
    assert sorted(path.name for path in GUIDE.glob("*.py")) == known
