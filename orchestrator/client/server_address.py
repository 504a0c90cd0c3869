"""Which daemon `--server` means, its token, and whether the token may go there. Sends nothing.

A port is anybody's while the daemon is down: Linux says in /proc/net/tcp and tcp6 whose program listens. Elsewhere
that is not known, and nothing is refused.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from orchestrator.config.safe_files import read_secret
from orchestrator.domain.errors import NeedsPerson, UsageError
from orchestrator.domain.urls import is_loopback, split_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


TOKEN_VARIABLE: Final = "ORCHESTRATOR_SERVER_TOKEN"  # noqa: S105 - the name of a variable
FILE_VARIABLE: Final = "ORCHESTRATOR_TOKEN_FILE"
#: What a header can hold without being read as something else. Source: RFC 6750, 2.1 (b64token), and a little more.
_TOKEN: Final = re.compile(r"[!-~]{1,4096}", re.ASCII)
_REMEDY: Final = "give the address alone, such as https://jobs.example.com or http://127.0.0.1:8787"
_CONNECT_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A daemon by its address. url: without a slash at the end. token_from: where the token came from, for messages.

    socket: the socket of a daemon of this user on this machine, which asks for no token there; None: use TCP.
    """

    url: str
    socket: Path | None = None
    token: str | None = field(default=None, repr=False)
    token_from: str = "nowhere"  # noqa: S105 - not a token

    @property
    def headers(self) -> dict[str, str]:
        """The headers that authenticate us."""
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}


def server_at(url: str, *, token: str | None = None, token_file: Path | None = None) -> Server:
    """The daemon at *url*, with this token, else the one in *token_file*, else that of the environment.

    A daemon of this user that listens there is reached by its socket, and needs no token of the environment: no other
    program that may have the address by now sees that (see also `check_listener`). A token that is given here is shown,
    over TCP, so that it counts: its name and role apply, and it is refused if it is wrong. Raises UsageError for an
    address that cannot be used, or that a token may not be sent to; NeedsPerson for a token that cannot be read. No
    message shows the token, or a password in the address.
    """
    parts = _split(url)
    secret, origin = _token(token, token_file, os.environ)
    if secret is not None and parts.scheme == "http" and not is_loopback(str(parts.hostname)):
        raise UsageError(
            f"the token (from {origin}) is not sent to {_shown(parts)}",
            cause="over plain http anybody on the way could read it",
            hint="use https://, or a tunnel: ssh -L 8787:127.0.0.1:8787 HOST, then --server http://127.0.0.1:8787",
        )
    own = _own_socket(parts, os.environ) if token is None and token_file is None else None
    if own is not None:
        secret, origin = None, "nowhere: none is needed on the socket of a daemon of your own"
    return Server(url=_shown(parts), socket=own, token=secret, token_from=origin)


def _own_socket(parts: SplitResult, environ: Mapping[str, str]) -> Path | None:
    """The socket of this user's daemon at an http address of this machine, if one answers there."""
    host = str(parts.hostname)
    if parts.scheme != "http" or parts.path.rstrip("/") or not is_loopback(host):
        return None
    from orchestrator.config import daemon_socket

    port = 80 if parts.port is None else parts.port
    hosts = ("127.0.0.1", "::1") if host == "localhost" else (str(ip_address(host)),)
    found = (daemon_socket((each, port), environ) for each in hosts)
    return next((path for path in found if path is not None and _answers(path)), None)


def _answers(path: Path) -> bool:
    """True if somebody listens there; the socket of a killed daemon does not count."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.settimeout(_CONNECT_TIMEOUT_S)
        try:
            knocking.connect(os.fspath(path))
        except OSError:
            return False
    return True


def environ_for_remote(environ: Mapping[str, str]) -> Mapping[str, str]:
    """*environ* for settings without a store: a container without a home directory can use a server, too."""
    return environ if "HOME" in environ else {"XDG_DATA_HOME": os.devnull, **environ}


def _split(url: str) -> SplitResult:
    """The parts of a usable address. Errors do not quote it: it may hold a password."""
    told = "the address of the server cannot be used"
    try:
        parts = split_address(url.strip())
    except ValueError as exc:
        raise UsageError(told, cause=str(exc), hint=_REMEDY) from None
    if parts.query or parts.fragment:
        raise UsageError(told, cause="it has a query or a fragment", hint=_REMEDY)
    return parts


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _token(token: str | None, token_file: Path | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The token and its origin. An argument or a file on the command line comes before the environment."""
    if token is not None:
        return _checked(token, "the argument `token`"), "the argument `token`"
    if token_file is not None:
        return _checked(_read(token_file), f"the file {token_file}"), f"the file {token_file}"
    if (said := environ.get(TOKEN_VARIABLE, "")) != "":
        return _checked(said, TOKEN_VARIABLE), f"the environment variable {TOKEN_VARIABLE}"
    if (named := environ.get(FILE_VARIABLE, "")) != "":
        return _checked(_read(Path(named).expanduser()), f"the file {named}"), f"the file {named} ({FILE_VARIABLE})"
    return None, f"nowhere: no --token-file, and neither {TOKEN_VARIABLE} nor {FILE_VARIABLE} is set"


def _read(path: Path) -> str:
    """The text of the file, which nobody else may read. Raises NeedsPerson."""
    hint = "it holds the server's token alone; `orchestrator service token FILE` makes one"
    return read_secret(path, called="the token file", hint=hint, error=NeedsPerson)


def _checked(raw: str, origin: str) -> str:
    value = raw.strip()
    if _TOKEN.fullmatch(value) is None:
        cause = "it is blank" if value == "" else "it has spaces, line breaks, control or non-ASCII characters inside"
        raise NeedsPerson(f"the token in {origin} cannot be a token", cause=cause, hint="it is one line of plain text")
    return value


#: The user that the daemon runs as, where it is neither you nor root.
USER_VARIABLE: Final = "ORCHESTRATOR_SERVER_USER"
_TABLES: Final = Path("/proc/net")
_LISTENING: Final = "0A"
_ROOT: Final = 0
_LOCALHOST: Final = ("127.0.0.1", "::1")

_Ip = IPv4Address | IPv6Address


def check_listener(server: Server, environ: Mapping[str, str], *, tables: Path = _TABLES) -> None:
    """Raise UsageError if the token of *server* would go to a program of another user on this machine.

    Called before every request, because a daemon may end meanwhile. Root is trusted: it can read the token anyway.
    """
    parts = urlsplit(server.url)
    host = str(parts.hostname)
    if server.token is None or server.socket is not None or parts.scheme != "http" or not is_loopback(host):
        return
    hosts = _LOCALHOST if host == "localhost" else (host,)
    port = 80 if parts.port is None else parts.port
    trusted = {os.geteuid(), _ROOT, *_named(environ)}
    strangers = {uid for each in hosts for uid in owners(ip_address(each), port, tables=tables)} - trusted
    if strangers:
        raise UsageError(
            f"the token (from {server.token_from}) is not sent to {server.url}",
            cause=f"a program of another user listens there ({', '.join(map(_user_name, sorted(strangers)))})",
            hint=f"if the daemon runs as that user, name it: {USER_VARIABLE}=USER; else start yours",
        )


def owners(address: _Ip, port: int, *, tables: Path = _TABLES) -> set[int]:
    """The users whose programs may get a connection to *address* and *port*; empty where that is not known."""
    return {
        uid
        for name in ("tcp", "tcp6")
        for at, its_port, uid in _listeners(tables / name)
        if its_port == port and _takes(at, address)
    }


def _listeners(table: Path) -> Iterator[tuple[_Ip, int, int]]:
    """Address, port and user of every socket that listens. Source: Linux, Documentation/networking/proc_net_tcp.rst."""
    with suppress(OSError):
        for line in table.read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 7 and fields[3] == _LISTENING:
                host, _, port = fields[1].partition(":")
                yield _address(host), int(port, 16), int(fields[7])


def _address(text: str) -> _Ip:
    """The address in a row: 32-bit words in the machine's own byte order."""
    words = [int(text[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(text), 8)]
    found = ip_address(b"".join(words))
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


def _takes(listening: _Ip, address: _Ip) -> bool:
    """True if a socket *listening* there may get the connection.

    On every IPv6 address it may take IPv4 as well: the table does not say.
    """
    if listening.is_unspecified:
        return listening.version in (address.version, 6)
    return listening == address


def _named(environ: Mapping[str, str]) -> Iterator[int]:
    """The user that the environment names, by name or number. Raises UsageError for an unknown one."""
    name = environ.get(USER_VARIABLE, "")
    if name == "":
        return
    if name.isascii() and name.isdigit():
        yield int(name)
        return
    try:
        yield pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(f"{USER_VARIABLE} names no user of this machine", hint="give a name or a number") from None


def _user_name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name}, uid {uid}"
    except KeyError:
        return f"uid {uid}"
