"""A daemon from outside: `service` with its units and tokens, `health`, and `login` for the browser."""

from __future__ import annotations

import http.client
import os
import socket
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.cli.console import say, show, show_json
from orchestrator.cli.group import CommandEntry, HintedUsageError, command, group
from orchestrator.cli.options import GlobalOptions
from orchestrator.domain import humanize
from orchestrator.domain.access import DEFAULT_NAME, NAME_RULE, AccessRole, is_token_name
from orchestrator.domain.errors import GuardRefused, OrchestratorError, OutputError, StoreError, shortage
from orchestrator.store.location import answers, location_of

if TYPE_CHECKING:
    from orchestrator.client.server_address import Server
    from orchestrator.client.transport import Transport
    from orchestrator.ports.reads import StoreLocation

SERVICE_EXAMPLES = """
Examples:
  orchestrator service print | sudo tee /etc/systemd/system/orchestrator.service
  mkdir -p ~/.config/systemd/user && orchestrator service print --user > ~/.config/systemd/user/orchestrator.service
  orchestrator service token ~/.config/orchestrator/token       then: [server] token_file = "…"
  orchestrator service token --name ana --role submit           one of a team; prints its block [[tokens]]

The unit says at its top how it is installed. Its log goes to the journal: journalctl -u orchestrator
"""


service = group(
    {
        "print": CommandEntry("Print a unit file for systemd or podman.", "service", "print_unit"),
        "token": CommandEntry("Make a random token for the HTTP API: the daemon's, or one of a team.", "service"),
    },
    SERVICE_EXAMPLES,
)


@command(SERVICE_EXAMPLES)
@click.option("--user", "for_user", is_flag=True, help="A service of your own, for systemctl --user.")
@click.option("--container", "for_container", is_flag=True, help="A Quadlet file: podman runs the image.")
def print_unit(options: GlobalOptions, *, for_user: bool, for_container: bool) -> None:
    """It starts this very installation of the program, waits until it is ready, watches that it is alive, hands it the
    key as a credential, and takes away every right that it does not need.
    """
    from orchestrator.cli.systemd import quadlet, system_unit, this_installation, user_unit

    if options.db is not None:
        hint = (
            "leave it out: each kind of unit has a place for its store; [database] path in its settings names another"
        )
        raise HintedUsageError("a unit does not take --db from here", hint=hint)
    if for_user and for_container:
        raise HintedUsageError("--user and --container do not go together", hint="a Quadlet file is the same for both")
    if for_container:
        text = quadlet(this_installation(), sandbox=options.sandbox)
    elif for_user:
        text = user_unit(this_installation(), sandbox=options.sandbox)
    else:
        text = system_unit(this_installation(), sandbox=options.sandbox)
    if options.as_json:
        show_json({"unit": text})
        return
    show(text.removesuffix("\n"))


@command(SERVICE_EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--name", metavar="NAME", help="Whose token it is: it becomes one of a team's.")
@click.option("--role", metavar="ROLE", help="What it may do: read, submit or admin.")
def token(options: GlobalOptions, file: Path | None, name: str | None, role: str | None) -> None:
    """256 bits, readable by you alone (mode 0600); a folder that is missing is made (0700). A file that is there is
    left alone: whoever uses it would be shut out. The token itself is not shown.

    With --name and --role it is one of several: the block [[tokens]] for the daemon's settings goes to standard output,
    and holds its digest only; SIGHUP takes it over. Without FILE the token itself is shown, once, on standard error.
    """
    if name is None and role is None:
        if file is None:
            raise HintedUsageError("a FILE is missing", hint="or make one of a team: --name NAME --role ROLE")
        _write_token(file)
        if options.as_json:
            show_json({"token_file": str(file.absolute())})
            return
        say(options, f"wrote {file}; the daemon reads it with [server] token_file, a client shows it as a bearer token")
        return
    _make_team_token(options, file, _checked_name(name), _checked_role(role))


def _make_team_token(options: GlobalOptions, file: Path | None, name: str, role: AccessRole) -> None:
    from orchestrator.config.token_section import token_block
    from orchestrator.http_api.guard.access_tokens import digest_of, new_token

    secret = new_token() if file is None else _write_token(file)
    digest = digest_of(secret).hex()
    if options.as_json:
        place = {"token": secret} if file is None else {"token_file": str(file.absolute())}
        show_json({"name": name, "role": role.value, "sha256": digest, **place})
        return
    show(token_block(name, role, digest))
    say(options, "the block above belongs into the daemon's settings (>> FILE); SIGHUP takes it over")
    if file is not None:
        say(options, f"wrote {file}: {name} shows what it holds as a bearer token")
    else:  # also with --quiet: it is nowhere else
        click.echo(f"the token of {name}, shown this once: {secret}", err=True)


def _checked_name(name: str | None) -> str:
    if name is None:
        raise HintedUsageError("--role needs --name", hint="--name NAME says whose token it is")
    if name == DEFAULT_NAME or not is_token_name(name):
        cause = "is the token of [server] token_file" if name == DEFAULT_NAME else "cannot be the name of a token"
        raise HintedUsageError(f"{humanize.plain(name)!r} {cause}", hint=f"another name: {NAME_RULE}")
    return name


def _checked_role(role: str | None) -> AccessRole:
    roles = [each.value for each in AccessRole]
    if role is None or role not in roles:
        told = "--name needs --role" if role is None else f"there is no role {humanize.plain(role)!r}"
        raise HintedUsageError(told, hint=f"--role {', '.join(roles[:-1])} or {roles[-1]}")
    return AccessRole(role)


def _write_token(file: Path) -> str:
    """A new token, written into *file*. Raises GuardRefused if that is there, OutputError."""
    from orchestrator.store.ownership import make_private_folder

    try:
        make_private_folder(file.absolute().parent)
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        return _written_token(fd, file)
    except FileExistsError:
        hint = "remove it first to make a new token"
        raise GuardRefused(f"{file} is there already; nothing was changed", hint=hint) from None
    except (OSError, StoreError) as exc:
        cause = exc.strerror if isinstance(exc, OSError) else f"{exc.message}: {exc.cause}"
        hint = "make space, or choose another disk" if shortage(exc) is not None else "choose another path"
        raise OutputError(f"{file} cannot be written", cause=cause, hint=hint) from exc


def _written_token(fd: int, file: Path) -> str:
    """Write a new token. A *file* that cannot be written whole is removed, so that the next try does not find it."""
    from orchestrator.http_api.guard.access_tokens import new_token

    secret = new_token()
    try:
        with open(fd, "w", encoding="ascii") as out:
            out.write(f"{secret}\n")
    except OSError:
        file.unlink(missing_ok=True)
        raise
    return secret


HEALTH_EXAMPLES = """
Examples:
  orchestrator health                          exit code 0: an engine runs on this store, and is ready
  HEALTHCHECK CMD ["orchestrator", "health"]   in a Dockerfile

Exit codes: 0 ready, 1 not ready (or no engine runs).
"""

_WITHIN_S: Final = 5.0
_NONE_RUNS: Final = "no engine runs on this store"
_READY: Final = "/readyz"
#: Every engine ever has it: one that runs since before an update knows no /readyz.
_ALIVE: Final = "/api/v1/version"


@command(HEALTH_EXAMPLES)
def health(options: GlobalOptions) -> int:
    server = options.remote()
    fact = _engines_unready(location_of(options.settings())) if server is None else _server_unready(options, server)
    ready = fact is None
    if options.as_json:
        show_json({"ready": ready, "why": fact})
    elif ready:
        say(options, "ready")
    else:
        show(f"not ready: {fact}")
    return 0 if ready else 1


def _server_unready(options: GlobalOptions, server: Server) -> str | None:
    """Why *server* is not ready; None if it is."""
    from orchestrator.cli.store_access import server_reader

    try:
        with server_reader(options, server) as reader:
            reader.fetch("readyz", {})
    except OrchestratorError as exc:
        return exc.message if exc.cause is None else f"{exc.message} ({exc.cause})"
    return None


def _engines_unready(location: StoreLocation) -> str | None:
    """None if an engine of this machine is ready, else why the one that was asked last is not."""
    why: str | None = _NONE_RUNS
    for path in location.engine_sockets():
        why = _engine_unready(path)
        if why is None:
            break
    return why


def _engine_unready(path: Path) -> str | None:
    """None if the engine that listens at *path* is ready, else why it is not."""
    try:
        status = _status(path, _READY)
        if status == http.HTTPStatus.NOT_FOUND:
            status = _status(path, _ALIVE)
    except FileNotFoundError:
        return _NONE_RUNS
    except TimeoutError:
        return f"the engine does not answer within {_WITHIN_S:g} s"
    except (OSError, http.client.HTTPException) as exc:
        return f"the engine cannot be asked ({type(exc).__name__})"
    return None if status == http.HTTPStatus.OK else f"the engine says {status}"


def _status(path: Path, target: str) -> int:
    connection = _SocketConnection(path)
    try:
        connection.request("GET", target, headers={"host": "engine"})
        return connection.getresponse().status
    finally:
        connection.close()


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, without loading an HTTP library: a health check runs every few seconds."""

    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=_WITHIN_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_WITHIN_S)
        self.sock.connect(os.fspath(self._path))


LOGIN_EXAMPLES = """
The link is good once, for ten minutes. The browser stays logged in for a week, until it logs out, or until the
daemon's token is another one.

Examples:
  orchestrator login                  print a link
  orchestrator login --open           open it in the browser
  orchestrator login --server https://jobs.example.com --token-file FILE
"""

_LINK_FILE: Final = "orchestrator-open.html"


@command(LOGIN_EXAMPLES)
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
def login(options: GlobalOptions, *, opens: bool) -> None:
    url, expires_in_s = _link(options)
    if options.as_json:
        show_json({"url": url, "expires_in_s": expires_in_s})
    else:
        show(url)
        if expires_in_s is not None:
            say(options, f"good once, for {expires_in_s // 60} minutes")
    if opens:
        open_in_browser(url, is_secret=expires_in_s is not None)


def _link(options: GlobalOptions) -> tuple[str, int | None]:
    """A link, and how many seconds it is valid. With --server it leads to the address that was given."""
    server = options.remote()
    if server is None:
        from orchestrator.client.transport import SocketTransport

        url, path, expires_in_s = _way_in(SocketTransport(_answering(location_of(options.settings()))))
        return f"{url}{path}", expires_in_s
    from orchestrator.client.transport import ServerTransport

    _, path, expires_in_s = _way_in(ServerTransport(server))
    return f"{server.url}{path}", expires_in_s


def _answering(location: StoreLocation) -> Path:
    """The socket of an engine on this machine. Raises GuardRefused where none listens."""
    found = next(filter(answers, location.engine_sockets()), None)
    if found is None:
        raise GuardRefused(f"no engine runs on {location}", hint="`orchestrator serve` starts one")
    return found


def _way_in(way: Transport) -> tuple[str, str, int | None]:
    from orchestrator.cli.signals import run_async  # `health` starts without an event loop
    from orchestrator.client.remote_commands import login_link

    return run_async(lambda: login_link(way))


def open_in_browser(url: str, *, is_secret: bool) -> None:
    """Open *url*. A secret one is not put on a command line, which every user can read.

    The browser is given a file in a private folder instead, which redirects there.
    """
    import webbrowser

    webbrowser.open(_leading_to(url).as_uri() if is_secret else url)


def _leading_to(url: str) -> Path:
    """A page that redirects to *url*, readable by this user alone."""
    from orchestrator.config import socket_folder

    path = socket_folder(os.environ) / _LINK_FILE
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(fd, "w", encoding="utf-8") as page:  # noqa: PTH123 - an open descriptor, made exclusively
        page.write(
            f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(url)}"><title>orchestrator</title>'
        )
    return path
