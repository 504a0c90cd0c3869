"""`serve` behind a token of its own, from the outside: what it prints, who gets in, and `login` (H2)."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx2
import pytest
from faces.cli_world import Program, select_a_moment

KEY = {"ANTHROPIC_API_KEY": "sk-ant-none", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def status(url: str, **headers: str) -> int:
    return httpx2.get(url, headers=headers, trust_env=False).status_code


def test_a_daemon_is_opened_by_its_link_its_file_and_by_its_own_user(program: Program) -> None:
    """H2: the lines that it prints work as they are, and no secret is in them but a code that is good once."""
    token_file = program.folder / "store.db.token"
    with program.started("serve", "--listen", "127.0.0.1:0", env=KEY) as engine:
        engine.says("export ANTHROPIC_API_KEY")
        url = found(r"dashboard and API: (\S+)", engine.err)
        link = found(r"log in: (\S+)", engine.err)
        token = token_file.read_text().strip()
        assert token_file.stat().st_mode & 0o777 == 0o600
        assert token not in engine.err
        assert (status(f"{url}/livez"), status(f"{url}/api/v1/jobs")) == (200, 401)
        assert [status(link), status(link)] == [303, 401]
        exports = "\n".join(line for line in engine.err.splitlines() if line.lstrip().startswith("export "))
        shown = subprocess.run(
            ["/bin/sh", "-c", f"{exports}\necho $ANTHROPIC_BASE_URL $ANTHROPIC_API_KEY"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert shown.stdout.split() == [url, token]
        assert program("ls", "--server", url).code == 0
        assert program("ls").code == 0
        other = {"XDG_RUNTIME_DIR": str(program.folder / "home")}  # another user's commands: no socket, no token
        refused = program("ls", "--server", url, env=other)
        assert (refused.code, "DATABASE.token" in refused.err) == (3, True)
        for command in (("login",), ("login", "--server", url)):
            fresh = program(*command)
            assert (fresh.code, "for 10 minutes" in fresh.err) == (0, True)
            assert status(fresh.out.strip()) == 303
        assert program("login", "--json").facts["expires_in_s"] == 600
        assert engine.signal(signal.SIGTERM).code == 0
    with program.started("serve", "--listen", "127.0.0.1:0", env={**KEY, "JOURNAL_STREAM": "8:1"}) as engine:
        engine.says("export ANTHROPIC_API_KEY")
        assert "code=" not in engine.err  # people read the journal who may not be meant to log in
        url = found(r"dashboard and API: (\S+)", engine.err)
        assert status(f"{url}/api/v1/jobs", authorization=f"Bearer {token}") == 200
    assert token_file.read_text().strip() == token


def test_no_token_is_a_choice_that_is_said_and_for_this_machine_alone(program: Program) -> None:
    """H2: `--no-token` is stronger than a token_file of the settings, and never holds where others reach."""
    set_before = {**KEY, "ORCHESTRATOR_SERVER__TOKEN_FILE": str(program.folder / "token")}
    with program.started("serve", "--no-token", "--listen", "127.0.0.1:0", env=set_before) as engine:
        engine.says("NO TOKEN is asked for")
        url = found(r"dashboard and API: (\S+)", engine.err)
        assert status(f"{url}/api/v1/jobs") == 200
        assert "log in:" not in engine.err
        assert not (program.folder / "store.db.token").exists()
    reachable = program("serve", "--no-token", "--listen", "0.0.0.0:0", env=KEY)
    assert (reachable.code, "can be reached from other machines" in reachable.err) == (2, True)
    both = program("serve", "--no-token", "--token-file", "x", env=KEY)
    assert (both.code, "exclude each other" in both.err) == (2, True)


def test_the_sandbox_asks_nobody_and_opens_by_its_address(program: Program) -> None:
    """H2: nothing in it is real, so nobody needs a token to try it; `login` says its plain address."""
    with program.started("serve", "--sandbox", "--listen", "127.0.0.1:0") as engine:
        engine.says("dashboard and API: ")
        url = found(r"dashboard and API: (\S+)", engine.err)
        assert status(f"{url}/api/v1/jobs") == 200
        assert program("login").out.strip() == f"{url}/"
        assert not list(program.folder.glob("*.token"))
    nobody = program("login")
    assert (nobody.code, "orchestrator serve" in nobody.err) == (5, True)


def test_a_browser_is_given_a_file_and_no_secret_on_its_command_line(program: Program) -> None:
    """H2: every user of the machine can read command lines, and would be faster than the browser."""
    browser = program.folder / "browser"
    seen = program.folder / "seen"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}.part && mv {seen}.part {seen}\n')
    browser.chmod(0o700)
    env = {**KEY, "BROWSER": str(browser)}
    with program.started("serve", "--open", "--listen", "127.0.0.1:0", env=env) as engine:
        engine.says("export ANTHROPIC_API_KEY")
        assert program("login", "--open", env=env).code == 0
        given = seen.read_text()
        assert given.startswith("file:///")
        assert "code=" not in given
        page = Path(given.removeprefix("file://"))
        assert page.stat().st_mode & 0o777 == 0o600
        link = found(r"url=([^\"]+)", page.read_text())
        assert status(link) == 303


def _take(listener: socket.socket, port: int) -> None:
    """Listen there. A daemon of another test, which has it for a moment, is waited for; what keeps it is as good."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            select_a_moment()
        else:
            return


@pytest.mark.parametrize("named", ["flag", "variable", "file"])
def test_a_port_that_was_asked_for_and_is_taken_is_refused(program: Program, named: str) -> None:
    """N 1.13: wherever it was asked for, and also where it is the default's own."""
    with socket.socket() as taken:
        _take(taken, 8787)
        address = "127.0.0.1:8787"
        config = program.folder / "settings.toml"
        config.write_text(f'[server]\nlisten = "{address}"\n')
        flags = {"flag": ("--listen", address), "file": ("--config", str(config)), "variable": ()}[named]
        env = {"ORCHESTRATOR_SERVER__LISTEN": address} if named == "variable" else {}
        refused = program("serve", "--sandbox", *flags, env=env)
        assert (refused.code, f"{address} cannot be listened on" in refused.err) == (2, True)
        if named == "flag":
            with program.started("serve", "--sandbox") as engine:
                engine.says("port 8787 is taken by another program")
