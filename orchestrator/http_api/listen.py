"""Binds the HTTP API to a TCP address and to the unix socket beside the store, with the guard in front of each.

The unix socket is for commands of the same user. `is_own_address` tells whether an address is our own: a daemon that
asked itself would buy from itself without end.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from orchestrator.config import DEFAULT_LISTEN, ServerSection, TokenSection, parse_address
from orchestrator.config.paths import check_socket_path
from orchestrator.domain import errors, urls
from orchestrator.domain.access import AccessRole, Bearer
from orchestrator.http_api import browser_login, request_scope, uvicorn_server
from orchestrator.http_api.guard import access_rules, access_tokens, middleware, request_limits
from orchestrator.http_api.guard.connection_limits import ConnectionLimits, connection_limits, open_files_limit
from orchestrator.observability.logs import get_logger
from orchestrator.ports import caller

if TYPE_CHECKING:
    from starlette.types import ASGIApp


log = get_logger(__name__)

#: What `getaddrinfo` gives and `bind` takes: host, port, and for IPv6 two numbers more.
_Address = tuple[Any, ...]
_OTHER: Final = "choose another with --listen, such as 127.0.0.1:0 for any that is free"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpListener:
    """A bound address and its access rules. url: for people, and for clients on this machine.

    host, url: numeric, even if the settings have a name. taken_port: the default port, if another program has it and
    this is a free one instead. own_token: the file of the daemon's own token, required if the settings name none; None:
    no token is required.
    """

    host: str
    listener: socket.socket
    access: access_rules.AccessRules
    url: str
    taken_port: int | None
    own_token: Path | None

    @property
    def port(self) -> int:
        """The port that it is bound to."""
        found: int = self.listener.getsockname()[1]
        return found

    def dashboard_link(self) -> tuple[str, str]:
        """The dashboard's address for people, who may come through a proxy, and the path that opens it.

        If a login is required, the path logs one browser in, once, within `sessions.CODE_S`, as who asks for it.
        """
        base = self.url if self.access.public_url is None else self.access.public_url
        token = self._asker()
        if token is None:
            return base, "/"
        return base, f"{request_scope.LOGIN}?code={self.access.sessions.new_code(token.digest)}"

    def _asker(self) -> access_rules.KnownToken | None:
        """The token of who asks; for a command on this machine the one that may most. None: no token is required."""
        asks, tokens = caller.current(), self.access.tokens
        if asks is not None:
            tokens = tuple(each for each in tokens if each.bearer.name == asks.name)
        roles = list(AccessRole)
        return max(tokens, key=lambda each: roles.index(each.bearer.role), default=None)

    @property
    def own_addresses(self) -> tuple[tuple[str, int], ...]:
        """Loopback addresses by which this machine reaches it, with the port."""
        host, port = self.listener.getsockname()[:2]
        hosts = {"0.0.0.0": ("127.0.0.1",), "::": ("127.0.0.1", "::1")}.get(host, (host,))  # noqa: S104 - looked at
        return tuple((each, port) for each in hosts if urls.is_loopback(each))


def listen(
    server: ServerSection,
    tokens: Sequence[TokenSection] = (),
    *,
    is_chosen: bool = False,
    own_token: Path | None = None,
) -> TcpListener | None:
    """Bind the address in the settings; None if it is empty. is_chosen: the user named it, even if it is the default.

    own_token: the file of a token for callers on this machine, created if needed, in case the settings name none.
    Raises UsageError for an address that others can reach without a token, an unusable token file, or an address that
    cannot be bound. Only the default address falls back to a free port, if another program has it and the user did not
    name it.
    """
    if not server.listen:
        return None
    name, wanted = parse_address(server.listen)
    family, address = _resolved(name, wanted)
    host = str(address[0])
    known = _known_tokens(server, tokens, host, own_token)
    listener = _bound(family, address, may_give_way=server.listen == DEFAULT_LISTEN and not is_chosen)
    port = listener.getsockname()[1]
    access = access_rules.AccessRules(
        host, port, name=name, allowed_hosts=server.allowed_hosts, tokens=known, public_url=server.public_url
    )
    return TcpListener(
        host=host,
        listener=listener,
        access=access,
        url=f"http://{_shown(host)}:{port}",
        taken_port=wanted if wanted not in (0, port) else None,
        own_token=own_token,
    )


def reload_access(at: TcpListener, server: ServerSection, tokens: Sequence[TokenSection] = ()) -> bool:
    """Apply the tokens, and the names in *server*, to all further requests; True if the tokens changed.

    The address stays. Raises UsageError as `listen` does; then nothing changes.
    """
    before, known = at.access.tokens, _known_tokens(server, tokens, at.host, at.own_token)
    at.access.tokens, at.access.allowed_hosts, at.access.public_url = known, server.allowed_hosts, server.public_url
    return known != before


async def serve_tcp(
    app: ASGIApp, at: TcpListener, server: ServerSection, *, ready: Callable[[], None], stop: asyncio.Event
) -> None:
    """Serve *app* there until *stop*; see `uvicorn_server.serve_on`."""
    limits = _limits(server.max_connections)
    bodies = request_limits.BodyLimits(upload_bytes=server.max_body)
    guarded = middleware.Guard(
        browser_login.LoginMiddleware(app, at.access), access=at.access, limits=bodies, connections=limits.connections
    )
    try:
        await uvicorn_server.serve_on(at.listener, guarded, limits, ready=ready, stop=stop)
    finally:
        at.listener.close()


def _limits(wanted: int) -> ConnectionLimits:
    """What the limit of open files leaves of *wanted* connections; logs if that is less."""
    open_files = open_files_limit()
    limits = connection_limits(open_files, wanted)
    if limits.connections < wanted:
        hint = "raise the hard limit of open files (`ulimit -Hn`, LimitNOFILE= in a unit)"
        log.warning("connections.lowered", wanted=wanted, taken=limits.connections, open_files=open_files, hint=hint)
    return limits


def _known_tokens(
    server: ServerSection, tokens: Sequence[TokenSection], host: str, own: Path | None
) -> tuple[access_rules.KnownToken, ...]:
    """The tokens that let in: the one of `[server]`, or the daemon's own (*own* is its file), and those of a team.

    Raises UsageError for a token that is unusable, that has two names, or that is missing where one is required.
    """
    default = _default_token(server, host, own, is_needed=not tokens)
    team = [
        access_rules.KnownToken(bearer=Bearer(name=each.name, role=AccessRole(each.role)), digest=each.digest)
        for each in tokens
    ]
    twice = next((each for each in team if each.digest == default), None)
    if twice is not None:
        hint = "make one of its own: `orchestrator service token --name NAME --role ROLE`"
        raise errors.UsageError(f"[[tokens]] {twice.bearer.name} is the token of the daemon itself", hint=hint)
    return (*(() if default is None else [access_rules.KnownToken.default(default)]), *team)


def _default_token(server: ServerSection, host: str, own: Path | None, *, is_needed: bool) -> bytes | None:
    """The digest of the one token of the daemon itself. is_needed: there is no other."""
    if server.token_file is not None:
        return access_tokens.digest_of(access_tokens.read_token(server.token_file))
    if not urls.is_loopback(host):
        if not is_needed:
            return None
        raise errors.UsageError(
            f"{server.listen} can be reached from other machines, and no token is set",
            hint="`orchestrator service token FILE` makes one; name it in [server] token_file, or listen on 127.0.0.1",
        )
    return None if own is None else access_tokens.digest_of(access_tokens.read_or_make_token(own))


def _resolved(name: str, port: int) -> tuple[socket.AddressFamily, _Address]:
    """The first address of *name*, which is used from then on: the others may be another program's. Raises UsageError.

    A client that connects by the name could reach that program, and hand it our token.
    """
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        cause = exc.strerror if isinstance(exc, OSError) else "it is no name"
        raise errors.UsageError(f"there is no address {name}", cause=cause, hint="[server] listen names it") from None
    family, _, _, _, address = found[0]
    numeric = ip_address(str(address[0]).partition("%")[0])
    if numeric.is_multicast or (numeric.version == 4 and numeric.is_reserved):
        cause = "it stands for many machines: no client can connect to it"
        raise errors.UsageError(f"{name} cannot be listened on", cause=cause, hint=_OTHER)
    return family, address


def _bound(family: socket.AddressFamily, address: _Address, *, may_give_way: bool) -> socket.socket:
    # With its protocol named: asyncio sends small answers at once (TCP_NODELAY) only where it is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(uvicorn_server.QUEUE)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        host, port, *rest = address
        if may_give_way and exc.errno == errno.EADDRINUSE:
            return _bound(family, (host, 0, *rest), may_give_way=False)
        raise errors.UsageError(f"{host}:{port} cannot be listened on", cause=exc.strerror, hint=_OTHER) from exc
    return listener


def _shown(host: str) -> str:
    """*host* as it stands in a URL; the wildcard addresses are shown as this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - looked at, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def serve_socket(app: ASGIApp, path: Path, *, ready: Callable[[], None], stop: asyncio.Event) -> None:
    """Serve *app* on the unix socket *path* until *stop*; see `uvicorn_server.serve_on`.

    The caller holds the store's lock, so an existing socket belonged to a dead process, and is replaced. Its mode
    decides who may connect. Raises UsageError for a path that is too long, StoreError if the socket cannot be created.
    """
    listener = bind_unix_socket(path)
    limits = connection_limits(open_files_limit())
    try:
        guarded = middleware.Guard(app, access=None, limits=request_limits.BodyLimits(), connections=limits.connections)
        await uvicorn_server.serve_on(listener, guarded, limits, ready=ready, stop=stop)
    finally:
        _unlisten(listener, path)


def bind_unix_socket(path: Path) -> socket.socket:
    """A listening socket at *path*, mode 0600. Raises UsageError, StoreError."""
    check_socket_path(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        # Linux gives the file the mode of the socket, so it is never open to others; elsewhere the chmod follows. The
        # umask would do it too, but it belongs to the whole process.
        with suppress(OSError):
            os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen(uvicorn_server.QUEUE)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        if errors.is_no_space(exc):
            raise errors.StoreFull(
                f"there is no space for the socket {path}", cause=exc.strerror, hint=errors.MAKE_SPACE
            ) from exc
        hint = "check the folder's permissions, or set XDG_RUNTIME_DIR for every command alike"
        raise errors.StoreError(f"the socket {path} cannot be made", cause=exc.strerror, hint=hint) from exc
    return listener


def _unlisten(listener: socket.socket, path: Path) -> None:
    listener.close()
    path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(17, "something else has that name")
        path.unlink()


_PORTS: Final = {"http": 80, "https": 443}


def is_own_address(at: TcpListener, url: str) -> bool:
    """True if *url* is an address of *at*, or its `public_url`. The host is resolved only if the port matches."""
    host, port = _place(url)
    public = at.access.public_url
    if public is not None and _place(public) == (host, port):
        return True
    own, own_port = at.listener.getsockname()[:2]
    return port == own_port and any(_reaches(each, _address(own)) for each in _addresses(host))


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    return str(parts.hostname).rstrip("."), port


def _address(text: str) -> IPv4Address | IPv6Address:
    found = ip_address(text.partition("%")[0])
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _addresses(host: str) -> Iterator[IPv4Address | IPv6Address]:
    """The IP addresses of *host*, also of "127.1" and the like; none for an unknown name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for entry in found:
        address = _address(str(entry[4][0]))
        # A client that connects to 0.0.0.0 or [::] gets to this machine.
        yield ip_address("127.0.0.1" if address.version == 4 else "::1") if address.is_unspecified else address


def _reaches(address: IPv4Address | IPv6Address, own: IPv4Address | IPv6Address) -> bool:
    if not own.is_unspecified:
        return address == own
    return (own.version == 6 or address.version == 4) and _is_of_this_machine(address)


def _is_of_this_machine(address: IPv4Address | IPv6Address) -> bool:
    """Only an address of this machine can be bound; nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trying:
            trying.bind((str(address), 0))
    except OSError:
        return False
    return True
