"""`run`, `resume`, `results`: the main job through the real program, on the sandbox."""

from __future__ import annotations

import json
import signal

import pytest
from faces.cli_world import SLOW, Program, ids_in, request, results_in, write_lines


def test_a_file_becomes_a_file_of_answers_in_its_order(program: Program) -> None:
    """One command does it all; 2,500 requests and batches of 1,000 are three batches; the results say SANDBOX."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(2500)])
    done = program("run", source, "--sandbox", env={"ORCHESTRATOR_BATCHING__MAX_REQUESTS": "1000"})
    assert done.code == 0
    assert done.out == ""
    assert "SANDBOX" in done.err
    assert "2,500 succeeded" in done.err
    assert ids_in(results_in(program.folder)) == [f"r-{n}" for n in range(2500)]
    assert program("status", "--json").facts["batches"]["settled"] == 3


def test_the_same_command_again_sends_nothing_and_writes_the_same_file(program: Program) -> None:
    """Promise 7."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(20)])
    assert program("run", source, "--sandbox").code == 0
    written = results_in(program.folder)
    first = written.read_bytes()
    written.unlink()
    again = program("run", source, "--sandbox", "--json")
    assert again.code == 0
    assert again.facts["batches"]["settled"] == 1
    assert written.read_bytes() == first
    assert len(program("ls", "--json").facts["jobs"]) == 1
    assert program("run", source, "--sandbox", "--new").code == 0
    assert len(program("ls", "--json").facts["jobs"]) == 2


def test_a_request_that_only_the_api_can_refuse_stays_in_its_place(program: Program) -> None:
    """Exit code 1, the others are answered, and `errors` names the line."""
    rows = [request(n, max_tokens=10_000_000 if n == 3 else 16) for n in range(6)]
    source = write_lines(program.folder / "in.jsonl", rows)
    done = program("run", source, "--sandbox", "-o", "out.jsonl")
    assert done.code == 1
    assert "5 succeeded, 1 failed" in done.err
    lines = [json.loads(line) for line in (program.folder / "out.jsonl").read_text().splitlines()]
    assert [line["result"]["type"] for line in lines] == ["succeeded"] * 3 + ["errored"] + ["succeeded"] * 2
    shown = program("errors", "@last")
    assert shown.code == 0
    assert "in.jsonl:4  r-3" in shown.out
    group = program("errors", "@last", "--json").facts["groups"][0]
    assert (group["type"], group["count"]) == ("invalid_request_error", 1)
    assert group["examples"] == [{"custom_id": "r-3", "line": 4}]
    assert "retry in-" in shown.err
    assert "--only invalid_request_error --set max_tokens=VALUE" in shown.err
    assert "write KEY=VALUE" in program("retry", "@last", "--sandbox", "--set", "max_tokens").err
    refused = program("retry", "@last", "--sandbox", "--set", "temperature=0.5")
    assert (refused.code, "takes no sampling parameters" in refused.err) == (2, True)
    mended = program("retry", "@last", "--only", "invalid_request_error", "--set", "max_tokens=16", "--sandbox")
    assert "1 request queued again, with another max_tokens" in mended.out
    assert program("resume", "@last", "--sandbox").code == 0


def test_answers_that_were_cut_are_asked_for_again_with_more_tokens(program: Program) -> None:
    """The end of the run says how, and the command what becomes of the answers that were paid for."""
    source = write_lines(program.folder / "in.jsonl", [request(n, max_tokens=16) for n in range(3)])
    (program.folder / "orchestrator.toml").write_text('[sandbox]\nfaults = "cut=1"\n')
    done = program("run", source, "--sandbox")
    (program.folder / "orchestrator.toml").unlink()
    assert "--only max_tokens --grow" in done.err
    again = program("retry", "@last", "--only", "max_tokens", "--grow", "--sandbox")
    assert "3 requests queued again, with more max_tokens" in again.out
    assert "3 answers that were paid for will be replaced" in again.err
    assert "cut" not in program("resume", "@last", "--sandbox").err


def test_invalid_answers_that_were_cut_are_mended_by_the_command_that_is_told(program: Program) -> None:
    """Not by the same request once more."""
    (program.folder / "in.csv").write_text("text\na\nb\nc\n")
    asks = ("-p", "{{ text }}", "-m", "claude-haiku-4-5", "--schema", "label", "--retry-invalid", "0")
    cut = {"ORCHESTRATOR_SANDBOX__FAULTS": "cut=1"}
    assert program("run", "in.csv", *asks, "--sandbox", env=cut).code == 1
    told = program("errors", "@last", "--sandbox").err
    assert ("--only max_tokens --grow" in told, "to try" in told) == (True, False)
    again = program("retry", "@last", "--only", "max_tokens", "--grow", "--sandbox")
    assert "3 requests queued again, with more max_tokens" in again.out


def test_bad_lines_are_told_all_at_once_and_nothing_is_stored(program: Program) -> None:
    """Exit code 2, each problem with file:line and remedy."""
    rows: list[dict[str, object]] = [request(0), request(1, stream=True), request(0), {"custom_id": "x", "params": {}}]
    source = write_lines(program.folder / "in.jsonl", rows)
    done = program("run", source, "--sandbox")
    assert done.code == 2
    assert "in.jsonl:2: params.stream" in done.err
    assert "in.jsonl:3: custom_id" in done.err
    assert "in.jsonl:1 " in done.err
    assert "in.jsonl:4: params.model" in done.err
    assert "error: in.jsonl has" in done.err
    assert program("ls", "--json").facts["jobs"] == []
    assert not list(program.folder.glob("*.results.jsonl"))


def test_bad_lines_can_be_left_out(program: Program) -> None:
    """`--skip-bad` takes the rest, and writes what it left out beside the output, with reasons."""
    rows = [request(0), request(1, stream=True, max_tokens=0), request(2)]
    source = write_lines(program.folder / "in.jsonl", rows)
    done = program("run", source, "--sandbox", "--skip-bad", "-o", "out.jsonl")
    assert "1 bad line left out" in done.err
    assert "out.refused.jsonl  1 line, with what is wrong" in done.err
    assert done.code == 0
    assert ids_in(program.folder / "out.jsonl") == ["r-0", "r-2"]
    refused = [json.loads(line) for line in (program.folder / "out.refused.jsonl").read_text().splitlines()]
    assert [line["line"] for line in refused] == [2]
    assert {problem["field"] for problem in refused[0]["problems"]} == {"params.stream", "params.max_tokens"}
    assert json.loads(refused[0]["raw"])["custom_id"] == "r-1"


def test_standard_input_goes_to_standard_output(program: Program) -> None:
    """A filter: data on stdout, talk on stderr."""
    given = "".join(json.dumps(request(n)) + "\n" for n in range(3)).encode()
    done = program("run", "-", "--sandbox", given=given)
    assert done.code == 0
    assert [json.loads(line)["custom_id"] for line in done.out.splitlines()] == ["r-0", "r-1", "r-2"]
    quiet = program("run", "-", "--sandbox", "-q", given=given)
    assert quiet.err == ""
    assert quiet.out == done.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_detaches_safely_and_tells_how_to_go_on(program: Program, number: signal.Signals, code: int) -> None:
    """The work is in the store at any instant; the printed command finishes it, and nothing is sent twice."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(5)])
    with program.started("run", source, "--sandbox", env=SLOW) as running:
        running.says("1 in flight")
        stopped = running.signal(number)
    assert stopped.code == code
    assert f"to go on: orchestrator run {source} --sandbox" in stopped.err
    assert not list(program.folder.glob("*.results.jsonl"))
    job = program("status", "--json").facts
    assert (job["state"], job["batches"]["in_progress"]) == ("running", 1)
    resumed = program("resume", job["id"], "--sandbox", "-o", "out.jsonl")
    assert resumed.code == 0
    assert ids_in(program.folder / "out.jsonl") == [f"r-{n}" for n in range(5)]
    assert sum(program("status", "--json").facts["batches"].values()) == 1


def test_the_command_that_goes_on_says_sandbox_though_only_the_environment_did(program: Program) -> None:
    """Pasted into another shell it would be real work."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    with program.started("run", source, env={**SLOW, "ORCHESTRATOR_SANDBOX": "1"}) as running:
        running.says("1 in flight")
        stopped = running.signal(signal.SIGINT)
    assert f"to go on: orchestrator run {source} --sandbox\n" in stopped.err


def test_a_new_job_goes_on_by_its_id_not_by_the_same_command(program: Program) -> None:
    """`run --new` given again would start another job, and pay again; so the printed line is another one."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    with program.started("run", source, "--new", "--sandbox", env=SLOW) as running:
        running.says("1 in flight")
        stopped = running.signal(signal.SIGINT)
    job = program("status", "--json").facts["id"]
    assert f"to go on: orchestrator resume {job} -o {job}.results.jsonl --sandbox" in stopped.err


def test_timeout_detaches(program: Program) -> None:
    """Exit code 7; the job goes on."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    done = program("run", source, "--sandbox", "--timeout", "0.2s", env=SLOW)
    assert done.code == 7
    assert "orchestrator resume" in done.err
    assert program("wait", "@last", "--timeout", "0.1s").code == 7
    assert program("status", "--json").facts["state"] == "running"


def test_results_of_a_job_that_still_runs_are_what_is_there(program: Program) -> None:
    """By default with a word about what is missing; `--settled-only` silently; `--complete` refuses with 5."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(4)])
    assert program("submit", source, "--sandbox").code == 0
    some = program("results", "@last")
    assert (some.code, some.out) == (0, "")
    assert "4 of 4 are not settled yet" in some.err
    assert "not settled" not in program("results", "@last", "--settled-only").err
    refused = program("results", "@last", "--complete", "-o", "out.jsonl")
    assert refused.code == 5
    assert not (program.folder / "out.jsonl").exists()
    assert program("resume", "@last", "--sandbox").code == 0
    facts = program("results", "@last", "--complete", "-o", "out.jsonl", "--json").facts
    assert (facts["written"], facts["missing"], facts["sandbox"]) == (4, 0, True)
    assert ids_in(program.folder / "out.jsonl") == [f"r-{n}" for n in range(4)]


def test_run_goes_on_with_a_job_that_somebody_paused(program: Program) -> None:
    """Whoever gives the command wants the job to run; it says what it was paused for."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    assert program("submit", source, "--sandbox").code == 0
    assert program("pause", "@last", "--sandbox").code == 0
    again = program("pause", "@last", "--sandbox")
    assert again.code == 0
    assert "is paused already" in again.out
    assert program("wait", "@last").code == 3
    done = program("run", source, "--sandbox")
    assert done.code == 0
    assert "it was paused (by a person); resuming it\n" in done.err
    assert program("pause", "@last", "--sandbox").code == 5


def test_a_canceled_job_ends_and_can_be_queued_again(program: Program) -> None:
    """What had not been sent is canceled at once; a second cancel changes nothing. Exit code 1."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    assert program("submit", source, "--sandbox").code == 0
    canceled = program("cancel", "@last", "--sandbox")
    assert canceled.code == 0
    assert "is canceled; what has succeeded is kept" in canceled.out
    ended = program("resume", "@last", "--sandbox", "-o", "out.jsonl")
    assert ended.code == 1
    assert json.loads((program.folder / "out.jsonl").read_text())["result"] == {"type": "canceled"}
    again = program("cancel", "@last", "--sandbox")
    assert again.code == 0
    assert "is canceled already" in again.out
    assert program("retry", "@last", "--sandbox", "--json").facts["queued"] == 1
    assert program("resume", "@last", "--sandbox").code == 0
    assert program("cancel", "@last", "--sandbox").code == 5


def test_the_results_never_replace_the_input(program: Program) -> None:
    """`-o` with the name of the input is a slip of the pen that would cost the input."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    before = (program.folder / source).read_bytes()
    assert program("run", source, "--sandbox", "-o", f"./{source}").code == 2
    assert (program.folder / source).read_bytes() == before


def test_an_output_that_cannot_be_written_is_told_before_the_work(program: Program) -> None:
    """Not a day later."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    assert program("run", source, "--sandbox", "-o", "nowhere/out.jsonl").code == 2
    assert not program.db.exists()


def test_a_changed_file_under_the_same_name_is_told(program: Program) -> None:
    """Its requests are not mixed with those of the job that was made from it."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    assert program("submit", source, "--sandbox").code == 0
    write_lines(program.folder / "in.jsonl", [request(0), request(1)])
    changed = program("run", source, "--sandbox")
    assert changed.code == 2
    assert "--new" in changed.err


def test_a_key_makes_even_a_new_job_safe_to_repeat(program: Program) -> None:
    """`--key`: the command whose answer was lost can be given again; for another input the key is refused."""
    write_lines(program.folder / "in.jsonl", [request(0)])
    args = ("submit", "in.jsonl", "--sandbox", "--new", "--key", "night 1", "--json")
    first, again = program(*args), program(*args)
    assert (first.code, again.code) == (0, 0)
    assert first.facts["id"] == again.facts["id"]
    write_lines(program.folder / "other.jsonl", [request(7)])
    refused = program("submit", "other.jsonl", "--sandbox", "--key", "night 1")
    assert (refused.code, "stands for job" in refused.err) == (5, True)
    assert program("submit", "in.jsonl", "--sandbox", "--key", "").code == 2
