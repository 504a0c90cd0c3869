"""systemd: unit files for the system and for a user, a Quadlet file for podman, and sd_notify.

Sources: systemd.exec(5), systemd.service(5), podman-systemd.unit(5), sd_notify(3), sd_watchdog_enabled(3), read
2026-11-26.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"

#: Folders that `ProtectHome=yes` empties for a service.
_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
#: Folders of which `PrivateTmp=yes` gives a service its own; `DynamicUser=yes` implies it, so it cannot be left out.
_TMPS: Final = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is written there

_SYSTEM_HEAD: Final = """\
# orchestrator as a system service. To install it:
#   {program} service print | sudo tee /etc/systemd/system/orchestrator.service
#   sudo install -d -m 0700 /etc/orchestrator
#   sudo install -m 0600 FILE-WITH-THE-KEY /etc/orchestrator/anthropic_key
#   sudo {program} service token /etc/orchestrator/server_token
#   sudo systemctl daemon-reload && sudo systemctl enable --now orchestrator
# Settings: /etc/orchestrator/config.toml. To look at it from a shell:
#   sudo XDG_RUNTIME_DIR=/run/orchestrator {program} --db /var/lib/orchestrator/orchestrator.db status
# (and with `login` at its end: a link to the dashboard)
"""

_USER_HEAD: Final = """\
# orchestrator as a service of one user. To install it:
#   mkdir -p ~/.config/systemd/user && {program} service print --user > ~/.config/systemd/user/orchestrator.service
#   install -D -m 0600 FILE-WITH-THE-KEY ~/.config/orchestrator/anthropic_key
#   systemctl --user daemon-reload && systemctl --user enable --now orchestrator
# It ends when you log out, unless: loginctl enable-linger
# Settings: ~/.config/orchestrator/config.toml. A link to the dashboard: {program} login
"""

_SANDBOX_HEAD: Final = """\
# orchestrator as a service, in SANDBOX mode: no key, no network, canned answers.
"""

_HARDENING: Final = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077
MemoryMax=1G
"""

_SYSTEM_HARDENING: Final = """\
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
CapabilityBoundingSet=
AmbientCapabilities=
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """How this program is started: the words of its command, the first an absolute path."""

    command: tuple[str, ...]

    @property
    def is_in_a_home(self) -> bool:
        """True if a service with `ProtectHome=yes` would not find the program."""
        return any(Path(self.command[0]).is_relative_to(home) for home in _HOMES)

    @property
    def folder_in_tmp(self) -> Path | None:
        """The folder in /tmp or /var/tmp that holds the program, which `PrivateTmp=yes` would hide."""
        program = Path(self.command[0])
        for tmp in _TMPS:
            if program.is_relative_to(tmp):
                return tmp / program.relative_to(tmp).parts[0]
        return None

    @property
    def in_a_shell(self) -> str:
        """The command as it is typed: sudo knows no PATH of a virtual environment."""
        return shlex.join(self.command)


def this_installation() -> Installation:
    """The `orchestrator` beside this interpreter, or the interpreter itself where there is none."""
    script = Path(sysconfig.get_path("scripts")) / "orchestrator"
    words = (str(script),) if script.is_file() else (sys.executable, "-m", "orchestrator")
    return Installation(command=words)


def system_unit(installation: Installation, *, sandbox: bool) -> str:
    """A unit for /etc/systemd/system: a user of its own, its state in /var/lib/orchestrator, secrets as credentials."""
    head = _SANDBOX_HEAD if sandbox else _SYSTEM_HEAD.format(program=installation.in_a_shell)
    lines = [head, *_unit_section("After=network-online.target")]
    lines += ["Wants=network-online.target", "", "[Service]", *_service(installation, sandbox=sandbox)]
    if not sandbox:
        lines += [
            "LoadCredential=anthropic_key:/etc/orchestrator/anthropic_key",
            "LoadCredential=server_token:/etc/orchestrator/server_token",
            "Environment=ORCHESTRATOR_API__KEY_FILE=%d/anthropic_key",
            "Environment=ORCHESTRATOR_SERVER__TOKEN_FILE=%d/server_token",
        ]
    lines += [
        "Environment=ORCHESTRATOR_DATABASE__PATH=%S/orchestrator/orchestrator.db",
        "Environment=XDG_CONFIG_HOME=%E XDG_RUNTIME_DIR=%t/orchestrator",
        "WorkingDirectory=%S/orchestrator",
        "DynamicUser=yes",
        "StateDirectory=orchestrator",
        "StateDirectoryMode=0700",
        "RuntimeDirectory=orchestrator",
        "RuntimeDirectoryMode=0700",
    ]
    lines += _home(installation)
    return _joined(lines, _SYSTEM_HARDENING + _HARDENING, wanted_by="multi-user.target")


def user_unit(installation: Installation, *, sandbox: bool) -> str:
    """A unit for ~/.config/systemd/user: your own store, the key in ~/.config/orchestrator."""
    head = _SANDBOX_HEAD if sandbox else _USER_HEAD.format(program=installation.in_a_shell)
    lines = [head, *_unit_section(), "", "[Service]"]
    lines += _service(installation, sandbox=sandbox)
    if not sandbox:
        lines.append("Environment=ORCHESTRATOR_API__KEY_FILE=%E/orchestrator/anthropic_key")
    return _joined(lines, _HARDENING, wanted_by="default.target")


def quadlet(installation: Installation, *, sandbox: bool) -> str:
    """A `.container` file for /etc/containers/systemd: podman runs the image of our Dockerfile under systemd."""
    flag = " --sandbox" if sandbox else ""
    key = "" if sandbox else "Secret=anthropic_key,type=env,target=ANTHROPIC_API_KEY\n"
    return f"""\
# orchestrator in a container, started by systemd through podman. To install it:
#   podman build -t localhost/orchestrator .
#   podman secret create anthropic_key FILE-WITH-THE-KEY
#   sudo mkdir -p /etc/containers/systemd
#   {installation.in_a_shell} service print --container | sudo tee /etc/containers/systemd/orchestrator.container
#   sudo systemctl daemon-reload && sudo systemctl start orchestrator
[Unit]
Description=Durable job orchestrator for the Message Batches API
After=network-online.target
Wants=network-online.target

[Container]
Image=localhost/orchestrator:latest
Exec=serve{flag}
{key}Volume=orchestrator-data:/data
ReadOnly=true
NoNewPrivileges=true
DropCapability=all
Ulimit=nofile=65536:65536
Notify=true
HealthCmd=orchestrator health

[Service]
Restart=always
RestartSec=2
TimeoutStartSec=900
TimeoutStopSec=45
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


def _unit_section(*more: str) -> list[str]:
    return ["[Unit]", "Description=Durable job orchestrator for the Message Batches API", *more]


def _service(installation: Installation, *, sandbox: bool) -> Iterator[str]:
    """Lines of both units. A store of an earlier version is migrated at the start, which may take minutes."""
    words = [*installation.command, "serve", *(["--sandbox"] if sandbox else [])]
    yield from ("Type=notify", "NotifyAccess=main", f"ExecStart={' '.join(map(_word, words))}")
    yield from ("ExecReload=/bin/kill -HUP $MAINPID", "Restart=always", "RestartSec=2")
    yield "RestartPreventExitStatus=2"
    yield from ("WatchdogSec=60", "TimeoutStartSec=900", "TimeoutStopSec=45", "LimitNOFILE=65536")


def _home(installation: Installation) -> Iterator[str]:
    if installation.is_in_a_home:
        yield "# The program lies in a home, which this service must read; /opt or /usr/local is a better place for it."
        yield "ProtectHome=read-only"
    else:
        yield "ProtectHome=yes"
    if (folder := installation.folder_in_tmp) is not None:
        yield "# The program lies in a folder that is cleaned by time; /opt or /usr/local is a better place for it."
        yield f"BindReadOnlyPaths={_quoted(str(folder))}"


def _joined(lines: list[str], hardening: str, *, wanted_by: str) -> str:
    return "\n".join(lines) + f"\n\n{hardening}\n[Install]\nWantedBy={wanted_by}\n"


def _word(text: str) -> str:
    """*text* as one word of ExecStart. Source: systemd.service(5), "Command lines": %, $, quotes and backslashes."""
    return _quoted(text).replace("$", "$$")


def _quoted(text: str) -> str:
    """*text* as one word of a unit."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if any(char in text for char in " \t'\"\\;") else escaped


class Notifier:
    """Sends states to the socket that NOTIFY_SOCKET names; silent if there is none or nobody listens."""

    def __init__(self, environ: Mapping[str, str], *, pid: int) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte of an abstract socket.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.alive_every = _watchdog(environ, pid)

    def tell(self, *states: str) -> None:
        """Send *states* as one message."""
        if not self._address.startswith(("\0", "/")):
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
        ):
            out.sendto("\n".join(states).encode(), self._address)

    async def stay_alive(self) -> None:
        """Tell the watchdog, twice as often as it asks for, until cancelled.

        Runs in the engine's own event loop: one that hangs says nothing any more, and systemd starts us again.
        """
        import asyncio

        if self.alive_every is None:
            return
        while True:
            self.tell(ALIVE)
            await asyncio.sleep(self.alive_every.total_seconds())


def notifier() -> Notifier:
    """The notifier of this process."""
    return Notifier(os.environ, pid=os.getpid())


def _watchdog(environ: Mapping[str, str], pid: int) -> timedelta | None:
    text = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid) or not (text.isascii() and text.isdigit()) or int(text) == 0:
        return None
    return timedelta(microseconds=int(text)) / 2
