"""The library takes rows: a template makes requests of them, and they come back with their answers."""

from __future__ import annotations

import pydoc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faces.client_world import QUICK, short_runtime_folder
from support.world import in_a_loop

from orchestrator import InputRefused, Orchestrator, SyncOrchestrator
from orchestrator.client.submission import SubmitOptions
from orchestrator.domain.errors import UsageError

ASK: dict[str, Any] = {"prompt": "Classify: {{ text }}", "model": "claude-haiku-4-5"}
ROWS = [{"id": 7, "text": "good", "score": 1.5}, {"id": 8, "text": "bad", "score": float("nan")}]


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def test_rows_go_in_and_come_back_as_a_table(tmp_path: Path) -> None:
    """A notebook's road: dicts in, dicts out; the same again is the same job, and a path is a table."""
    with SyncOrchestrator(tmp_path / "x.db", sandbox=True, **QUICK) as orc:
        job = orc.submit(
            (row for row in ROWS),
            **ASK,
            id_column="id",
            system="Be {{ id }}",
            params={"stop_sequences": ["END"]},
            limit=1,
        )
        assert job.name == "rows"
        (found,) = job.to_dicts()
        wanted = {"custom_id": "7", "id": 7, "text": "good", "score": 1.5, "status": "succeeded"}
        assert found.items() >= wanted.items()
        assert found["answer"].endswith("Classify: good")
        assert (
            orc.submit(ROWS, **ASK, id_column="id", system="Be {{ id }}", params={"stop_sequences": ["END"]}).id
            == job.id
        )
        (tmp_path / "in.csv").write_text("text\ngood\n")
        of_path, of_file = orc.submit(tmp_path / "in.csv", **ASK), orc.submit_file(tmp_path / "in.csv", **ASK)
        assert (of_path.id, of_path.name) == (of_file.id, "in")
        assert orc.estimate(ROWS, **ASK, offline=True).requests == 2
        with pytest.raises(InputRefused, match="rows:1: txt: is no column of this row"):
            orc.submit(ROWS, prompt="{{ txt }}", model="m")
        with pytest.raises(UsageError, match="which model to ask is not said"):
            orc.submit(ROWS, prompt="{{ text }}")
        for hand_in in (orc.submit, orc.submit_file):
            with pytest.raises(UsageError):
                hand_in(str(tmp_path / "in.csv"))


@in_a_loop
async def test_a_loop_and_the_settings_defaults_do(tmp_path: Path) -> None:
    """Model, max_tokens and system prompt are those of `[defaults]` where nothing is said."""
    more: dict[str, Any] = {
        "defaults__model": "claude-haiku-4-5",
        "defaults__max_tokens": 9,
        "defaults__system": "Be terse.",
    }
    async with Orchestrator(tmp_path / "x.db", sandbox=True, **QUICK, **more) as orc:
        job = await orc.submit(ROWS, prompt="{{ text }}")
        found = [result async for result in job.results()]
        assert [(result.custom_id, result.row) for result in found] == [
            ("row-1", ROWS[0]),
            ("row-2", {**ROWS[1], "score": None}),
        ]
        params = (await job.request("row-1")).params
        assert params is not None
        assert params.startswith(b'{"model":"claude-haiku-4-5","max_tokens":9,"system":"Be terse."')


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"model": "m", "max_tokens": 3}, "model, max_tokens need a prompt"),
        ({**ASK, "params": {"model": "m"}}, "params does not set model"),
        ({**ASK, "params": {"x": {"y": object()}}}, "params: x.y is an object, which has no JSON form"),
        ({**ASK, "params": ["top_k=5"]}, "params is of type list"),
        ({**ASK, "max_tokens": "5"}, "max_tokens is of type str"),
        ({**ASK, "max_tokens": 0}, "max_tokens is 0"),
        ({**ASK, "format": "xls"}, "there is no format 'xls'"),
        ({**ASK, "delimiter": "||"}, "the delimiter cannot be used"),
        ({**ASK, "promt": "x"}, "there is no option 'promt'"),
    ],
)
def test_an_option_that_does_not_fit_is_one_clear_error(how: Any, says: str) -> None:
    """Before anything is read."""
    with pytest.raises(UsageError) as caught:
        SubmitOptions.of(None, how)
    assert says in caught.value.message
    assert caught.value.hint


def test_an_open_job_takes_no_rows() -> None:
    """Its requests are added one by one, as they are sent."""
    with pytest.raises(UsageError, match="there is no option 'prompt'"):
        SubmitOptions.of("x", {"prompt": "y"}, may_be_rows=False)  # type: ignore[typeddict-unknown-key]


def test_help_lists_every_option() -> None:
    """`help(orc.submit)` is what a notebook's user reads."""
    from orchestrator import RowSubmission

    told = pydoc.render_doc(Orchestrator.submit)
    assert [option for option in RowSubmission.__annotations__ if f"{option}" not in told] == []
