"""Processes that tests fork from one which has imported the program are what a fresh interpreter is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.cli_world import FAST, SLOW, Program, program_in, request, write_lines
from support.forked import DEVNULL, IS_FRESH, PIPE, STDOUT, Forked, folder_with_command, start, start_script

LOOK = """
import json, os, signal, sys, tempfile, threading, time
print(json.dumps({
    "arguments": sys.argv[1:], "folder": os.getcwd(), "env": dict(os.environ), "umask": os.umask(0),
    "open files": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:3], "hour": time.localtime(0).tm_hour,
    "files": tempfile.gettempdir(), "handlers": [str(signal.getsignal(n)) for n in (2, 13, 15, 17)],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "threads": threading.active_count(),
    "interpreter": [sys.getrecursionlimit(), sys.stdin.encoding], "name": __name__,
}))
sys.exit(int(sys.argv[1]))
"""
#: Commands one after the other on one store, as far as nobody else takes part in them.
STORY = (
    ("--help",),
    ("ls", "--limt", "3"),
    ("status",),
    ("check", "in.jsonl"),
    ("check", "bad.jsonl", "--json"),
    ("submit", "in.jsonl", "--sandbox", "--name", "first", "-q"),
    ("run", "in.jsonl", "--sandbox", "-q", "-o", "out.jsonl"),
    ("run", "in.jsonl"),
    ("results", "first"),
    ("submit", "-", "--sandbox", "--name", "second", "--json"),
    ("results", "second", "--complete", "-o", "none.jsonl"),
    ("doctor", "--sandbox", "--json"),
)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(3)])
        write_lines(tmp_path / "bad.jsonl", [request(0), request(1, stream=True)])
        yield found


def told(folder: Path, *, is_fresh: bool) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of every command of the story, without what is new each time."""
    folder.mkdir()
    with program_in(folder) as program:
        write_lines(folder / "in.jsonl", [request(n) for n in range(3)])
        write_lines(folder / "bad.jsonl", [request(0), request(1, stream=True)])
        ends = [
            program(*command, is_fresh=is_fresh, given=json.dumps(request(7)).encode() if "-" in command else b"")
            for command in STORY
        ]
        runtime = program.env()["XDG_RUNTIME_DIR"]
    return [(end.code, without_news(end.out, folder, runtime), without_news(end.err, folder, runtime)) for end in ends]


def without_news(said: str, folder: Path, runtime: str) -> str:
    said = said.replace(str(folder), "FOLDER").replace(runtime, "RUNTIME")
    said = re.sub(r"\b(first|second|in)-[a-z0-9]{6}\b", r"\1-ID", said)
    said = re.sub(r"\b(msg|msgbatch)_[0-9a-zA-Z]+", r"\1_ID", said)
    said = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)?", "TIME", said)
    return re.sub(r"\d[\d.,]*(?= ?([kMGT]?B|GiB|MiB|ms|s|min)\b)|(?<=_bytes\": )\d+", "N", said)


@pytest.mark.long
def test_forked_commands_end_and_say_what_those_of_a_fresh_interpreter_do(tmp_path: Path) -> None:
    """Codes, stdout and stderr of a dozen commands of every kind, in either kind of process."""
    forked, fresh = told(tmp_path / "forked", is_fresh=False), told(tmp_path / "fresh", is_fresh=True)
    for command, one, other in zip(STORY, forked, fresh, strict=True):
        assert one == other, command
    assert {code for code, _, _ in forked} == {0, 2, 4, 5, 8}


def test_a_forked_process_has_nothing_of_ours_but_what_it_was_given(tmp_path: Path) -> None:
    """Folder, environment, umask, open files, signal handlers, time zone: as after `python -c`."""
    env = {"PATH": os.environ["PATH"], "TZ": "Asia/Tokyo", "TMPDIR": str(tmp_path), "LC_ALL": "C.UTF-8", "X": "é"}
    before = os.umask(0o027)
    try:
        process = start_script(LOOK, "3", "é", "", env=env, stdout=PIPE)
        out, _ = process.communicate(timeout=60)
        fresh = subprocess.run(
            [sys.executable, "-c", LOOK, "3", "é", ""], env=env, stdin=DEVNULL, capture_output=True, check=False
        )
    finally:
        os.umask(before)
    assert isinstance(process, Forked) is not IS_FRESH
    assert (process.returncode, fresh.returncode) == (3, 3)
    seen = json.loads(out)
    assert seen == json.loads(fresh.stdout)
    assert (seen["umask"], seen["hour"], seen["files"], seen["env"]) == (0o027, 9, str(tmp_path), env)


def test_what_is_read_at_the_start_of_an_interpreter_gets_a_fresh_one(program: Program) -> None:
    """Nobody has to know which variables these are."""
    for name in ("PYTHONOPTIMIZE", "ANTHROPIC_LOG", "OTEL_SDK_DISABLED"):
        with start("orchestrator", "--version", env=program.env({name: "1"}), stdout=PIPE) as process:
            assert not isinstance(process, Forked)
            assert process.communicate(timeout=60)[0] == b"orchestrator 0.1.0\n"


def test_signals_reach_a_forked_process_and_its_end_is_told(program: Program) -> None:
    """`kill -9`, a stop and a go, SIGTERM; and streams that are joined."""
    assert program("submit", "in.jsonl", "--sandbox", env=SLOW).code == 0
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        with start(
            "orchestrator", "wait", "@last", env=program.env(SLOW), cwd=program.folder, stdout=PIPE, stderr=STDOUT
        ) as process:
            assert process.stdout is not None
            said = b""
            while b"no engine is running" not in said and process.poll() is None:
                said += process.stdout.readline()
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05)
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            assert process.wait(30) == code, said
            assert process.poll() == code


def test_a_shell_finds_the_command(program: Program) -> None:
    """It has the streams, the umask and the signals that the shell gives it, and its exit code is the command's."""
    env = program.env({**SLOW, "PATH": f"{folder_with_command()}:{os.environ['PATH']}"})
    script = """
        umask 027; orchestrator run - --sandbox -q < in.jsonl > out.jsonl && stat -c %a store.db.sandbox.jsonl
        orchestrator nope 2>&1; echo $?
        orchestrator ls >&-; echo $?
    """
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={**env, **FAST}, cwd=program.folder, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[0] in {"640", "600"}
    assert done.stdout.splitlines()[-2:] == ["2", "9"]
    assert len((program.folder / "out.jsonl").read_text().splitlines()) == 3
    assert program("submit", "in.jsonl", "--sandbox", "--new").code == 0
    command = [str(folder_with_command() / "orchestrator"), "wait", "@last"]
    with subprocess.Popen(command, env=env, cwd=program.folder, stderr=subprocess.PIPE) as waiting:
        assert waiting.stderr is not None
        while b"no engine is running" not in waiting.stderr.readline():
            assert waiting.poll() is None
        waiting.terminate()
        assert waiting.wait(30) == 143


@pytest.mark.parametrize(("script", "words"), [("1 / 0", b"ZeroDivisionError"), ("raise SystemExit('so')", b"so\n")])
def test_a_script_that_fails_says_so(script: str, words: bytes) -> None:
    """A traceback, or the words of its exit; code 1, as of the interpreter."""
    with start_script(script, env={}, stderr=PIPE) as process:
        assert words in process.communicate(timeout=60)[1]
        assert process.returncode == 1
