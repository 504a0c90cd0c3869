"""`serve` and what goes to it over its socket; systemd's side of it."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from faces.cli_world import FAST, SLOW, Program, ids_in, program_in, request, results_in, write_lines

from orchestrator.cli.systemd import ALIVE, READY, Notifier
from orchestrator.domain.errors import StoreOwned

RUNS = "the engine runs on"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(4)])
        yield found


def test_a_job_that_is_submitted_is_worked_on(program: Program) -> None:
    """`submit` hands it over and returns; `wait` sees its end; SIGTERM ends the daemon with 0."""
    with program.started("serve", "--sandbox", env=FAST) as engine:
        engine.says(RUNS)
        submitted = program("submit", "in.jsonl", "--sandbox")
        assert submitted.code == 0
        assert "the engine that is running works on it" in submitted.err
        job = submitted.out.strip()
        assert program("wait", job).code == 0
        assert program("results", job, "-o", "out.jsonl").code == 0
        stopped = engine.signal(signal.SIGTERM)
    assert stopped.code == 0
    assert "SANDBOX" in stopped.err
    assert ids_in(program.folder / "out.jsonl") == [f"r-{n}" for n in range(4)]


def test_run_beside_an_engine_hands_its_job_over_and_watches(program: Program) -> None:
    """One owner per store: the second process says so, watches, and writes the results itself."""
    with program.started("serve", "--sandbox", env=FAST) as engine:
        engine.says(RUNS)
        done = program("run", "in.jsonl", "--sandbox")
        assert done.code == 0
        assert "another process runs the engine" in done.err
        assert engine.signal(signal.SIGINT).code == 0
    assert ids_in(results_in(program.folder)) == [f"r-{n}" for n in range(4)]


def test_input_that_is_refused_is_refused_over_the_socket_too(program: Program) -> None:
    """The same lines, the same code, whoever owns the store."""
    write_lines(program.folder / "bad.jsonl", [request(0), request(1, stream=True), request(0)])
    alone = program("submit", "bad.jsonl", "--sandbox")
    with program.started("serve", "--sandbox") as engine:
        engine.says(RUNS)
        beside = program("submit", "bad.jsonl", "--sandbox")
    assert beside.code == alone.code == 2
    assert beside.err == alone.err


def test_a_store_that_is_deleted_under_a_daemon_ends_it_and_nothing_of_it_is_lost(program: Program) -> None:
    """H4, F7: exit 8, with a copy of what was stored; the next engine does not begin anew in silence."""
    with program.started("serve", "--sandbox", env=FAST) as engine:
        engine.says(RUNS)
        job = program("submit", "in.jsonl", "--sandbox").out.strip()
        assert program("wait", job).code == 0
        for name in ("", "-wal", "-shm"):
            program.db.with_name(program.db.name + name).unlink()
        stopped = engine.end()
    assert stopped.code == 8
    assert "was removed or replaced while it was in use" in stopped.err
    rescued = program.db.with_name(f"{program.db.name}.rescued-1")
    assert str(rescued) in stopped.err
    refused = program("run", "in.jsonl", "--sandbox")
    assert refused.code == 8
    assert f"put it back (mv {rescued}" in refused.err
    assert "is gone, but its mark" in program("doctor", "--sandbox").out
    rescued.rename(program.db)
    assert program("doctor", "--sandbox").code == 0
    assert "is there already: finished" in program("run", "in.jsonl", "--sandbox").err


def test_a_detached_job_waits_for_an_engine(program: Program) -> None:
    """`run --detach` stores it; a daemon that starts later does the rest."""
    detached = program("run", "in.jsonl", "--sandbox", "--detach")
    assert detached.code == 0
    assert "orchestrator serve" in detached.err
    assert program("status", "--json").facts["requests"]["queued"] == 4
    with program.started("serve", "--sandbox", env=FAST) as engine:
        engine.says(RUNS)
        assert program("wait", detached.out.strip()).code == 0


def test_pause_resume_and_cancel_reach_the_engine(program: Program) -> None:
    """What is in flight goes on while paused; a cancel is asked of the API, and what had succeeded is kept."""
    with program.started("serve", "--sandbox", env=SLOW) as engine:
        engine.says(RUNS)
        job = program("submit", "in.jsonl", "--sandbox").out.strip()
        assert program("pause", job, "--sandbox", "--json").facts["state"] == "paused"
        assert "is paused already" in program("pause", job, "--sandbox").out
        assert program("resume", job, "--sandbox", "--json").facts["state"] == "running"
        assert "is running already" in program("resume", job, "--sandbox").out
        assert program("cancel", job, "--sandbox", "--json").facts["state"] in {"canceling", "canceled"}
        assert engine.signal(signal.SIGTERM).code == 0


def test_an_error_of_the_engine_ends_the_daemon_with_its_code(program: Program) -> None:
    """A daemon that cannot work ends, so that whoever started it notices."""
    assert program("submit", "in.jsonl", "--sandbox").code == 0
    assert program("serve").code == 8


def test_a_second_daemon_is_refused(program: Program) -> None:
    """One owner per store."""
    with program.started("serve", "--sandbox") as engine:
        engine.says(RUNS)
        assert program("serve", "--sandbox").code == StoreOwned.exit_code


def test_a_hang_up_reads_the_settings_again(program: Program) -> None:
    """What can change does and is named, what cannot is named too; a file that is wrong changes nothing."""
    file = program.folder / "orchestrator.toml"
    file.write_text("[retry]\nmax_attempts = 3\n")
    with program.started("serve", "--sandbox") as engine:
        engine.says(RUNS)
        file.write_text('[retry]\nmax_attempts = 4\n[api]\ntimeout = "5m"\n')
        engine.send(signal.SIGHUP)
        engine.says("config.reloaded")
        told = next(json.loads(line) for line in engine.err.splitlines() if "config.reloaded" in line)
        assert told["changed"] == ["retry.max_attempts"]
        assert told["needs_restart"] == ["api.timeout"]
        file.write_text("[retry]\nmax_attempts = 0\n")
        engine.send(signal.SIGHUP)
        engine.says("config.refused")
        file.unlink()
        assert program("submit", "in.jsonl", "--sandbox").code == 0
        assert engine.signal(signal.SIGTERM).code == 0


def test_a_hang_up_reads_the_key_file_again(program: Program) -> None:
    """F6: another key in it is told as a change; one that cannot be used changes nothing."""
    file = program.folder / "key"
    file.write_text("old")
    file.chmod(0o600)
    env = {"ORCHESTRATOR_API__KEY_FILE": str(file), "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    with program.started("serve", "--listen", "", env=env) as engine:
        engine.says(RUNS)
        file.write_text("new")
        engine.send(signal.SIGHUP)
        engine.says("config.reloaded")
        told = next(json.loads(line) for line in engine.err.splitlines() if "config.reloaded" in line)
        assert (told["changed"], told["needs_restart"]) == (["api.key_file"], [])
        file.chmod(0o644)
        engine.send(signal.SIGHUP)
        engine.says("config.refused")
        assert engine.signal(signal.SIGTERM).code == 0


def test_a_hang_up_changes_the_token(program: Program) -> None:
    """A token that leaked is replaced without a stop: from then on the old one is a wrong one."""
    file = program.folder / "token"
    file.touch(mode=0o600)
    file.write_text("a" * 43)
    with program.started(
        "serve", "--sandbox", "--listen", "127.0.0.1:0", "--token-file", str(file), "--json"
    ) as engine:
        engine.says(RUNS)
        url = json.loads("".join(iter(engine.line, "}\n")) + "}")["url"]
        assert _status(url, "a" * 43) == 200
        file.write_text("b" * 43)
        engine.send(signal.SIGHUP)
        engine.says("config.reloaded")
        assert (_status(url, "a" * 43), _status(url, "b" * 43)) == (401, 200)
        assert "b" * 43 not in engine.err


def _status(url: str, token: str) -> int:
    return httpx2.get(
        f"{url}/api/v1/version", headers={"authorization": f"Bearer {token}"}, trust_env=False
    ).status_code


def test_systemd_is_told_ready_alive_and_stopping(program: Program) -> None:
    """Type=notify and WatchdogSec work without a library."""
    address = program.folder / "n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(30)
        env = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "200000"}
        with program.started("serve", "--sandbox", env=env) as engine:
            assert systemd.recv(100) == b"READY=1"
            assert systemd.recv(100) == systemd.recv(100) == b"WATCHDOG=1"
            engine.signal(signal.SIGTERM)
            told = [systemd.recv(100)]
            while told[-1] != b"STOPPING=1":
                told.append(systemd.recv(100))


def test_without_systemd_nothing_is_told(tmp_path: Path) -> None:
    """No socket, a dead socket, and a watchdog meant for another process: all silent."""
    Notifier({}, pid=7).tell(READY)
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}, pid=7).tell(READY, ALIVE)
    assert Notifier({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "8"}, pid=7).alive_every is None
    assert Notifier({"WATCHDOG_USEC": "soon"}, pid=7).alive_every is None


def test_a_sandbox_daemon_prints_what_the_sdk_needs(program: Program) -> None:
    """It is what one tries first; any key will do, and a real one is not wanted there."""
    with program.started("serve", "--sandbox", "--listen", "127.0.0.1:0") as engine:
        engine.says("export ANTHROPIC_API_KEY=sandbox")
        assert "for the SDK, in the shell of the program that uses it:" in engine.err
        assert "  export ANTHROPIC_BASE_URL=http://127.0.0.1:" in engine.err


def test_the_sandbox_serves_the_sdk_on_a_port(program: Program) -> None:
    """The two lines that it prints make any client of the API work with it; here our own, and `batches ls`."""
    with program.started("sandbox", "--port", "0", "--speed", "100000") as sandbox:
        base, key = sandbox.line().strip(), sandbox.line().strip()
        assert base.startswith("export ANTHROPIC_BASE_URL=http://127.0.0.1:")
        env = dict(line.removeprefix("export ").split("=", 1) for line in (base, key))
        assert program("run", "in.jsonl", env=env).code == 0
        listed = program("batches", "ls", "--json", env=env).facts
        job = program("status", "--json").facts["id"]
        assert [(row["owner"], row["job"], row["state"]) for row in listed["batches"]] == [("ours", job, "settled")]
        healthy = program("doctor", "--json", env=env)
        assert healthy.code == 0
        assert "SANDBOX" in sandbox.signal(signal.SIGINT).err
    checks = {check["check"]: check for check in healthy.facts["checks"]}
    assert {checks[name]["verdict"] for name in ("credentials", "api", "store", "clock")} == {"ok"}
    # N (b) 1.12: its time runs 100,000 times as fast as ours, which is no reason to change this machine's clock.
    assert "SANDBOX" in checks["clock"]["fact"]
    assert checks["clock"]["remedy"] is None


def test_a_batch_made_elsewhere_is_adopted_with_its_file(program: Program) -> None:
    """Its requests are not sent again: the API has one batch before and after."""
    with program.started("sandbox", "--port", "0", "--speed", "100000") as sandbox:
        lines = (sandbox.line().strip(), sandbox.line().strip())
        env = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        assert program("run", "in.jsonl", env=env).code == 0
        remote = program("batches", "ls", "--json", env=env).facts["batches"][0]["id"]
        other = {**env, "ORCHESTRATOR_DATABASE__PATH": str(program.folder / "other.db")}
        assert program("batches", "ls", "--json", env=other).facts["batches"][0]["owner"] == "elsewhere"
        adopted = program("batches", "adopt", remote, "in.jsonl", env=other)
        assert adopted.code == 0
        assert "it is watched and collected" in adopted.out
        assert len(program("batches", "ls", "--json", env=other).facts["batches"]) == 1
