"""The errors of the library: each has a public name, and says what is wrong."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from faces.client_world import QUICK, requests, short_runtime_folder

import orchestrator
from orchestrator import InputRefused, Orchestrator, OrchestratorError, SyncOrchestrator, UsageError
from orchestrator.client.errors import DoesNotApplyError, RefusedError
from orchestrator.domain import errors

#: Answers of the engine that the client itself turns into something else.
_INNER = {DoesNotApplyError, RefusedError}


def every(kind: type[OrchestratorError]) -> set[type[OrchestratorError]]:
    return {kind}.union(*(every(inner) for inner in kind.__subclasses__()))


def test_every_error_class_can_be_imported_from_the_package() -> None:
    """F24: what can be raised can be caught by a public name, and every name has its docstring."""
    ours = {
        kind
        for kind in every(OrchestratorError)
        if kind.__module__.startswith(("orchestrator.domain", "orchestrator.client"))
    }
    assert len(ours) > 15
    for kind in ours - _INNER:
        assert getattr(orchestrator, kind.__name__) is kind
        assert kind.__name__ in orchestrator.__all__
        assert kind.__doc__


def test_the_tree_of_errors_is_drawn_whole() -> None:
    """F24: the docstring of `domain.errors` has every class of the module."""
    told = {line.strip("│├└─ ").split()[0] for line in str(errors.__doc__).splitlines() if "──" in line}
    in_code = {
        node.name for node in ast.parse(Path(errors.__file__).read_text()).body if isinstance(node, ast.ClassDef)
    }
    assert told | {"OrchestratorError"} == in_code


def test_an_error_says_what_why_and_what_to_do() -> None:
    """F24: a traceback ends in `str(error)`, so all three are in it."""
    found = UsageError("db and server exclude each other", cause="both are given", hint="leave one out")
    assert str(found) == "db and server exclude each other\nboth are given\nhint: leave one out"
    assert str(UsageError("alone")) == "alone"


def test_refused_requests_are_told_with_their_fields_and_remedies(tmp_path: Path) -> None:
    """F24: the first problems are in the words of the error, up to twenty, and how many more there are; by cause."""
    bad = [{**request, chr(ord("A") + place): 1} for place, request in enumerate(requests(30))]
    alike = [{**request, "params": {**request["params"], "max_tokens": 0}} for request in requests(30)]
    with short_runtime_folder(), SyncOrchestrator(tmp_path / "db", sandbox=True, **QUICK) as orc:
        with pytest.raises(InputRefused) as caught:
            orc.submit(bad)
        with pytest.raises(
            InputRefused, match=r"requests:1: params\.max_tokens: .*: 30 lines have it \(1, 2, 3, 4, 5, …\)"
        ):
            orc.submit(alike)
        with pytest.raises(UsageError, match="submit_file"):
            orc.submit("in.jsonl")
    lines = str(caught.value).splitlines()
    assert lines[0] == "requests has 30 problems"
    assert lines[1].startswith("requests:1: A: ")
    assert lines[20].startswith("requests:20: T: ")
    assert lines[21] == "… and 10 more"
    assert lines[22] == "hint: nothing was stored; fix them: every line has one"


@pytest.mark.parametrize("make", [Orchestrator, SyncOrchestrator])
@pytest.mark.parametrize(
    ("argument", "said", "remedy"),
    [
        ("api_key", "an API key is not taken as an argument (api_key)", "set ANTHROPIC_API_KEY, or name a file"),
        ("api__key", "an API key is not taken as an argument (api__key)", 'api__key_file="PATH"'),
        ("sanbox", "there is no argument 'sanbox'", 'did you mean "sandbox"?'),
        ("poll_interval", "there is no argument 'poll_interval'", 'did you mean "limits__poll_interval"?'),
        ("limits__poll", "there is no argument 'limits__poll'", 'did you mean "limits__poll_interval"?'),
        ("limits", "limits is a section, not a setting", "such as limits__"),
        ("zzz", "there is no argument 'zzz'", "config.example.toml"),
    ],
)
def test_an_argument_that_does_not_exist_is_refused_with_the_one_that_was_meant(
    make: Callable[..., object], argument: str, said: str, remedy: str
) -> None:
    """Where the mistake stands, in a program's words ("flag" is the command line's), and never with the value."""
    with pytest.raises(UsageError) as caught:
        make(**{argument: "sk-ant-canary"})
    assert caught.value.message == said
    assert remedy in str(caught.value.hint)
    assert "canary" not in str(caught.value)
    assert "flag" not in str(caught.value)
