"""What a command says when it did not go as wished: true of this very case, and with commands that work when pasted."""

from __future__ import annotations

import json
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.cli_world import Program, program_in, request, select_a_moment, write_lines
from support.forked import PIPE, start

from orchestrator.cli.console import completed, pasteable, with_raising
from orchestrator.cli.options import GlobalOptions
from orchestrator.domain.errors import StoreOwned

OTHER_STORE = ("--sandbox", "--db", "my store.db")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(4)])
        yield found


def _commands(text: str) -> list[list[str]]:
    """The commands in backticks, as the words after the program's name."""
    return [shlex.split(found)[1:] for found in re.findall(r"`(orchestrator [^`]+)`", text)]


def test_a_printed_command_has_the_flags_that_lead_to_the_store() -> None:
    """Exactly those that were given, and none twice."""
    options = GlobalOptions(db="my store.db", config=Path("x.toml"))
    assert pasteable(options, "orchestrator serve") == "orchestrator serve --db 'my store.db' --config x.toml"
    assert pasteable(GlobalOptions(), "orchestrator serve") == "orchestrator serve"
    told = "the cap is $1 — raise it, and the job goes on: orchestrator budget set in-abc AMOUNT --sandbox"
    assert with_raising(options, told) == f"{told} --db 'my store.db' --config x.toml"
    assert with_raising(options, "it runs") == "it runs"
    assert pasteable(GlobalOptions(sandbox=True), "orchestrator serve --sandbox") == "orchestrator serve --sandbox"
    assert pasteable(GlobalOptions(), "orchestrator serve", sandbox=True) == "orchestrator serve --sandbox"
    assert (
        completed(GlobalOptions(db="a"), "try `orchestrator doctor`, or not")
        == "try `orchestrator doctor --db a`, or not"
    )


def test_the_commands_of_hints_lead_to_the_same_store(program: Program) -> None:
    """Whoever says it: `submit`, `status`, `wait --timeout`, `doctor`, a refused change. Pasted, they work."""
    said = [
        program("submit", "in.jsonl", *OTHER_STORE).err,
        program("status", *OTHER_STORE).err,
        program("wait", "@last", "--timeout", "0.01s", *OTHER_STORE).err,
        program("pause", "@last", *OTHER_STORE).out,
        program("doctor", *OTHER_STORE).out,
    ]
    write_lines(program.folder / "in.jsonl", [request(9)])
    said.append(program("run", "in.jsonl", *OTHER_STORE).err)
    for text in said:
        commands = _commands(text)
        assert commands, text
        for command in commands:
            assert "--sandbox" in command, text
            assert command[command.index("--db") + 1] == "my store.db", text
    resume = next(command for command in _commands(said[-1]) if command[0] == "resume")
    assert program(*resume).code == 0


def test_bad_lines_of_standard_input_have_a_file_per_job(program: Program) -> None:
    """The second job does not replace what the first one left out."""
    for number in range(2):
        given = json.dumps(request(number)) + f"\n{{bad {number}\n"
        job = program("submit", "-", "--skip-bad", "--sandbox", given=given.encode()).out.strip()
        assert f"{{bad {number}" in (program.folder / f"{job}.refused.jsonl").read_text()
    assert len(list(program.folder.glob("*.refused.jsonl"))) == 2


def test_bad_lines_of_another_job_are_not_replaced(program: Program) -> None:
    """The same job writes the same file again; another one of the same name writes beside it."""
    source = program.folder / "some.jsonl"
    source.write_text(json.dumps(request(0)) + "\n{bad\n")
    for _ in range(2):
        assert program("submit", "some.jsonl", "--skip-bad", "--sandbox").code == 0
    first = (program.folder / "some.refused.jsonl").read_bytes()
    source.write_text(json.dumps(request(0)) + "\n{worse\n")
    job = program("submit", "some.jsonl", "--skip-bad", "--sandbox", "--new").out.strip()
    assert (program.folder / "some.refused.jsonl").read_bytes() == first
    assert b"{worse" in (program.folder / f"{job}.refused.jsonl").read_bytes()
    assert len(list(program.folder.glob("*.refused.jsonl"))) == 2


@pytest.mark.parametrize("words", [("run", "-"), ("submit", "-")], ids=" ".join)
def test_a_signal_while_the_input_is_read_says_that_nothing_was_stored(
    program: Program, words: tuple[str, ...]
) -> None:
    """There is no job to go on with yet; the same command starts again."""
    command = ("orchestrator", *words, "--sandbox")
    with start(*command, cwd=program.folder, env=program.env(), stdin=PIPE, stderr=PIPE) as reader:
        while not program.db.exists() and reader.poll() is None:
            select_a_moment()
        reader.send_signal(signal.SIGINT)
        _, told = reader.communicate(timeout=30)
    assert reader.returncode == 130
    assert b"interrupted: nothing was stored or sent\n" in told
    assert f"to start again: orchestrator {' '.join(words)} --sandbox\n".encode() in told
    assert program("ls", "--json").facts["jobs"] == []


def test_a_signal_while_an_input_is_read_beside_a_stored_job_says_that_it_goes_on(program: Program) -> None:
    """The engine of `run` may have sent its batches meanwhile: that nothing was sent would not be true."""
    stored = write_lines(program.folder / "in.jsonl", [request(n) for n in range(3)])
    assert program("submit", stored, "--sandbox").code == 0
    words = ("orchestrator", "run", "-", "--sandbox")
    with start(*words, cwd=program.folder, env=program.env(), stdin=PIPE, stderr=PIPE) as reader:
        while program("status", "@last", "--sandbox", "--json").facts["requests"]["queued"] and reader.poll() is None:
            select_a_moment()
        reader.send_signal(signal.SIGINT)
        _, told = reader.communicate(timeout=30)
    assert reader.returncode == 130
    assert b"interrupted: nothing is lost or sent twice\nto go on: orchestrator run - --sandbox\n" in told


def test_skip_bad_is_advised_only_where_it_helps(program: Program) -> None:
    """Not when it was given, and not for a file that is wrong as a whole."""
    (program.folder / "array.json").write_text("[1, 2]")
    (program.folder / "empty.jsonl").write_text("")
    (program.folder / "bad.jsonl").write_text(json.dumps(request(1)) + "\n{bad\n")
    for name in ("array.json", "empty.jsonl"):
        for command in (("run", "--sandbox"), ("submit", "--sandbox"), ("check",)):
            done = program(*command, name)
            assert done.code == 2
            assert "--skip-bad" not in done.out + done.err
    assert "--skip-bad" in program("run", "bad.jsonl", "--sandbox").err
    assert "--skip-bad" not in program("run", "bad.jsonl", "--sandbox", "--skip-bad").err


def test_a_missing_key_is_told_once_and_as_what_it_is(program: Program) -> None:
    """Nothing was asked, so nobody "does not answer" or "refuses"; without a job there is none to resume."""
    ran = program("run", "in.jsonl")
    assert ran.code == 3
    assert ran.err.count("no API key found") == 1
    assert "does not answer" not in ran.err
    again = program("run", "in.jsonl")
    assert "it was paused (no API key found); resuming it\n" in again.err
    listed = program("batches", "ls")
    assert listed.code == 3
    assert "error: no API key found" in listed.err
    assert "resume" not in listed.err


def test_a_second_daemon_is_told_what_to_do_instead(program: Program) -> None:
    """The jobs go to the engine that runs."""
    with program.started("serve", "--sandbox") as engine:
        engine.says("the engine runs on")
        second = program("serve", "--sandbox")
    assert second.code == StoreOwned.exit_code
    assert ["submit", "--sandbox"] in _commands(second.err)


def test_a_retry_of_an_unknown_type_says_which_there_are(program: Program) -> None:
    """A typing error must not look like success."""
    write_lines(program.folder / "in.jsonl", [request(0, max_tokens=10_000_000)])
    assert program("run", "in.jsonl", "--sandbox").code == 1
    done = program("retry", "@last", "--only", "nosuch", "--sandbox")
    assert done.code == 2
    assert 'is "nosuch"; nothing was queued' in done.err
    assert "invalid_request_error" in done.err


def test_results_may_go_to_a_device(program: Program) -> None:
    """It is written to, and never replaced; bad lines do not go beside it."""
    (program.folder / "some.jsonl").write_text(json.dumps(request(0)) + "\n{bad\n")
    done = program("run", "some.jsonl", "--sandbox", "--skip-bad", "-o", "/dev/null")
    assert done.code == 0
    assert Path("/dev/null").is_char_device()
    assert (program.folder / "some.refused.jsonl").exists()
