"""What the commands say of the way to the API: where it is, and what stands in between (F4, F23, H1)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.cli_world import Program, program_in, request, write_lines
from faces.client_world import settings

from orchestrator.cli.commands.doctor import exit_code_of, local_findings
from orchestrator.views.health_checks import FAIL

ELSEWHERE = {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
SOCKS = {"ALL_PROXY": "socks4://user:s3cr3t@127.0.0.1:9", "ANTHROPIC_API_KEY": "k"}
ADOPT = ["batches", "adopt", "msgbatch_013Zva2CMHLNnXjNJJ", "in.jsonl"]
TOLD = "the API is at http://127.0.0.1:9 (ANTHROPIC_BASE_URL)"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(found.folder / "in.jsonl", [request(0)])
        yield found


@pytest.mark.parametrize(
    "words",
    [["run", "in.jsonl"], ["serve", "--listen", ""], ["ls", "--server", "https://jobs.test"], ADOPT],
    ids=lambda words: words[0],
)
def test_a_proxy_that_cannot_be_used_ends_a_command_at_its_start(program: Program, words: list[str]) -> None:
    """F4: exit 2 with the variable's name, before anything is stored; `serve` said that it runs, and ended later."""
    seen = program(*words, env=SOCKS)
    assert seen.code == 2
    assert "ALL_PROXY" in seen.err
    assert "s3cr3t" not in seen.out + seen.err
    assert "bug" not in seen.err
    assert "engine runs" not in seen.err
    assert not program.db.exists()


def test_doctor_survives_what_it_finds(program: Program) -> None:
    """F4: a failed line with the remedy, and all other checks."""
    seen = program("doctor", "--json", "-v", "-v", env=SOCKS)
    checks = {check["check"]: check for check in seen.facts["checks"]}
    assert seen.code == 2
    assert (checks["network"]["verdict"], checks["disk"]["verdict"]) == ("fail", "ok")
    assert "ALL_PROXY" in checks["network"]["fact"]
    assert checks["network"]["remedy"]
    assert "s3cr3t" not in seen.out + seen.err


def test_doctor_looks_at_what_carries_traces_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F4: a daemon does not start with it, so it is told before."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone"))
    plain = settings(tmp_path / "store.db")
    assert exit_code_of(local_findings(plain, thorough=False)) == 0
    traced = settings(tmp_path / "store.db", telemetry__otel=True)
    found = {finding.check: finding for finding in local_findings(traced, thorough=False)}
    assert (found["telemetry"].verdict, found["telemetry"].exit_code) == (FAIL, 2)
    assert "REQUESTS_CA_BUNDLE" in found["telemetry"].fact


@pytest.mark.parametrize(
    "words",
    [["check", "in.jsonl"], ["run", "in.jsonl", "--give-up-after", "1ms"], ["batches", "ls"], ADOPT],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_address_that_is_not_the_usual_one_is_told(program: Program, words: list[str]) -> None:
    """H1: once, on stderr, with who says so; the sandbox asks nobody."""
    assert program(*words, env=ELSEWHERE).err.count(TOLD) == 1


def test_machines_are_told_the_address_too(program: Program) -> None:
    """H1: null where it is the usual one, or nobody is asked."""
    assert program("check", "in.jsonl", "--json", env=ELSEWHERE).facts["api"] == "http://127.0.0.1:9"
    played = program("run", "in.jsonl", "--json", "--sandbox", env=ELSEWHERE)
    assert played.facts["api"] is None
    assert TOLD not in played.err


def test_a_daemon_says_where_keys_go_and_whether_others_can_read_them(program: Program) -> None:
    """H1, F23: at its start, and `doctor` warns of a gateway without TLS."""
    env = {**ELSEWHERE, "ANTHROPIC_BASE_URL": "http://localhost.:9", "ORCHESTRATOR_API__PLAIN_HTTP_HOSTS": "localhost"}
    with program.started("serve", "--listen", "", env=env) as engine:
        engine.says("the engine runs on")
        assert "the API is at http://localhost.:9" in engine.err
        assert "can be read on the way" in engine.err
    seen = program("doctor", "--json", env=env)
    checks = {check["check"]: check for check in seen.facts["checks"]}
    assert checks["address"]["verdict"] == "warn"
