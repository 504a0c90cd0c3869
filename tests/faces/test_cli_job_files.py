"""A job in one file: `init` writes it, `check`, `run` and `submit` take it; it confirms nothing that it costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.cli_world import Program, ids_in, program_in, request, sandbox_at, write_lines
from faces.test_cli_confirm import LOW


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        (found.folder / "work").mkdir()
        (found.folder / "work/in.csv").write_text("id,text\n007,it came late\n1e3,it is good\n", encoding="utf-8")
        yield found


def test_from_a_table_to_answers(program: Program) -> None:
    """What init writes is what run takes, and the same file is the same job (promise 7)."""
    place = "work/classify.toml"
    made = program("init", "work/in.csv", "-o", place)
    assert (made.code, "orchestrator check work/classify.toml" in made.err) == (0, True)
    again = program("init", "work/in.csv", "-o", place)
    assert (again.code, "is there already" in again.err) == (5, True)
    file = program.folder / place
    text = file.read_text(encoding="utf-8").replace("# output", "output").replace('name = "in"\n', "")
    file.write_text(text, encoding="utf-8")
    assert program("run", place, "--sandbox").code == 0
    assert "007,007,it came late," in (program.folder / "work/answers.csv").read_text(encoding="utf-8")
    done = program("run", place, "--sandbox", "-o", "mine.jsonl")
    assert (done.code, "is there already" in done.err) == (0, True)
    assert ids_in(program.folder / "mine.jsonl") == ["007", "1e3"]
    assert [job["name"] for job in program("ls", "--json").facts["jobs"]] == ["classify"]


def test_requests_of_the_apis_form_need_no_template(program: Program) -> None:
    """They have their own prompts."""
    write_lines(program.folder / "in.jsonl", [request(n) for n in range(3)])
    assert program("init", "in.jsonl").code == 0
    checked = program("check", "job.toml", "--offline", "--json", "--sandbox")
    assert (checked.code, checked.facts["requests"]) == (0, 3)


def test_a_job_file_is_no_file_of_requests_to_adopt_for(program: Program) -> None:
    """It says what there is instead, before anything is read."""
    (program.folder / "job.toml").write_text('input = "in.jsonl"\n', encoding="utf-8")
    told = program("batches", "adopt", "msgbatch_1", "job.toml", "--sandbox")
    assert (told.code, "`submit` the job file while no engine runs" in told.err) == (2, True)


def test_a_cap_of_a_file_confirms_nothing_and_raises_none(program: Program) -> None:
    """12: whoever wrote the file does not say what is spent; a person does, on the command line."""
    write_lines(program.folder / "in.jsonl", [request(n) for n in range(3)])
    file = program.folder / "job.toml"
    file.write_text('input = "in.jsonl"\nmax_cost = 2\n', encoding="utf-8")
    with sandbox_at(program) as api:
        unasked = program("submit", "job.toml", env={**LOW, **api})
        assert (unasked.code, "may cost up to $0.0" in unasked.err) == (5, True)
        assert program("submit", "job.toml", "--max-cost", "1", env={**LOW, **api}).code == 0
        raised = program("submit", "job.toml", env=api)
        assert (raised.code, "the job file says $2.00" in raised.err) == (5, True)
        file.write_text('input = "in.jsonl"\nmax_cost = 0.5\n', encoding="utf-8")
        assert program("submit", "job.toml", env=api).code == 0
        assert program("ls", "--json", env=api).facts["jobs"][0]["cost"]["cap"] == "0.500000000"
