"""Each exit code of the table is provoked once through the real program, and every error has its three lines."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.cli_world import Program, program_in, request, write_lines

from orchestrator.cli.command_errors import report_error
from orchestrator.domain.errors import StoreFull
from orchestrator.store.ownership import Lock

DEAD_PORT = "http://127.0.0.1:9"  # nobody listens there


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(4)])
        yield found


def test_0_and_1_say_whether_every_request_succeeded(program: Program) -> None:
    """`run` and `wait` tell by their exit code how the job ended."""
    assert program("run", "in.jsonl", "--sandbox").code == 0
    assert program("wait", "@last").code == 0
    write_lines(program.folder / "bad.jsonl", [request(0, max_tokens=10_000_000)])
    assert program("run", "bad.jsonl", "--sandbox").code == 1
    assert program("wait", "@last").code == 1


@pytest.mark.parametrize(
    "args",
    [
        ("run",),
        ("run", "nowhere.jsonl", "--sandbox"),
        ("run", ".", "--sandbox"),
        ("run", "in.jsonl", "--sandbox", "--beta", "a b"),
        ("run", "in.jsonl", "--sandbox", "--api-version", "yesterday"),
        ("run", "in.jsonl", "--sandbox", "--json", "-o", "-"),
        ("run", "in.jsonl", "--sandbox", "--detach", "-o", "out"),
        ("wait", "@last", "--timeout", "soon"),
        ("results", "@last", "--json"),
        ("ls", "--config", "nowhere.toml"),
        ("sandbox", "--faults", "nonsense=1"),
        ("sandbox", "--faults", "refusal=7"),
        ("sandbox", "--faults", "retry_after=-1"),
        ("check", "nowhere.jsonl"),
        ("batches", "adopt", "msgbatch_1", "in.jsonl", "--job", "x", "--sandbox"),
    ],
    ids=" ".join,
)
def test_2_is_a_wrong_command_line_setting_or_input(program: Program, args: tuple[str, ...]) -> None:
    """Nothing was stored or sent, and the message says what to do."""
    done = program(*args)
    assert done.code == 2
    assert done.out == ""
    assert any(line.startswith("error: ") for line in done.err.splitlines())


def test_2_is_a_wrong_setting_in_the_environment(program: Program) -> None:
    """The variable is named, with a value that would be right."""
    done = program("ls", env={"ORCHESTRATOR_LIMITS__POLL_INTERVAL": "often"})
    assert done.code == 2
    assert "ORCHESTRATOR_LIMITS__POLL_INTERVAL" in done.err


@pytest.mark.parametrize("command", [("run", "in.jsonl"), ("submit", "in.jsonl")], ids=" ".join)
def test_2_is_also_a_fault_of_the_sandbox_that_does_not_exist(program: Program, command: tuple[str, ...]) -> None:
    """It is the user's slip, not a bug of ours: the message has the names that there are."""
    done = program(*command, "--sandbox", env={"ORCHESTRATOR_SANDBOX__FAULTS": "nonsense"})
    assert done.code == 2
    assert "unknown fault 'nonsense'; the names are 400, " in done.err
    assert "internal error" not in done.err


def test_3_is_a_missing_key(program: Program) -> None:
    """Without a key nothing is sent; the job is stored, and waits for one. It never falls back to the sandbox."""
    done = program("run", "in.jsonl")
    assert done.code == 3
    assert "ANTHROPIC_API_KEY" in done.err
    assert program("doctor").code == 3


@pytest.mark.parametrize("fault", ["create.401=1", "create.credit=1"])
def test_3_is_an_account_that_only_a_person_can_mend(program: Program, fault: str) -> None:
    """The job pauses with the reason; nothing is failed; the same command goes on once the account works."""
    done = program("run", "in.jsonl", "--sandbox", env={"ORCHESTRATOR_SANDBOX__FAULTS": fault})
    assert done.code == 3
    assert "is paused (" in done.err
    assert "hint: " in done.err
    job = program("status", "--json").facts
    assert (job["state"], job["requests"]["failed"]) == ("paused", 0)
    assert program("run", "in.jsonl", "--sandbox").code == 0


def test_3_comes_after_what_is_in_flight_was_collected(program: Program) -> None:
    """Empty credit arrives inside the results: the other batches are collected before a person is called."""
    env = {"ORCHESTRATOR_SANDBOX__FAULTS": "credit_row=1", "ORCHESTRATOR_BATCHING__MAX_REQUESTS": "1"}
    done = program("run", "in.jsonl", "--sandbox", env=env)
    assert done.code == 3
    assert "billing" in done.err
    batches = program("status", "--json").facts["batches"]
    assert batches["in_progress"] == batches["ended"] == 0


def test_4_is_something_that_is_not_there(program: Program) -> None:
    """No store, no job, no batch."""
    assert program("status").code == 4
    assert program("submit", "in.jsonl", "--sandbox").code == 0
    for args in (("status", "nope"), ("results", "nope"), ("batches", "show", "99"), ("cancel", "nope", "--sandbox")):
        assert program(*args).code == 4
    assert program("batches", "disown", "msgbatch_1", "--sandbox").code == 4


@pytest.mark.long
def test_5_is_an_owner_that_does_not_answer(program: Program) -> None:
    """Another process holds the store's lock, and nobody listens on its socket."""
    assert program("submit", "in.jsonl", "--sandbox").code == 0
    with Lock.take(program.db):
        done = program("pause", "@last", "--sandbox")
        looked = program("status", "--json")
    assert done.code == 5
    assert looked.code == 0


def test_6_is_an_api_that_never_answers(program: Program) -> None:
    """The work is safe: the job is stored, and the same command goes on."""
    env = {"ANTHROPIC_API_KEY": "sk-nobody", "ANTHROPIC_BASE_URL": DEAD_PORT}
    done = program("run", "in.jsonl", "--give-up-after", "0.5s", env=env)
    assert done.code == 6
    assert "is stored" in done.err
    assert program("status", "--json").facts["requests"]["failed"] == 0
    assert program("batches", "ls", env=env).code == 6


def test_8_is_a_file_that_is_not_a_store(program: Program) -> None:
    """Somebody else's file is told, and not touched."""
    program.db.write_bytes(b"this is not a database, and long enough to look like something\n" * 20)
    before = program.db.read_bytes()
    for args in (("status",), ("run", "in.jsonl", "--sandbox"), ("doctor", "--sandbox")):
        assert program(*args).code == 8
    assert program.db.read_bytes() == before


def test_8_is_sandbox_work_mixed_with_real_work(program: Program) -> None:
    """One store holds one kind."""
    assert program("submit", "in.jsonl", "--sandbox").code == 0
    mixed = program("submit", "in.jsonl")
    assert mixed.code == 8
    assert "--sandbox" in mixed.err


def test_8_is_a_full_disk(capsys: pytest.CaptureFixture[str]) -> None:
    """The store's own errors keep their code and their three lines."""
    assert report_error(StoreFull("the disk is full", cause="no space", hint="make some"), tracebacks=False) == 8
    assert capsys.readouterr().err == "error: the disk is full\ncause: no space\nhint: make some\n"


def test_70_is_a_bug_of_ours_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody foresaw has a message, too, and says how to see more."""
    assert report_error(ZeroDivisionError("oops"), tracebacks=False) == 70
    told = capsys.readouterr().err
    assert told.startswith("error: internal error: ZeroDivisionError: oops\n")
    assert "-v -v" in told
    assert "Traceback" not in told
    assert report_error(ZeroDivisionError("oops"), tracebacks=True) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_what_others_wrote_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences in a file name or an API message are shown, not obeyed."""
    report_error(StoreFull("a \x1b[31mred\x1b[0m\nname"), tracebacks=False)
    assert capsys.readouterr().err == "error: a \\x1b[31mred\\x1b[0m name\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_130_and_143_also_end_a_command_that_only_looks(program: Program, number: signal.Signals, code: int) -> None:
    """Waiting changes nothing, so there is nothing to put in order; the code is the same."""
    assert program("submit", "in.jsonl", "--sandbox").code == 0
    with program.started("wait", "@last") as waiting:
        waiting.says("no engine is running")
        assert waiting.signal(number).code == code


def test_a_signal_while_the_loop_is_made_ends_the_command_before_its_work() -> None:
    """Nothing is left half made, which asyncio would complain of on stderr."""
    hasty = (
        "import asyncio, os, signal\n"
        "from orchestrator.cli.command_errors import Stopped\n"
        "from orchestrator.cli.signals import run_async\n"
        "class Policy(asyncio.DefaultEventLoopPolicy):\n"
        "    def new_event_loop(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        return super().new_event_loop()\n"
        "async def work():\n"
        "    print('begun')\n"
        "asyncio.set_event_loop_policy(Policy())\n"
        "try:\n"
        "    run_async(work)\n"
        "except Stopped as stopped:\n"
        "    print(stopped.exit_code)\n"
    )
    ended = subprocess.run([sys.executable, "-c", hasty], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("143\n", "")


def test_a_second_signal_ends_the_command_on_the_spot(program: Program) -> None:
    """Whatever hangs: the work is in the store at any instant, so ending at once is safe, too."""
    stubborn = (
        "import asyncio\n"
        "from orchestrator.cli.signals import run_async\n"
        "async def work():\n"
        "    print('begun', flush=True)\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.sleep(60)\n"
        "        except asyncio.CancelledError:\n"
        "            print('not yet', flush=True)\n"
        "def part(stopped):\n"
        "    stopped.hint = 'orchestrator resume x'\n"
        "run_async(work, part)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", stubborn], env=program.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for said in (b"begun\n", b"not yet\n"):
            assert process.stdout.readline() == said
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        told = process.stderr.read().decode().splitlines()
    assert told == ["interrupted: nothing is lost or sent twice", "to go on: orchestrator resume x"]


def test_the_module_is_the_same_command(program: Program) -> None:
    """`python -m orchestrator` ends with the same codes."""
    ended = subprocess.run([sys.executable, "-m", "orchestrator", "nope"], env=program.env(), check=False)
    assert ended.returncode == 2
