"""The command line before any work: help, versions, guesses, completion, and what is not imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from faces.cli_world import Program, request

from orchestrator.cli.group import COMMANDS, LazyGroup, command_paths
from orchestrator.cli.main import cli

assert isinstance(cli, LazyGroup)
PATHS = command_paths(cli)
#: How lines begin that are longer than a terminal: commands, and a request.
PASTED = ("  orchestrator ", "  mkdir ", '  {"custom_id": ')
HEAVY = {
    "anthropic",
    "httpx2",
    "rich",
    "uvicorn",
    "starlette",
    "structlog",
    "tenacity",
    "pydantic",
    "prometheus_client",
    "genai_prices",
    "jsonschema_rs",
}


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_has_a_help_with_examples(path: tuple[str, ...]) -> None:
    """Help teaches: each command says what it does, shows examples, and lists the options of every command."""
    shown = CliRunner().invoke(cli, [*path, "--help"], prog_name="orchestrator")
    assert shown.exit_code == 0
    assert "Examples:" in shown.output
    assert "orchestrator" in shown.output
    assert "ORCHESTRATOR_DATABASE__PATH" in shown.output


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_main_help_is_the_commands_own(name: str) -> None:
    """The main help is written without loading a command; the command's own help begins with the same line."""
    command = cli.get_command(cli.make_context("orchestrator", ["ls"], resilient_parsing=True), name)
    assert command is not None
    assert command.help is not None
    assert command.help.split("\n")[0] == COMMANDS[name].help


@pytest.mark.parametrize("path", [(), *PATHS], ids=" ".join)
def test_a_help_fits_a_terminal_of_80_columns(path: tuple[str, ...]) -> None:
    """What is beside or below a command is folded; only a line that is pasted whole may be longer."""
    shown = CliRunner().invoke(cli, [*path, "--help"], prog_name="orchestrator", env={"COLUMNS": "80"})
    wide = [line for line in shown.output.splitlines() if len(line) > 80]
    assert all(line.startswith(PASTED) for line in wide)


def test_the_settings_are_shown_within_80_columns(program: Program) -> None:
    """What a setting means while it is not set is wrapped in its column; a value, such as a long path, never is."""
    shown = program("config", "show", "--db", "x.db").out
    assert "not set: " in shown
    assert max(len(line) for line in shown.splitlines() if line.endswith("default") or line.startswith(" ")) <= 80


def test_the_main_help_shows_the_exit_codes() -> None:
    """Scripts rely on them, so they are told where everybody looks first."""
    shown = CliRunner().invoke(cli, ["--help"], prog_name="orchestrator").output
    for code in ("0", "1", "2", "3", "4", "5", "6", "7", "8", "70", "130"):
        assert f"\n  {code} " in shown


def _modules_after(program: Program, *args: str) -> set[str]:
    """The top-level modules that a process has loaded when *args* has run."""
    code = (
        "import json, sys\n"
        "from orchestrator.cli.main import run\n"
        f"code = run({list(args)!r})\n"
        "print(json.dumps([code, sorted({name.split('.')[0] for name in sys.modules})]), file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=program.env(), cwd=program.folder, capture_output=True, check=True
    )
    code_, modules = json.loads(ended.stderr.splitlines()[-1])
    assert code_ == 0
    return set(modules)


def test_help_loads_nothing_but_click(program: Program) -> None:
    """`--help` answers within 100 ms: no event loop, no database, no JSON library, no SDK, no screen."""
    loaded = _modules_after(program, "--help")
    assert not loaded & (HEAVY | {"asyncio", "sqlite3", "aiosqlite", "msgspec", "zstandard", "tomllib"})


@pytest.mark.parametrize("command", [("status",), ("status", "--json"), ("ls",), ("errors", "@last")], ids=" ".join)
def test_looking_loads_no_sdk_no_server_and_no_screen(program: Program, command: tuple[str, ...]) -> None:
    """`status` answers within 150 ms: without the event loop and its database library, too."""
    assert program("submit", "-", "--sandbox", given=LINE).code == 0
    loaded = _modules_after(program, *command)
    assert not loaded & HEAVY
    assert command[0] != "status" or not loaded & {"asyncio", "aiosqlite"}


LINE = json.dumps(request(1)).encode()


def test_common_options_stand_before_or_after_the_command(program: Program) -> None:
    """Nobody remembers where a global option belongs."""
    assert program("submit", "-", "--sandbox", "--db", "other.db", given=LINE).code == 0
    before = program("--db", "other.db", "--json", "ls")
    after = program("ls", "--db", "other.db", "--json")
    assert before.code == after.code == 0
    assert before.facts["jobs"][0]["id"] == after.facts["jobs"][0]["id"]


def test_a_flag_before_the_name_is_stronger_than_the_environment(program: Program) -> None:
    """The variable is read again for the command itself; it must not push the flag aside."""
    (program.folder / "a.toml").write_text('[limits]\npoll_interval = "7s"\n')
    (program.folder / "b.toml").write_text('[limits]\npoll_interval = "9s"\n')
    env = {"ORCHESTRATOR_CONFIG": "b.toml", "ORCHESTRATOR_LIMITS__POLL_INTERVAL": "8s"}
    shown = program("--config", "a.toml", "config", "show", env=env)
    assert '"8s"' in shown.out
    assert program("--config", "nowhere.toml", "config", "show", env=env).code == 2


def test_the_version_is_told_everywhere(program: Program) -> None:
    """`--version` also works behind a command."""
    assert program("--version").out == program("ls", "--version").out == "orchestrator 0.1.0\n"


@pytest.mark.parametrize(
    ("args", "guess"),
    [
        (("stauts",), "did you mean `orchestrator status`?"),
        (("batches", "lss"), "did you mean `orchestrator batches ls`?"),
        (("delete", "reviews"), "did you mean `orchestrator rm`?"),
        (("webhooks", "list"), "did you mean `orchestrator webhooks ls`?"),
        (("help",), "did you mean `orchestrator --help`?"),
        (("version",), "did you mean `orchestrator --version`?"),
        (("db", "help"), "did you mean `orchestrator db --help`?"),
        (("req",), "did you mean `orchestrator requests`?"),
        (("frobnicate",), "hint: orchestrator --help lists them all"),
        (("in put.jsonl",), "`orchestrator run 'in put.jsonl'` runs it"),
        (("ls", "--limt", "3"), "--limit"),
        (("status", "revews"), "did you mean"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_slip_of_the_pen_is_answered_with_a_guess(program: Program, args: tuple[str, ...], guess: str) -> None:
    """Commands, options and jobs: the nearest one is named."""
    assert program("submit", "-", "--sandbox", "--name", "reviews", given=LINE).code == 0
    (program.folder / "in put.jsonl").write_bytes(LINE)
    wrong = program(*args)
    assert wrong.code in {2, 4}
    error, hint = wrong.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert guess in hint


def test_a_mistyped_option_has_one_guess_and_help_names_no_server_where_none_is_asked(program: Program) -> None:
    """`--sandbxo` was "--db or --sandbox"; `serve --help` had `--server`, which it refuses."""
    for wrong, meant in (("--sandbxo", "--sandbox"), ("--limti", "--limit"), ("--max-cots", "--max-cost")):
        assert f"hint: did you mean {meant}?\n" in program("run", "x", wrong).err
    for name, has_server in (("serve", False), ("sandbox", False), ("ls", True), ("run", True)):
        assert ("--server URL" in program(name, "--help").out) is has_server


@pytest.mark.parametrize(
    "args",
    [
        ("run", "reviws.jsonl", "--sandbox"),
        ("check", "reviws.jsonl"),
        ("init", "reviws.jsonl"),
        ("convert", "reviws.jsonl"),
        ("run", "reviws.parquet", "-p", "{{ x }}", "-m", "claude-haiku-4-5", "--sandbox"),
        ("run", "reviws.toml"),
        ("check", "reviews.csv", "-m", "claude-haiku-4-5", "--prompt-file", "reviws.txt"),
    ],
    ids=" ".join,
)
def test_a_file_that_is_not_there_may_be_one_of_nearly_the_same_name(program: Program, args: tuple[str, ...]) -> None:
    """It is named; where none is like it, nothing is guessed."""
    for suffix in ("jsonl", "parquet", "toml", "txt", "csv"):
        (program.folder / f"reviews.{suffix}").write_text("id\n1\n")
    wrong, other = program(*args), program("check", "wholly-other.jsonl")
    assert wrong.code == 2
    (meant,) = [word.replace("reviws", "reviews") for word in args if word.startswith("reviws")]
    assert f"did you mean {meant}?" in wrong.err
    assert "hint: check the path" in other.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(program: Program, shell: str) -> None:
    """Each shell gets a script that asks this program for the words."""
    assert "_ORCHESTRATOR_COMPLETE" in program("completion", shell).out


def test_commands_and_jobs_are_completed(program: Program) -> None:
    """What the script asks for is answered: commands by name, jobs from the store."""
    assert program("submit", "-", "--sandbox", "--name", "reviews", given=LINE).code == 0
    asked = {"_ORCHESTRATOR_COMPLETE": "bash_complete"}
    commands = program(env={**asked, "COMP_WORDS": "orchestrator sta", "COMP_CWORD": "1"})
    assert commands.out.split() == ["plain,status"]
    jobs = program(env={**asked, "COMP_WORDS": "orchestrator status rev", "COMP_CWORD": "2"})
    assert "plain,reviews" in jobs.out.split()


def test_nothing_is_coloured_where_it_is_no_terminal(program: Program) -> None:
    """Output that is piped, and JSON, has no escape sequences."""
    submitted = program("submit", "-", "--sandbox", given=LINE)
    assert "\x1b" not in submitted.out + submitted.err + program("status").out


def test_a_reader_that_goes_away_is_no_error(program: Program) -> None:
    """`orchestrator results @last | head -1` ends quietly."""
    assert program("run", "-", "--sandbox", given=LINE).code == 0
    piped = subprocess.run(  # noqa: S602 - a pipe is what is tested
        f"{sys.executable} -m orchestrator results @last --quiet | true; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        env=program.env(),
        cwd=program.folder,
        capture_output=True,
        check=True,
    )
    assert piped.stderr == b""
    assert piped.stdout == b"0\n"


def test_without_a_command_the_help_is_shown(program: Program) -> None:
    """The first thing that a newcomer types."""
    bare = program()
    assert bare.code == 2
    assert "Usage: orchestrator" in bare.err
