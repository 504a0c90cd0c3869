"""`run --crash-test`: real processes, real SIGKILLs, and an audit that believes only the sandbox's books."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from faces.cli_world import Done, Program, ids_in, program_in, request, results_in, write_lines

from orchestrator.sandbox import CrashPoint

PATIENCE_S = 200


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "tmp").mkdir()
    with program_in(tmp_path) as found:
        yield found


def _env(program: Program) -> dict[str, str]:
    return {"TMPDIR": str(program.folder / "tmp")}


def crash_test(program: Program, source: str, *args: str, **env: str) -> Done:
    """`run --crash-test`, whose lives are forked: eight fresh interpreters would take ten seconds to import the SDK."""
    env = {**_env(program), **env}
    return program("run", source, "--sandbox", "--crash-test", *args, env=env, patience_s=PATIENCE_S, forks=True)


def _kept(program: Program) -> list[Path]:
    """Stores that crash tests left behind."""
    return list((program.folder / "tmp").glob("orchestrator-crash-test-*"))


def test_seven_kills_lose_nothing_and_buy_nothing_twice(program: Program) -> None:
    """Every point is met by a real process, the books are right, and so are the results; nothing else is touched."""
    rows = [request(n) for n in range(20)]
    source = write_lines(program.folder / "in.jsonl", [*rows[:5], rows[0], *rows[5:]])
    done = crash_test(program, source, "--skip-bad", "--json")
    assert done.code == 0, done.err
    facts = done.facts
    assert (facts["requests"], facts["lost"], facts["paid_twice"]) == (20, 0, 0)
    assert facts["batches_at_the_api"] >= 3
    assert [life["killed_at"] for life in facts["lives"]] == [*CrashPoint, None]
    assert [life["signal"] for life in facts["lives"]] == [9] * len(CrashPoint) + [None]
    doubts = {life["killed_at"]: [each["at_the_api"] for each in life["cut_off"]] for life in facts["lives"]}
    assert doubts["cursor"] == []
    assert doubts["sending"] == doubts["received"] == [False]
    assert doubts["created"] == doubts["answered"] == [True]
    written = results_in(program.folder)
    assert facts["output"] == written.name
    assert ids_in(written) == [f"r-{n}" for n in range(20)]
    answers = [json.loads(line) for line in written.read_text().splitlines()]
    for number, answer in enumerate(answers):
        assert answer["result"]["message"]["content"][0]["text"].endswith(f"question {number}")
    assert done.err.count("kill -9") == len(CrashPoint)
    left_out = written.name.replace(".results.", ".refused.")
    assert f"{left_out}  1 line, with what is wrong" in done.err
    (refused,) = map(json.loads, (program.folder / left_out).read_text().splitlines())
    assert (refused["line"], json.loads(refused["raw"])["custom_id"]) == (6, "r-0")
    assert not program.db.exists()
    assert not _kept(program)


@pytest.mark.long
def test_a_broken_promise_is_told_and_the_evidence_kept(program: Program) -> None:
    """An API that lists a batch later than doubt waits for it is the one thing that is not promised: it is paid twice.

    The audit sees it, says so, and ends with 70; the store and the journal stay.
    """
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(3)])
    done = crash_test(program, source, "-o", "out.jsonl.zst", ORCHESTRATOR_SANDBOX__FAULTS="list_lag=10000000")
    assert done.code == 70
    lines = done.out.splitlines()
    last = lines[-1]
    assert lines[0].split("  ")[-1] == "what became of the POST"
    assert lines[1].endswith("  no POST had begun")
    assert "new batch number" in lines[-2]
    assert last.startswith("requests 3 · batches at the API ")
    assert "lost 0 · paid twice 0" not in last
    assert f"error: a promise is broken: {last}" in done.err
    (folder,) = _kept(program)
    assert str(folder) in done.err
    assert {"store.db", "store.db.sandbox.jsonl"} <= {path.name for path in folder.iterdir()}
    packed = io.BytesIO((program.folder / "out.jsonl.zst").read_bytes())
    answers = zstandard.ZstdDecompressor().stream_reader(packed).read().splitlines()
    assert [json.loads(line)["custom_id"] for line in answers] == ["r-0", "r-1", "r-2"]


@pytest.mark.long
def test_a_signal_ends_it_and_leaves_nothing(program: Program) -> None:
    """Whoever stops the demonstration finds neither its store nor a process of it. Its lives are fresh interpreters."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    with program.started("run", source, "--sandbox", "--crash-test", env=_env(program)) as running:
        running.says("life 1  kill -9")
        stopped = running.signal(signal.SIGTERM)
    assert stopped.code == 143
    assert f"to start again: orchestrator run {source} --sandbox --crash-test" in stopped.err
    assert not _kept(program)


def test_a_wrong_input_is_refused_as_by_run(program: Program) -> None:
    """The first life says what is wrong, line by line; there is no second one."""
    source = write_lines(program.folder / "in.jsonl", [request(0), request(1, stream=True)])
    done = crash_test(program, source)
    assert done.code == 2
    assert "in.jsonl:2: params.stream" in done.err
    assert done.err.count("error: ") == 1
    assert "life 1" not in done.err
    assert not _kept(program)


def test_wrong_settings_are_refused_as_by_run(program: Program) -> None:
    """Only the words of the command itself: nothing was there that could be lost."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    env = {**_env(program), "ORCHESTRATOR_SANDBOX__FAULTS": "nonsense"}
    alone = program("run", source, "--sandbox", env=env)
    assert "unknown fault 'nonsense'" in alone.err
    done = crash_test(program, source, **env)
    assert (done.code, done.err) == (2, alone.err)
    assert not _kept(program)


def test_a_sandbox_that_stops_every_job_is_named_as_the_cause(program: Program) -> None:
    """A job that waits for a person cannot be resumed: its store goes with the test."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    done = crash_test(program, source, ORCHESTRATOR_SANDBOX__FAULTS="401")
    assert done.code == 3
    assert "error: the crash test needs a sandbox that works" in done.err
    assert "cause: the job was paused (credentials): 401" in done.err
    assert "resume" not in done.err
    assert "config show --sandbox" in done.err.splitlines()[-1]
    assert not _kept(program)


@pytest.mark.parametrize(
    ("args", "remedy"),
    [
        (("in.jsonl",), "add --sandbox"),
        (("-", "--sandbox"), "write it to a file"),
        (("in.jsonl", "--sandbox", "-o", "-"), "name a file"),
        (("in.jsonl", "--sandbox", "-o", "/dev/null"), "name a file"),
        (("in.jsonl", "--sandbox", "--detach"), "leave --detach out: it starts its own engines"),
        (("in.jsonl", "--sandbox", "--timeout", "1m"), "leave --timeout out: it ends by itself"),
        (("in.jsonl", "--sandbox", "--db", "mine.db"), "leave --db out: it makes a store of its own"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_does_not_go_with_it_is_refused_with_the_remedy(
    program: Program, args: tuple[str, ...], remedy: str
) -> None:
    """Exit code 2, before anything was done."""
    write_lines(program.folder / "in.jsonl", [request(0)])
    done = program("run", *args, "--crash-test", env=_env(program))
    assert done.code == 2
    assert remedy in done.err.splitlines()[-1]
    assert not _kept(program)
    assert not program.db.exists()
