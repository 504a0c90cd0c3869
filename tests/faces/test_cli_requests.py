"""The requests of a job at the command line: listed, written back as an input, shown one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from faces.cli_world import Done, Program, program_in

COUNT = 120
WORDS = ("succeeded", "failed", "invalid", "refusal", "max_tokens", "invalid_request_error", "invalid_answer")
ASK = ("-p", "Classify: {{ text }}", "-m", "claude-haiku-4-5", "--schema", "label, score float", "--retry-invalid", "0")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A store with one job of every kind of end, made of a table."""
    with program_in(tmp_path_factory.mktemp("requests")) as found:
        table = "".join(f't-{n},"review {n}\n\x1b[2J"\n' for n in range(COUNT))
        (found.folder / "in.csv").write_text(f"id,text\n{table}")
        faults = {"ORCHESTRATOR_SANDBOX__FAULTS": "invalid=.2,cut=.2,bad_json=.2,refusal=.2"}
        assert found("run", "in.csv", *ASK, "--sandbox", "-o", "out.csv", env=faults).code == 1
        yield found


def asked(program: Program, *args: str) -> Done:
    """`requests` of the job."""
    done = program("requests", "@last", *args)
    assert done.code == 0, done.err
    return done


def ids(text: str) -> list[str]:
    return [json.loads(line)["custom_id"] for line in text.splitlines()]


@pytest.mark.parametrize("word", WORDS)
def test_only_means_the_same_as_of_results(program: Program, word: str) -> None:
    """A word that chooses results chooses their requests."""
    results = program("results", "@last", "--only", word)
    assert ids(asked(program, "--only", word, "-o", "-").out) == ids(results.out)


def test_the_list_goes_on_at_its_cursor_and_says_what_became_of_each(program: Program) -> None:
    """Pages lose nothing; a screen has what the JSON has."""
    seen: list[dict[str, Any]] = []
    more: list[str] = []
    while True:
        page = asked(program, "--json", "--limit", "25", *more).facts
        seen += page["requests"]
        if page["next"] is None:
            break
        more = ["--cursor", page["next"]]
    assert ([row["number"] for row in seen], page["sandbox"]) == (list(range(1, COUNT + 1)), True)
    refused = [row for row in seen if row["stop_reason"] == "refusal"]
    assert refused
    assert all(row["output_tokens"] and float(row["cost"]) >= 0 for row in refused)
    shown = asked(program, "--stop", "refusal")
    assert [line.split()[0] for line in shown.out.splitlines()[2:]] == [row["custom_id"] for row in refused]
    assert "there are more: --cursor " in asked(program, "-n", "1").err
    assert "no such request" in asked(program, "--only", "succeeded", "--state", "failed").out
    assert "its failures are of these types: " in asked(program, "--only", "canceled").err
    assert program("requests", "@last", "--cursor", "x").code == 2


def test_requests_are_found_by_how_their_ids_begin_and_by_their_place(program: Program) -> None:
    """Over the whole job, in the list and in what is written, whatever else is asked of them."""
    begin = [f"row-{n}" for n in range(1, COUNT + 1) if str(n).startswith("1")]
    assert ids(asked(program, "--id-prefix", "row-1", "-o", "-").out) == begin
    page = asked(program, "--id-prefix", "row-1", "--from", "101", "-n", "3", "--json").facts
    assert [row["custom_id"] for row in page["requests"]] == ["row-101", "row-102", "row-103"]
    more = asked(program, "--id-prefix", "row-1", "--from", "101", "--cursor", page["next"], "--json").facts
    assert more["requests"][0]["custom_id"] == "row-104"
    failed = ids(asked(program, "--state", "failed", "-o", "-").out)
    some = ids(asked(program, "--state", "failed", "--id-prefix", "row-1", "-o", "-").out)
    assert some == [one for one in failed if one in begin]
    assert "no such request" in asked(program, "--id-prefix", "Row-1").out


@pytest.mark.parametrize("args", [("requests",), ("requests", "-o", "odd.jsonl"), ("results", "-o", "odd.csv")])
def test_a_word_that_nothing_is_so_is_answered_with_what_was_meant(program: Program, args: tuple[str, ...]) -> None:
    """A slip is no empty answer: nothing is written. The word that `status` prints leads to ours."""
    command, *more = args
    done = program(command, "@last", "--only", "refused", *more)
    assert (done.code, list(program.folder.glob("odd.*"))) == (2, [])
    for told in ('did you mean "refusal"?', "its failures are of these types: ", "its answers ended by: "):
        assert told in done.err
    if command == "requests":
        assert program(command, "@last", "--only", "overloaded_error").code == 0  # none is so, and might have been
        assert 'did you mean "refusal"?' in program(command, "@last", "--stop", "refusl", *more).err


def test_what_is_written_can_be_handed_in_again(program: Program) -> None:
    """In the API's own lines, in input order; with the rows, the same table comes of it."""
    folder = program.folder
    done = asked(program, "--state", "failed", "-o", "failed.jsonl", "--rows", "--json").facts
    written = (folder / "failed.jsonl").read_text()
    assert (done["written"], done["output"]) == (len(ids(written)), "failed.jsonl")
    first = json.loads(written.splitlines()[0])
    assert first["params"]["messages"][0]["content"] == f"Classify: {first['row']['text']}"
    assert set(json.loads(asked(program, "-o", "-").out.splitlines()[0])) == {"custom_id", "params"}
    assert program("check", "failed.jsonl", "--offline").code == 0
    assert asked(program, "--state", "failed", "--rows", "-o", "failed.jsonl").code == 0  # the same once more
    other = program("requests", "@last", "-o", "failed.jsonl")
    assert (other.code, (folder / "failed.jsonl").read_text()) == (2, written)
    assert "--overwrite" in other.err
    assert asked(program, "-o", "failed.jsonl.gz", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--rows",), "name it: -o FILE"),
        (("-o", "x.csv"), "JSON Lines"),
        (("-o", "-", "--json"), "cannot both go to stdout"),
        (("-o", "store.db"), "would replace the store"),
        (("-o", "x.jsonl", "--cursor", "WzEsNF0"), "leave one out"),
        (("-o", "x.jsonl", "--from", "7"), "leave one out"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_remedy(program: Program, args: tuple[str, ...], told: str) -> None:
    """Nothing is written."""
    refused = program("requests", "@last", *args)
    assert (refused.code, told in refused.err) == (2, True), refused.err
    assert not list(program.folder.glob("x.*"))


def test_the_words_of_a_choice_are_completed(program: Program) -> None:
    """States, stop reasons and kinds of results."""
    asking = {"_ORCHESTRATOR_COMPLETE": "bash_complete", "COMP_CWORD": "4"}
    for flag, typed, word in (("--state", "fa", "failed"), ("--stop", "ref", "refusal"), ("--only", "inv", "invalid")):
        line = f"orchestrator requests x {flag} {typed}"
        assert program(env={**asking, "COMP_WORDS": line}).out.split() == [f"plain,{word}"]


def first(program: Program, *args: str) -> str:
    """The custom_id of the first request that is so."""
    found: str = asked(program, "--json", "-n", "1", *args).facts["requests"][0]["custom_id"]
    return found


def test_one_request_is_shown_with_its_prompt_its_answer_and_its_fields(program: Program) -> None:
    """As text that steers no terminal, and keeps its lines."""
    own = first(program, "--stop", "end_turn")
    shown = program("show", "@last", own).out
    assert "SANDBOX" in shown
    assert "\x1b" not in shown
    assert f"request    {own}  (line " in shown
    assert "state      succeeded, 1 attempt, batch 1\n" in shown
    assert "user       Classify: review " in shown
    assert "\n           \\x1b[2J\n" in shown
    for title in (
        "model      claude-haiku-4-5, stopped by end_turn",
        "cost       $",
        "fields     label: ",
        "row        id: t-",
    ):
        assert title in shown, title


def test_what_failed_is_shown_with_its_answer_and_each_attempt(program: Program) -> None:
    """An invalid answer was paid for: it is there, and what it took and cost, in the list as well as in tables."""
    rows = asked(program, "--json", "--only", "invalid", "-n", "1000").facts["requests"]
    table = program(
        "results", "@last", "--only", "invalid", "--format", "csv", "--columns", "input_tokens,output_tokens"
    )
    told = [f"{row['input_tokens']},{row['output_tokens']}" for row in rows]
    assert told == table.out.lstrip("\ufeff").split()[1:]
    shown = program("show", "@last", first(program, "--only", "invalid")).out
    assert "state      invalid, 1 attempt" in shown
    assert "error      invalid_answer: " in shown
    assert "\nanswer     " in shown
    assert " input, " in shown
    assert "attempt    batch 1: invalid, invalid_answer: " in shown
    assert " for $0.0" in shown


def test_one_request_is_given_as_it_is_stored(program: Program) -> None:
    """`--raw`: the bytes of its params, result and row; `--json`: the object of REST."""
    own = first(program, "--only", "refusal")
    raw, facts = program("show", "@last", own, "--raw").facts, program("show", "@last", own, "--json").facts
    (line,) = [json.loads(line) for line in program("results", "@last", "--only", "refusal").out.splitlines()][:1]
    assert (raw["custom_id"], raw["result"]) == (line["custom_id"], line["result"])
    assert {key: facts[key] for key in raw} == raw
    assert (facts["stop_reason"], facts["sandbox"], facts["trips"]) == ("refusal", True, [])
    assert program("show", "@last", "nobody").code == 4
