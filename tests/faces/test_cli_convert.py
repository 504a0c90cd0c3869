"""`convert`: the requests whole or not at all, the rest listed; and the way there from `run`, `check` and `submit`."""

from __future__ import annotations

import json
from typing import Final

from faces.cli_world import Program, ids_in, write_lines

MODEL = ("-m", "claude-haiku-4-5")


def line(number: int, **body: object) -> dict[str, object]:
    said = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, **body}
    return {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": said}


def test_a_file_is_written_with_a_list_of_what_was_left_out(program: Program) -> None:
    """Grouped by cause; the same command again changes nothing, and other content is not replaced unasked."""
    source, output = (
        write_lines(program.folder / "a.jsonl", [line(n, seed=n) for n in range(9)]),
        program.folder / "out.jsonl",
    )
    words = ("convert", source, *MODEL, "-o", "out.jsonl")
    done = program(*words)
    assert done.code == 0
    assert ids_in(output) == [f"r{n}" for n in range(9)]
    assert "seed: Claude has none" in done.err
    assert "(9 requests: lines 1, 2, 3, 4, 5, …)" in done.err
    assert "as it was there already" in program(*words).err
    other = ("convert", source, "-m", "claude-opus-4-6", "-o", "out.jsonl")
    assert (program(*other).code, "claude-opus" in output.read_text()) == (2, False)
    facts = program(*other, "--overwrite", "--json").facts
    assert (facts["requests"], facts["left_out"][0]["field"], facts["problem_count"]) == (9, "seed", 0)
    assert "claude-opus" in output.read_text()
    assert [path for path in program.folder.iterdir() if path.suffix == ".tmp"] == []


def test_a_bad_line_writes_nothing_or_is_left_out(program: Program) -> None:
    """Neither to a file nor to standard output."""
    source = write_lines(program.folder / "a.jsonl", [line(1), line(2, max_tokens=0), line(3)])
    output = program.folder / "out.jsonl"
    for words in (("-o", "out.jsonl"), ()):
        done = program("convert", source, *MODEL, *words)
        assert (done.code, done.out, output.exists()) == (2, "", False)
        assert "a.jsonl:2: body.max_tokens" in done.err
    assert program("convert", source, *MODEL, "-o", "out.jsonl", "--skip-bad").code == 0
    assert ids_in(output) == ["r1", "r3"]
    (refused,) = (program.folder / "out.refused.jsonl").read_text().splitlines()
    assert json.loads(refused)["line"] == 2


def test_it_stands_in_a_pipe(program: Program) -> None:
    """From standard input, to standard output."""
    text = "".join(json.dumps(line(n)) + "\n" for n in (1, 2))
    done = program("convert", "-", *MODEL, given=text.encode())
    assert (done.code, [json.loads(each)["custom_id"] for each in done.out.splitlines()]) == (0, ["r1", "r2"])


#: What is given, and what it says.
WRONG: Final = {
    "convert a.csv": "a.csv is a table (CSV): a template makes requests of it",
    "convert missing.jsonl -m x": "cannot read missing.jsonl",
    "convert a.jsonl -o a.jsonl": "the requests would replace the input",
    "convert a.jsonl --json": "--json and the requests cannot both go to stdout",
    "convert a.jsonl": "say which to ask: -m MODEL",
    "convert a.jsonl -m x -o no/such": "there is no such folder",
    "check a.jsonl": "a.jsonl is an OpenAI batch file (custom_id, method, url, body)\nhint: `orchestrator convert",
    "run chat.jsonl": "chat.jsonl is a file of chat rows (messages)\nhint: `orchestrator convert chat.jsonl -m",
    "submit prompt.jsonl": "say what to ask of each row\nhint: with -p '{{ prompt }}' -m MODEL",
}


def test_what_is_given_wrongly_is_told_with_the_way_on(program: Program) -> None:
    """One error, one remedy; nothing is written or stored."""
    write_lines(program.folder / "a.jsonl", [line(1)])
    write_lines(program.folder / "chat.jsonl", [{"messages": [{"role": "user", "content": "hi"}]}])
    write_lines(program.folder / "prompt.jsonl", [{"prompt": "hi"}])
    (program.folder / "a.csv").write_text("a,b\n1,2\n")
    before = sorted(path.name for path in program.folder.iterdir())
    for words, says in WRONG.items():
        done = program(*words.split())
        assert done.code == 2, words
        assert says in done.err
    assert sorted(path.name for path in program.folder.iterdir()) == before


def test_lines_of_bedrocks_batches_become_requests(program: Program) -> None:
    """They were taken for rows, whose columns a template would print; their input is what Claude is given."""
    said = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    rows = [{"recordId": f"b{n}", "modelInput": said} for n in range(2)]
    source = write_lines(program.folder / "a.jsonl", rows)
    told = program("check", source)
    assert "a.jsonl is a Bedrock batch file (recordId, modelInput)" in told.err
    assert "orchestrator convert a.jsonl -m MODEL" in told.err
    assert "model: is missing: 2 lines have it" in program("convert", source).err
    made = [json.loads(each) for each in program("convert", source, *MODEL).out.splitlines()]
    params = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": said["messages"]}
    assert made == [{"custom_id": f"b{n}", "params": params} for n in range(2)]
    odd = write_lines(program.folder / "b.jsonl", [{"recordId": "x", "modelInput": {"inputText": "hi"}}])
    assert "modelInput: is not what Claude is given" in program("convert", odd, *MODEL).err
