"""`service`: units that systemd accepts, and tokens that nobody else can read."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from faces.cli_world import Program
from support.tools import needed_tool

from orchestrator.api_side import credentials_for
from orchestrator.cli.systemd import Installation, quadlet, system_unit, user_unit
from orchestrator.config import load_settings


@pytest.mark.parametrize("flags", [(), ("--sandbox",), ("--user",), ("--user", "--sandbox")], ids=" ".join)
def test_systemd_accepts_the_unit(program: Program, flags: tuple[str, ...]) -> None:
    """`systemd-analyze verify` knows every directive and finds the program; it has nothing to say."""
    verify = needed_tool("systemd-analyze", package="systemd")
    unit = program.folder / "orchestrator.service"
    unit.write_text(program("service", "print", *flags).out)
    manager = "--user" if "--user" in flags else "--system"
    done = subprocess.run(
        [verify, manager, "--recursive-errors=no", "verify", unit],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(program.folder)},
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if "orchestrator" in line]
    assert (done.returncode, said) == (0, [])


def test_systemd_finds_little_that_the_service_could_do(program: Program) -> None:
    """Its own count of what is left open: 10 is everything, and a service without any of this has 9.6."""
    analyze = needed_tool("systemd-analyze", package="systemd")
    unit = program.folder / "orchestrator.service"
    unit.write_text(program("service", "print").out)
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_starts_this_installation(program: Program) -> None:
    """ExecStart is an absolute path that is there: systemd knows no PATH of a shell."""
    unit = program("service", "print").out
    found = re.search(r"^ExecStart=(\S+).* serve$", unit, re.MULTILINE)
    assert found is not None
    assert Path(found[1]).is_absolute()
    assert shutil.which(found[1]) is not None
    assert program("service", "print", "--json").facts["unit"] == unit


def test_a_path_with_odd_characters_is_quoted_for_systemd() -> None:
    """A blank would end the path, a per cent sign would begin a specifier, a dollar a variable."""
    unit = system_unit(Installation(command=("/opt/my 100% $tools/orchestrator",)), sandbox=False)
    assert 'ExecStart="/opt/my 100%% $$tools/orchestrator" serve\n' in unit


def test_a_program_in_a_home_can_still_be_read() -> None:
    """`ProtectHome=yes` would hide the program from its own service."""
    away = system_unit(Installation(command=("/opt/orchestrator/bin/orchestrator",)), sandbox=False)
    home = system_unit(Installation(command=("/home/kim/.venv/bin/orchestrator",)), sandbox=False)
    assert "\nProtectHome=yes\n" in away
    assert "\nProtectHome=read-only\n" in home


@pytest.mark.parametrize(
    ("program", "folder"),
    [
        ("/tmp/clone/.venv/bin/orchestrator", "/tmp/clone"),  # noqa: S108 - nothing is written there
        ("/var/tmp/my 100%/bin/orchestrator", '"/var/tmp/my 100%%"'),  # noqa: S108
    ],
)
def test_a_program_below_tmp_is_brought_into_the_services_own(program: str, folder: str) -> None:
    """The service has a /tmp of its own, without the program that it should start."""
    away = system_unit(Installation(command=("/opt/orchestrator/bin/orchestrator",)), sandbox=False)
    assert "BindReadOnlyPaths" not in away
    unit = system_unit(Installation(command=(program,)), sandbox=True)
    assert f"\nBindReadOnlyPaths={folder}\n" in unit
    assert "\nPrivateTmp=yes\n" in unit


def test_what_the_top_of_a_unit_says_can_be_typed_on_a_new_machine() -> None:
    """With sudo there is no PATH of a virtual environment, and the folders of systemd or podman may be missing."""
    here = Installation(command=("/srv/my tools/orchestrator",))
    system, own, container = (
        system_unit(here, sandbox=False),
        user_unit(here, sandbox=False),
        quadlet(here, sandbox=False),
    )
    assert "#   sudo '/srv/my tools/orchestrator' service token /etc/orchestrator/server_token\n" in system
    assert "sudo orchestrator" not in system
    assert "#   mkdir -p ~/.config/systemd/user && '/srv/my tools/orchestrator' service print --user > ~/" in own
    assert "#   sudo mkdir -p /etc/containers/systemd\n" in container


def test_the_unit_waits_watches_and_hardens() -> None:
    """Ready before others start, restarted when it hangs, stopped within its time, no secret in an argument."""
    service = _sections(system_unit(Installation(command=("/opt/o/bin/orchestrator",)), sandbox=False))["Service"]
    assert (service["Type"], service["WatchdogSec"], service["TimeoutStopSec"]) == (["notify"], ["60"], ["45"])
    assert service["LoadCredential"] == [
        "anthropic_key:/etc/orchestrator/anthropic_key",
        "server_token:/etc/orchestrator/server_token",
    ]
    for setting in ("DynamicUser", "NoNewPrivileges", "PrivateTmp", "ProtectKernelTunables", "RestrictNamespaces"):
        assert service[setting] == ["yes"]
    assert service["ProtectSystem"] == ["strict"]
    assert "sk-" not in " ".join(value for values in service.values() for value in values)


def test_the_credential_of_the_unit_is_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """L1: what the unit sets, with systemd's folder in place of %d, makes the program read the key there."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))  # as systemd does; the mode is its own
    unit = _sections(system_unit(Installation(command=("/opt/o/bin/orchestrator",)), sandbox=False))
    (tmp_path / "anthropic_key").write_text("a-key-of-the-unit\n")
    (tmp_path / "anthropic_key").chmod(0o440)
    words = [word for line in unit["Service"]["Environment"] for word in line.split()]
    env = dict(word.replace("%d", str(tmp_path)).replace("%S", str(tmp_path)).split("=", 1) for word in words)
    settings = load_settings(flags={}, env=env, cwd=tmp_path)
    found = credentials_for(settings)
    assert found is not None
    assert found.api_key is not None
    assert found.api_key.reveal() == "a-key-of-the-unit"
    assert settings.server.token_file == tmp_path / "server_token"
    assert settings.database.path == tmp_path / "orchestrator/orchestrator.db"


def test_a_service_of_a_user_has_no_user_of_its_own() -> None:
    """What only the system's manager may do is not in it."""
    service = _sections(user_unit(Installation(command=("/opt/o/bin/orchestrator",)), sandbox=False))["Service"]
    assert not {"DynamicUser", "StateDirectory", "ProtectHome", "LoadCredential"} & set(service)


def test_the_container_runs_the_image_without_rights() -> None:
    """The Quadlet file mounts the store, checks the health, and gives the key as a secret."""
    container = _sections(quadlet(Installation(command=("/opt/o/bin/orchestrator",)), sandbox=False))["Container"]
    assert container["Volume"] == ["orchestrator-data:/data"]
    assert container["HealthCmd"] == ["orchestrator health"]
    assert container["ReadOnly"] == container["NoNewPrivileges"] == ["true"]
    assert container["Secret"] == ["anthropic_key,type=env,target=ANTHROPIC_API_KEY"]
    assert (
        "Secret"
        not in _sections(quadlet(Installation(command=("/opt/o/bin/orchestrator",)), sandbox=True))["Container"]
    )


def test_two_kinds_of_unit_at_once_are_refused(program: Program) -> None:
    """Rather than one of them by chance."""
    assert program("service", "print", "--user", "--container").code == 2


def test_a_token_is_random_long_and_private(program: Program) -> None:
    """256 bits each, mode 0600 whatever the umask, and never shown."""
    first, second = program.folder / "a", program.folder / "b"
    shown = program("service", "token", "a")
    assert program("service", "token", "b", "--json").facts["token_file"] == str(second)
    tokens = [path.read_text().strip() for path in (first, second)]
    assert [re.fullmatch(r"[A-Za-z0-9_-]{43}", token) is not None for token in tokens] == [True, True]
    assert tokens[0] != tokens[1]
    assert tokens[0] not in shown.out + shown.err
    assert stat.S_IMODE(first.stat().st_mode) == 0o600


def test_a_token_that_is_there_is_left_alone(program: Program) -> None:
    """Nor is one written through a link to somewhere else, or below a file."""
    (program.folder / "token").write_text("old")
    (program.folder / "link").symlink_to(program.folder / "elsewhere")
    assert program("service", "token", "token").code == 5
    assert program("service", "token", "link").code == 5
    assert program("service", "token", "token/below").code == 2
    assert (program.folder / "token").read_text() == "old"
    assert not (program.folder / "elsewhere").exists()


def test_the_folder_of_a_token_is_made(program: Program) -> None:
    """N (a) 7 (i): README's `service token ~/.config/orchestrator/token` works on a new machine; all is private."""
    file = program.folder / "home/.config/orchestrator/token"
    assert program("service", "token", str(file)).code == 0
    assert len(file.read_text().strip()) == 43
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in file.parents[:2]] == [0o700, 0o700]


def _sections(text: str) -> dict[str, dict[str, list[str]]]:
    """A unit file: by section and setting the values, as a setting may come several times."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            setting, _, value = line.partition("=")
            found.setdefault(section, {}).setdefault(setting, []).append(value)
    return found


def test_a_token_of_a_team_is_shown_once_and_the_settings_hold_its_digest(program: Program) -> None:
    """What is printed can be appended to the settings as it is; the token is in the file, or on standard error."""
    made = program("service", "token", "--name", "ana", "--role", "submit", "--quiet")
    secret = made.err.rpartition(" ")[2].strip()
    assert (made.code, len(secret), secret in made.out) == (0, 43, False)
    kept = program("service", "token", "ci.token", "--name", "ci", "--role", "read")
    there = (program.folder / "ci.token").read_text().strip()
    assert (kept.code, there in kept.out + kept.err) == (0, False)
    (program.folder / "team.toml").write_text(made.out + kept.out)
    shown = program("config", "show", "--config", "team.toml", "--json").out
    for digest in (hashlib.sha256(each.encode()).hexdigest() for each in (secret, there)):
        assert digest in made.out + kept.out
        assert digest[:8] in shown
        assert digest not in shown
    facts = program("service", "token", "--name", "x", "--role", "admin", "--json").facts
    assert hashlib.sha256(facts["token"].encode()).hexdigest() == facts["sha256"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "ana"], "--name needs --role"),
        (["--role", "read"], "--role needs --name"),
        (["--name", "ana", "--role", "owner"], "--role read, submit or admin"),
        (["--name", "a b", "--role", "read"], "letters, digits"),
        (["--name", "default", "--role", "read"], "another name"),
        ([], "a FILE is missing"),
    ],
)
def test_a_wrong_name_or_role_is_refused_with_the_remedy(program: Program, words: list[str], told: str) -> None:
    """And nothing is made."""
    refused = program("service", "token", *words)
    assert (refused.code, told in refused.err, refused.out) == (2, True, "")
