"""Where commands write: what they never replace, and what becomes of a command that cannot write."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.cli_world import SLOW, Program, ids_in, program_in, request, results_in, write_lines
from support.forked import folder_with_command
from support.length import some_of

NO_UTF8 = os.fsdecode(b"b\xe4d.jsonl")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(3)])
        yield found


def shell(program: Program, line: str) -> subprocess.CompletedProcess[bytes]:
    """*line* with `orchestrator` in it, as a shell runs it: it opens and closes what it likes."""
    env = program.env({"PATH": f"{folder_with_command()}:{os.environ['PATH']}"})
    return subprocess.run(
        ["/bin/sh", "-c", line], cwd=program.folder, env=env, capture_output=True, timeout=60, check=False
    )


def test_two_jobs_of_one_name_write_two_files(program: Program) -> None:
    """F9: `run jan/requests.jsonl; run feb/requests.jsonl` in one folder; N10: and a real result is not replaced."""
    for month, count in (("jan", 3), ("feb", 5)):
        (program.folder / month).mkdir()
        write_lines(program.folder / month / "requests.jsonl", [request(n) for n in range(count)])
    (program.folder / "requests.results.jsonl").write_text("paid for\n")
    for month in ("jan", "feb"):
        assert program("run", f"{month}/requests.jsonl", "--sandbox", "--new").code == 0
    written = sorted(program.folder.glob("requests-*.results.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    assert [len(ids_in(path)) for path in written] == [3, 5]
    assert (program.folder / "requests.results.jsonl").read_text() == "paid for\n"


def test_a_foreign_file_is_refused_before_anything_is_stored(program: Program) -> None:
    """F9: exit 2, from a file and from a pipe; --overwrite replaces it, and the same command again its own output."""
    (program.folder / "out.jsonl").write_text("paid for\n")
    given = (program.folder / "in.jsonl").read_bytes()
    for source in ("in.jsonl", "-"):
        done = program("run", source, "--sandbox", "-o", "out.jsonl", given=given)
        assert done.code == 2
        assert "out.jsonl is there already, and is not this job's output" in done.err
        assert "--overwrite" in done.err
    assert program("ls", "--json").facts["jobs"] == []
    assert (program.folder / "out.jsonl").read_text() == "paid for\n"
    assert program("run", "in.jsonl", "--sandbox", "-o", "out.jsonl", "--overwrite").code == 0
    assert program("run", "in.jsonl", "--sandbox", "-o", "out.jsonl").code == 0
    assert program("run", "-", "--sandbox", "-o", "out.jsonl", given=given).code == 0
    assert len(program("ls", "--json").facts["jobs"]) == 1


def test_a_changed_file_never_replaces_the_results_of_the_first_job(program: Program) -> None:
    """F9: neither with --new nor as the file that it is; `resume -o` and `results -o` follow the same rule."""
    assert program("run", "in.jsonl", "--sandbox", "-o", "out.jsonl").code == 0
    before = (program.folder / "out.jsonl").read_bytes()
    write_lines(program.folder / "in.jsonl", [request(n) for n in range(4)])
    assert "--new makes another job" in program("run", "in.jsonl", "--sandbox", "-o", "out.jsonl").err
    assert program("run", "in.jsonl", "--sandbox", "-o", "out.jsonl", "--new").code == 2
    assert len(program("ls", "--json").facts["jobs"]) == 1
    assert program("submit", "in.jsonl", "--sandbox", "--new").code == 0
    for command in ("resume", "results"):
        done = program(command, "@last", "-o", "out.jsonl", *(["--sandbox"] if command == "resume" else []))
        assert (done.code, "is not this job's output" in done.err) == (2, True)
    assert program("status", "@last", "--json").facts["requests"]["succeeded"] == 0
    assert (program.folder / "out.jsonl").read_bytes() == before
    assert program("resume", "@last", "-o", "new.jsonl", "--sandbox").code == 0
    assert program("results", "@last", "-o", "out.jsonl", "--overwrite").code == 0
    assert len(ids_in(program.folder / "out.jsonl")) == 4


def test_results_never_replace_the_store_or_the_input(program: Program) -> None:
    """F9: not even with --overwrite, nor by another name of the same file."""
    assert program("submit", "in.jsonl", "--sandbox").code == 0
    (program.folder / "link").symlink_to("in.jsonl")
    os.link(program.folder / "in.jsonl", program.folder / "hard")
    for place in ("store.db", "store.db-wal", "link", "hard", "in.jsonl"):
        assert program("run", "in.jsonl", "--sandbox", "-o", place, "--overwrite").code == 2


@pytest.mark.parametrize("place", ["loop", "n" * 300, ".", "in.jsonl/out", ""])
def test_a_place_that_is_none_is_refused_before_the_work(program: Program, place: str) -> None:
    """F10: with words, whatever is wrong with it."""
    (program.folder / "loop").symlink_to("pool")
    (program.folder / "pool").symlink_to("loop")
    done = program("run", "in.jsonl", "--sandbox", "-o", place)
    assert done.code == 2
    assert "hint: " in done.err
    assert not program.db.exists()


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_an_output_from_before_answers_were_replaced_is_the_jobs_own(program: Program, name: str) -> None:
    """A refusal was asked for again: what the file has of it is not in the store any more, and was the job's."""
    faults = {"ORCHESTRATOR_SANDBOX__FAULTS": "refusal=1"}
    line = ("run", "in.jsonl", "--sandbox", "-o", name)
    assert program(*line, env=faults).code == 0
    assert program("retry", "@last", "--sandbox", "--only", "refusal").code == 0
    done = program(*line)
    assert done.code == 0, done.err
    assert "refusal" not in (program.folder / name).read_text()


def test_a_file_of_a_spreadsheet_is_neither_written_nor_read(program: Program) -> None:
    """Its name promises what this program cannot make."""
    done = program("run", "in.jsonl", "--sandbox", "-o", "out.xlsx")
    assert (done.code, "files of spreadsheets are not written" in done.err) == (2, True)
    (program.folder / "in.xlsx").write_bytes(b"PK\x03\x04")
    done = program("check", "in.xlsx", "-p", "{{ text }}", "-m", "claude-haiku-4-5", "--sandbox")
    assert (done.code, "save the sheet as CSV" in done.err) == (2, True)


def test_a_failed_write_at_the_end_has_a_code_of_its_own(program: Program) -> None:
    """F12: 2 would say that nothing was sent; the same command with another place writes them."""
    done = program("run", "in.jsonl", "--sandbox", "-o", "/dev/full")
    assert done.code == 9
    assert os.strerror(errno.ENOSPC) in done.err
    assert program("run", "in.jsonl", "--sandbox", "-o", "out.jsonl").code == 0
    assert program("results", "@last", "-o", "nowhere/out.jsonl").code == 2


@pytest.mark.parametrize("how", some_of([">&- 2>&-", "2>/dev/full", ">/dev/full", "2>&-", "<&- >&- 2>&-", ">&-"], 3))
def test_work_goes_on_without_anybody_to_talk_to(program: Program, how: str) -> None:
    """F12: closed and full streams; the store is not opened under the number of a closed one."""
    done = shell(program, f"orchestrator run in.jsonl --sandbox -o out.jsonl {how}")
    assert done.returncode == 0, done.stderr
    assert ids_in(program.folder / "out.jsonl") == ["r-0", "r-1", "r-2"]
    assert program("db", "check").code == 0


@pytest.mark.parametrize("how", [">/dev/full", ">&-"])
@pytest.mark.parametrize("command", ["submit in.jsonl --sandbox", "ls", "results @last", "--help"])
def test_what_was_asked_for_and_cannot_be_written_ends_with_9(program: Program, command: str, how: str) -> None:
    """F12: it is no bug of ours, and what was to be stored is stored."""
    assert program("submit", "in.jsonl", "--sandbox", "--name", "first").code == 0
    assert program("resume", "first", "--sandbox").code == 0
    done = shell(program, f"orchestrator {command} {how}")
    assert done.returncode == 9, done.stderr
    assert b"error: standard output cannot be written" in done.stderr
    assert (b"it is closed" in done.stderr) is (how == ">&-")
    if command.startswith("results"):
        job = program("ls", "--json").facts["jobs"][0]["id"]
        again = f"the results are safe in the store: `orchestrator results {job} -o FILE --sandbox` writes them"
        assert again.encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.long
def test_a_daemon_without_streams_runs(program: Program) -> None:
    """F12: `serve <&- >&- 2>&-`, as an old init script starts it."""
    line = "orchestrator serve --sandbox --json --listen '' <&- >&- 2>&- & echo $!"
    number = int(shell(program, line).stdout)
    try:
        while program("health").code != 0:
            os.kill(number, 0)  # it lives
        done = program("run", "in.jsonl", "--sandbox", "-o", "out.jsonl")
        assert done.code == 0, done.err
        assert "another process runs the engine" in done.err
    finally:
        os.kill(number, signal.SIGTERM)


def test_a_reader_that_went_away_is_no_error_and_talk_into_a_closed_pipe_stops_nothing(program: Program) -> None:
    """F12: `| head` stays quiet, and `run 2>&1 | head -1` still does its work."""
    assert shell(program, "orchestrator run in.jsonl --sandbox -o out.jsonl 2>&1 | true").returncode == 0
    assert program("wait", "@last").code == 0
    assert ids_in(program.folder / "out.jsonl") == ["r-0", "r-1", "r-2"]
    quiet = shell(program, "orchestrator results @last | true")
    assert (quiet.returncode, b"error" in quiet.stderr) == (0, False)


def test_names_that_are_no_utf8_work_everywhere(program: Program) -> None:
    """F11: the input, the output, the store, the name; shown with an escape, and still JSON."""
    (program.folder / "in.jsonl").rename(program.folder / NO_UTF8)
    done = program(
        "run", NO_UTF8, "--sandbox", "--db", f"{NO_UTF8}.db", "--name", NO_UTF8, "-o", f"{NO_UTF8}.gz", "--json"
    )
    assert done.code == 0, done.err
    assert done.facts["source"].endswith("b\\xe4d.jsonl")
    assert done.facts["output"] == "b\\xe4d.jsonl.gz"
    assert program("status", "@last", "--db", f"{NO_UTF8}.db", "--json").facts["name"] == "b\\xe4d.jsonl"
    assert program("run", NO_UTF8, "--sandbox").code == 0
    (program.folder / NO_UTF8).write_text("{bad\n")
    checked = program("check", NO_UTF8, "--json")
    assert (checked.code, checked.facts["source"]) == (2, "b\\xe4d.jsonl")
    refused = program("run", NO_UTF8, "--sandbox")
    assert (refused.code, "b\\xe4d.jsonl:1: " in refused.err) == (2, True)


def test_the_printed_command_works_with_such_a_name(program: Program) -> None:
    """F11: it can be pasted into a shell."""
    with program.started("run", "in.jsonl", "--sandbox", "-o", NO_UTF8, "--new", env=SLOW) as running:
        running.says("in flight")
        stopped = running.signal(signal.SIGTERM)
    assert "-o $'b\\xe4d.jsonl' --sandbox" in stopped.err


def test_results_have_the_mode_that_the_umask_leaves(program: Program) -> None:
    """F10: a colleague, or the next service, may read them if everything else can be read."""
    assert shell(program, "umask 027; orchestrator run in.jsonl --sandbox").returncode == 0
    assert stat.S_IMODE(results_in(program.folder).stat().st_mode) == 0o640


def test_standard_output_by_its_other_names_is_standard_output(program: Program) -> None:
    """F9: `-o /dev/stdout > file` does not replace the file that the shell has opened."""
    done = shell(program, "orchestrator run in.jsonl --sandbox -o /dev/stdout > out.jsonl; echo done >> out.jsonl")
    assert done.returncode == 0
    lines = (program.folder / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["custom_id"] for line in lines[:-1]] == ["r-0", "r-1", "r-2"]


def test_some_results_never_replace_all_of_them(program: Program) -> None:
    """`--only refusal -o FILE` over a whole output lost every other answer, without a word."""
    source = write_lines(program.folder / "in.jsonl", [request(1), request(2), request(3, max_tokens=10_000_000)])
    assert program("run", source, "--sandbox", "-o", "all.jsonl").code == 1
    for name in ("all.jsonl", "all.csv", "all.txt", "all.parquet"):
        assert program("results", "@last", "--sandbox", "-o", name).code == 0
        before = (program.folder / name).read_bytes()
        refused = program("results", "@last", "--sandbox", "--only", "failed", "-o", name)
        assert (refused.code, (program.folder / name).read_bytes()) == (2, before)
        assert "--overwrite" in refused.err
    for _ in range(2):  # the same again is its own earlier output
        for name in ("some.jsonl", "some.csv"):
            assert program("results", "@last", "--sandbox", "--only", "failed", "-o", name).code == 0
    assert program("results", "@last", "--sandbox", "-o", "some.jsonl").code == 0  # of some: all of them have it
