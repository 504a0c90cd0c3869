"""Commands and the library with the tokens of a team: who one is, what is refused, and what a hang-up changes."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.cli_world import SLOW, Done
from faces.client_world import requests
from faces.remote_world import Daemon, daemon_in

from orchestrator import SyncOrchestrator
from orchestrator.config.token_section import token_block
from orchestrator.domain.access import AccessRole
from orchestrator.domain.errors import RoleRefused
from orchestrator.http_api.guard.access_tokens import digest_of


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon where nothing ends, its settings those of a team of three."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with daemon_in(tmp_path) as made:
        give(made, rita="read", ana="submit", root="admin")
        text = "".join(json.dumps(request) + "\n" for request in requests(2000, said="x" * 2000))
        (made.guest.folder / "in.jsonl").write_text(text)
        with made.running(env=SLOW):
            yield made


def give(daemon: Daemon, **roles: str) -> None:
    """Settings of the daemon with a token for each name."""
    file = daemon.host.folder / "home" / ".config" / "orchestrator" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    blocks: list[str] = []
    for name, role in roles.items():
        secret = (name * 43)[:43]
        (daemon.guest.folder / f"{name}.token").touch(0o600)
        (daemon.guest.folder / f"{name}.token").write_text(secret)
        blocks.append(token_block(name, AccessRole(role), digest_of(secret).hex()))
    file.write_text("\n".join(blocks))


def ask(daemon: Daemon, name: str, *args: str) -> Done:
    return daemon.guest(*args, "--server", daemon.url, "--token-file", f"{name}.token")


def test_a_command_says_which_role_is_needed_and_whose_the_job_is(daemon: Daemon) -> None:
    """Also of an upload, whose sender is heard to the end."""
    refused = ask(daemon, "rita", "submit", "in.jsonl")
    assert (refused.code, "this needs the role submit" in refused.err) == (3, True)
    assert "you are rita, with the role read" in refused.err
    assert ask(daemon, "ana", "submit", "in.jsonl", "--name", "hers").code == 0
    assert ask(daemon, "rita", "status", "hers", "--json").facts["submitted_by"] == "ana"
    assert [job["name"] for job in ask(daemon, "rita", "ls", "--by", "ana", "--json").facts["jobs"]] == ["hers"]
    assert ask(daemon, "rita", "ls", "--by", "root", "--json").facts["jobs"] == []
    assert ask(daemon, "ana", "pause", "hers").code == 0
    refused = ask(daemon, "ana", "budget", "set", "day", "5")
    assert (refused.code, "this needs the role admin" in refused.err) == (3, True)
    told = ask(daemon, "rita", "events", "hers", "--json").facts["events"]
    assert {event["actor"] for event in told if event["kind"] in {"job.created", "job.moved"}} == {"ana"}
    token = (daemon.guest.folder / "rita.token").read_text().strip()
    with SyncOrchestrator(server=daemon.url, token=token) as orc:
        assert [status.job.submitted_by for status in orc.jobs(submitted_by="ana")] == ["ana"]
        with pytest.raises(RoleRefused, match="this needs the role submit"):
            orc.job("hers").cancel()


def test_a_hang_up_takes_a_token_away(tmp_path: Path) -> None:
    """The one whose block is gone is refused from then on; the others are not."""
    with daemon_in(tmp_path) as made:
        give(made, rita="read", ana="read")
        with made.running() as started:
            assert [ask(made, name, "ls").code for name in ("rita", "ana")] == [0, 0]
            give(made, rita="read")
            started.send(signal.SIGHUP)
            started.says("config.reloaded")
            assert [ask(made, name, "ls").code for name in ("rita", "ana")] == [0, 3]
