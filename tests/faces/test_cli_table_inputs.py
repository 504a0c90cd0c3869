"""`run`, `submit`, `check` with tables: one command from rows to answers, and one clear error for what does not fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from faces.cli_world import Program, ids_in, program_in, request, results_in, write_lines

ASK = ("-p", "Classify: {{ text }}", "-m", "claude-haiku-4-5")
TEXT = 'id;text\r\n007;"late, ""broken""\r\nand more"\r\n1e3;good\r\n'


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        (found.folder / "in.csv").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
        yield found


def test_a_table_becomes_answers_in_its_order(program: Program) -> None:
    """One command; given again it sends nothing (promise 7)."""
    command = ("run", "in.csv", *ASK, "--id-column", "id", "--sandbox", "-o", "out.jsonl")
    done = program(*command)
    assert (done.code, done.out) == (0, "")
    assert "in.csv: 2 requests" in done.err
    assert ids_in(program.folder / "out.jsonl") == ["007", "1e3"]
    assert [job["name"] for job in program("ls", "--json").facts["jobs"]] == ["in"]
    again = program(*command)
    assert again.code == 0
    assert "is there already" in again.err
    assert len(program("ls", "--json").facts["jobs"]) == 1


def test_another_question_is_another_job(program: Program) -> None:
    """It is never mixed into the old one, and --new makes it."""
    assert program("run", "in.csv", *ASK, "--sandbox").code == 0
    other = ("run", "in.csv", "-p", "Say {{ text }}", "-m", "claude-haiku-4-5", "--sandbox")
    done = program(*other)
    assert done.code == 2
    assert "or of a table the prompt, model, schema" in done.err
    assert program(*other, "--new").code == 0


def test_standard_input_says_its_format(program: Program) -> None:
    """Nothing tells it else."""
    done = program("run", "-", *ASK, "--sandbox", given=TEXT.encode())
    assert done.code == 2
    assert "its format" in done.err
    done = program("run", "-", *ASK, "--format", "csv", "--sandbox", given=TEXT.encode())
    assert done.code == 0
    assert [json.loads(line)["custom_id"] for line in done.out.splitlines()] == ["row-1", "row-2"]


def test_a_folder_and_several_files(program: Program) -> None:
    """The path names the request."""
    (program.folder / "prompts").mkdir()
    for name in ("b", "a"):
        (program.folder / f"prompts/{name}.txt").write_text(f"text {name}")
    assert program("run", "prompts", *ASK, "--sandbox", "-o", "folder.jsonl").code == 0
    assert ids_in(program.folder / "folder.jsonl") == ["a.txt", "b.txt"]
    done = program("run", "prompts/b.txt", "prompts/a.txt", *ASK, "--sandbox", "-o", "files.jsonl")
    assert done.code == 0
    assert "2 files: 2 requests" in done.err
    assert ids_in(program.folder / "files.jsonl") == ["prompts/b.txt", "prompts/a.txt"]
    assert program("run", "prompts/a.txt", "prompts/b.txt", *ASK, "--sandbox", "-o", "prompts/a.txt").code == 2


def test_check_tells_what_a_table_would_become(program: Program) -> None:
    """And lists what is wrong with its rows, by line and column."""
    done = program("check", "in.csv", *ASK, "--sandbox")
    assert done.code == 0
    assert "in.csv: 2 requests" in done.out
    (program.folder / "bad.csv").write_bytes(b"id,text\n1,caf\xe9\n2\n3,c\n")
    done = program("check", "bad.csv", *ASK, "--sandbox")
    assert done.code == 2
    assert "bad.csv:2: text: is not UTF-8 (byte 0xe9) (save it as UTF-8; from Latin-1: iconv" in done.out
    assert "bad.csv:3: text: is missing" in done.out
    facts = program("check", "bad.csv", *ASK, "--sandbox", "--json").facts
    assert (facts["requests"], facts["problem_count"]) == (1, 2)


def test_bad_rows_are_left_out_on_demand(program: Program) -> None:
    """They are written as they came, beside the output."""
    (program.folder / "bad.csv").write_text("id,text\n1,a\n2\n3,c\n")
    assert program("run", "bad.csv", *ASK, "--sandbox").code == 2
    assert program("run", "bad.csv", *ASK, "--sandbox", "--skip-bad", "-o", "out.jsonl").code == 0
    assert ids_in(program.folder / "out.jsonl") == ["row-1", "row-3"]
    (refused,) = (program.folder / "out.refused.jsonl").read_text().splitlines()
    assert (json.loads(refused)["line"], json.loads(refused)["raw"]) == (3, "2")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["in.csv"], "in.csv is a table (CSV): say what to ask of each row\nhint: with -p"),
        (["rows.jsonl"], "rows.jsonl is a file of rows (JSON Lines): say what to ask"),
        (["prompts"], "prompts is a folder of prompts: say what to ask"),
        (["a.txt", "b.txt"], "2 files are prompts, one each: say what to ask"),
        (["requests.jsonl", *ASK], "requests.jsonl has requests of the API's own form"),
        (["requests.jsonl", "-m", "x", "--max-tokens", "3"], "--model, --max-tokens need a template"),
        (
            ["in.csv", "-p", "{{ text }}"],
            "which model to ask is not said\nhint: say model (-m MODEL at the command line)",
        ),
        (["in.csv", *ASK, "--prompt-file", "x"], "--prompt and --prompt-file exclude each other"),
        (["in.csv", "-m", "x", "--prompt-file", "missing"], "--prompt-file: cannot read missing: No such file"),
        (["in.csv", "-p", "{{ text", "-m", "x"], "the prompt is not a template that can be read, line 1"),
        (["in.csv", *ASK, "--param", "top_k"], "--param top_k has no value"),
        (["in.csv", *ASK, "--param", "model=1"], "--param does not set model"),
        (["in.csv", *ASK, "--param", "a=x"], "--param a: x is not JSON"),
        (["in.csv", *ASK, "--param", "a=" + "[" * 5000], "--param a is nested too deeply"),
        (["in.csv", "-p", "\udce9{{ text }}", "-m", "x"], "--prompt is not UTF-8\nhint: write it in UTF-8"),
        (["in.csv", *ASK, "--system", "\udce9"], "--system is not UTF-8"),
        (["in.csv", "-p", "{{ text }}", "-m", "\udce9"], "--model is not UTF-8"),
        (["in.csv", *ASK, "--param", 'a="\udce9"'], "--param is not UTF-8"),
        (
            ["in.csv", *ASK, "--param", "temperature=0", "--api-version", "2026-10-21"],
            "temperature API version 2026-10-21 takes no sampling",
        ),
        (["in.csv", *ASK, "--schema", "label, n list"], "--schema: 'list' is no type of the field n"),
        (["in.csv", *ASK, "--schema", "missing.json"], "--schema: cannot read missing.json: No such file"),
        (["in.csv", *ASK, "--schema", "open.json"], "--schema open.json: the schema is an object that is open"),
        (
            ["in.csv", *ASK, "--schema", "a", "--param", 'output_config={"format":{}}'],
            "output_config has a format, and",
        ),
        (["requests.jsonl", "--schema", "a"], "sent as they are, with their schema in params.output_config.format"),
        (["rows.jsonl", *ASK, "--delimiter", ";"], "--delimiter is for CSV and TSV"),
        (["in.csv", *ASK, "--delimiter", "||"], "a delimiter is one character"),
        (["in.csv", "rows.jsonl", *ASK], "only one goes at a time"),
        (["table.dat", *ASK], "what kind of table table.dat is cannot be told\nhint: say its format"),
        (["in.csv", "-p", "{{ txt }}", "-m", "x"], "in.csv:2: txt: is no column, and the prompt uses it (line 2)"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(program: Program, words: list[str], says: str) -> None:
    """Exit code 2, what to do, and nothing stored."""
    (program.folder / "rows.jsonl").write_text('{"text": "a"}\n')
    (program.folder / "table.dat").write_text("a\n1\n")
    (program.folder / "open.json").write_text('{"type": "object"}')
    (program.folder / "prompts").mkdir()
    write_lines(program.folder / "requests.jsonl", [request(1)])
    done = program("run", *words, "--sandbox")
    assert done.code == 2
    assert says in done.err
    assert not program.db.exists() or not program("ls", "--sandbox", "--json").facts["jobs"]


@pytest.mark.parametrize("command", ["check", "submit"])
def test_every_command_tells_rows_from_requests(program: Program, command: str) -> None:
    """The same words, wherever an input is taken."""
    write_lines(program.folder / "requests.jsonl", [request(1)])
    done = program(command, "in.csv", "--sandbox")
    assert (done.code, "say what to ask of each row" in done.err) == (2, True)
    done = program(command, "requests.jsonl", *ASK, "--sandbox")
    assert (done.code, "the API's own form" in done.err) == (2, True)


def test_defaults_come_from_the_settings(program: Program) -> None:
    """And what is said comes before them."""
    (program.folder / "my.toml").write_text(
        '[defaults]\nmodel = "claude-haiku-4-5"\nmax_tokens = 7\nsystem = "Be {{ id }}"\n'
    )
    words = ("--config", "my.toml", "--sandbox", "--offline", "--json")
    facts = program("check", "in.csv", "-p", "{{ text }}", *words).facts
    own = program("check", "in.csv", "-p", "{{ text }}", *words, "--system", "", "--max-tokens", "1000").facts
    assert facts["requests"] == own["requests"] == 2
    assert facts["batches"] != own["batches"]


def test_a_running_daemon_gets_requests_that_are_made_here(program: Program) -> None:
    """The rows are read by the command; the same table is the same job, whoever asks."""
    with program.started("serve", "--sandbox", "--listen", "127.0.0.1:0") as daemon:
        daemon.says("dashboard and API")
        first = program("submit", "in.csv", *ASK, "--sandbox")
        assert first.code == 0
        again = program("run", "in.csv", *ASK, "--sandbox", "-o", "out.jsonl")
        assert again.code == 0
        assert "is there already" in again.err
        address = daemon.err.partition("dashboard and API: ")[2].split()[0]
        with urlopen(f"{address}/api/v1/jobs/{first.out.strip()}/results?rows=true") as answer:  # noqa: S310 - our own
            rows = [json.loads(line)["row"] for line in answer]
    assert rows == [{"id": "007", "text": 'late, "broken"\r\nand more'}, {"id": "1e3", "text": "good"}]
    assert ids_in(program.folder / "out.jsonl") == ["row-1", "row-2"]
    assert program("submit", "in.csv", *ASK, "--sandbox").out == first.out


def test_a_row_of_several_lines_goes_through_a_daemon(program: Program) -> None:
    """As JSON libraries write an array to be read; each line of results has the whole of one."""
    rows = [{"text": "a\nb", "n": 12345678901234567890123}, {"text": "c", "list": [1, {}]}]
    (program.folder / "rows.json").write_text(json.dumps(rows, indent=2))
    with program.started("serve", "--sandbox", "--listen", "127.0.0.1:0") as daemon:
        daemon.says("dashboard and API")
        first = program("submit", "rows.json", *ASK, "--sandbox")
        assert first.code == 0
        assert program("run", "rows.json", *ASK, "--sandbox", "-o", "out.jsonl").code == 0
        address = daemon.err.partition("dashboard and API: ")[2].split()[0]
        with urlopen(f"{address}/api/v1/jobs/{first.out.strip()}/results?rows=true") as answer:  # noqa: S310 - our own
            assert [json.loads(line)["row"] for line in answer] == rows


@pytest.mark.long
def test_a_crash_test_of_a_table(program: Program) -> None:
    """Every life reads the table anew."""
    (program.folder / "rows.csv").write_text("text\n" + "".join(f"word {number}\n" for number in range(30)))
    done = program("run", "rows.csv", *ASK, "--sandbox", "--crash-test", "--json", patience_s=240)
    assert done.code == 0
    assert results_in(program.folder).exists()
