"""Access over TCP: the host names this server answers to, which origins may call it, and the tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from orchestrator.domain.access import DEFAULT_NAME, AccessRole, Bearer
from orchestrator.domain.urls import is_loopback
from orchestrator.http_api.guard.access_tokens import Sessions
from orchestrator.http_api.request_scope import LOGIN, LOGOUT

Headers = Sequence[tuple[bytes, bytes]]

#: A page of another site cannot read our answers, but with these it could change something.
_UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - looked at, not bound
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]*[a-z0-9_-])(?::(\d{1,5}))?", re.ASCII)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: Whether the process lives is no secret, and who restarts it may not have the token; `login` sees to itself.
_OPEN: Final = frozenset({"/livez", LOGIN, LOGOUT})
#: What pages have no business with: the SDK's own routes, and whatever would turn one login into more.
_NOT_BY_COOKIE: Final = re.compile(r"/v1(/.*)?|/api/v1/login", re.DOTALL)
_MAX_COOKIE: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is refused."""

    status: HTTPStatus
    slug: str
    title: str
    hint: str


_WRONG_HOST: Final = Refusal(
    status=HTTPStatus.MISDIRECTED_REQUEST,
    slug="wrong-host",
    title="this server does not answer to that name",
    hint="[server] allowed_hosts lists further names; a request needs exactly one Host header",
)
_WRONG_ORIGIN: Final = Refusal(
    status=HTTPStatus.FORBIDDEN,
    slug="wrong-origin",
    title="pages of other sites may not ask here",
    hint="open the dashboard by the same address that it is served at",
)
#: The same words whatever is wrong with the token: whoever guesses learns nothing.
_NO_TOKEN: Final = Refusal(
    status=HTTPStatus.UNAUTHORIZED,
    slug="unauthorized",
    title="this server asks for a token",
    hint=f"send it as `Authorization: Bearer TOKEN`; a browser logs in at {LOGIN}: `orchestrator login` prints a link",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownToken:
    """A token that lets in, by its digest, and who shows it."""

    bearer: Bearer
    digest: bytes = field(repr=False)

    @classmethod
    def default(cls, digest: bytes) -> KnownToken:
        """The one token of before there were several: it may do everything."""
        return cls(bearer=Bearer(name=DEFAULT_NAME, role=AccessRole.ADMIN), digest=digest)


@dataclass(frozen=True, slots=True)
class Login:
    """A browser that is logged in: the number of its session, and the token that it did so with."""

    number: str
    token: KnownToken


class AccessRules:
    """The rules for one TCP address. name: the host name in the settings, if it differs from *host*.

    `tokens` (none: everybody is let in), `allowed_hosts` and `public_url` may be replaced while it serves.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        allowed_hosts: Sequence[str],
        tokens: Sequence[KnownToken],
        public_url: str | None = None,
        name: str | None = None,
    ) -> None:
        self._host = host
        self._name = host if name is None else name
        self._port = port
        self.allowed_hosts = tuple(allowed_hosts)
        self.public_url = public_url
        self.tokens = tuple(tokens)
        self.sessions = Sessions(port)

    def judge(self, method: str, path: str, headers: Headers) -> Refusal | Bearer | None:
        """Why this request is refused, or who asks; None: whoever it is, for nobody has to show a token here.

        Checked in this order: host, origin, token.
        """
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._answers_to(hosts[0]):
            return _WRONG_HOST
        if not _is_same_origin(method, headers, hosts[0]):
            return _WRONG_ORIGIN
        if not self.tokens or path in _OPEN:
            return None
        found = self.bearer(method, path, headers)
        return _NO_TOKEN if found is None else found

    def bearer(self, method: str, path: str, headers: Headers) -> Bearer | None:
        """Who asks, by the token or the cookie of this request; None: neither is valid, or none is asked for."""
        found = self._shown(headers)
        if found is None:
            login = self.session(method, path, headers)
            found = None if login is None else login.token
        return None if found is None else found.bearer

    def known(self, token: bytes) -> KnownToken | None:
        """The token of that text, if it is valid. Each is compared, in constant time."""
        digest = hashlib.sha256(token).digest()
        same = [each for each in self.tokens if hmac.compare_digest(each.digest, digest)]
        return same[0] if same else None

    def _shown(self, headers: Headers) -> KnownToken | None:
        """The first valid token in *headers*; every candidate is compared."""
        found = [self.known(each) for each in _presented_tokens(headers)]
        return next((each for each in found if each is not None), None)

    def session(self, method: str, path: str, headers: Headers) -> Login | None:
        """The login whose cookie this request carries, where a cookie counts; None without one.

        A cookie counts for pages and /api/v1, if one of our own pages sends the request or a person opens an address. A
        browser sends it to every port of a host, and also when a page of another port makes the request.
        """
        if not self.tokens or not any(name == b"cookie" for name, _ in headers):
            return None
        if _NOT_BY_COOKIE.fullmatch(path) or not _is_own_or_typed(method, headers):
            return None
        for value in _cookies(headers, cookie_name(headers)):
            for token in self.tokens:
                if (number := self.sessions.find(value, token.digest)) is not None:
                    return Login(number, token)
        return None

    def _answers_to(self, raw: bytes) -> bool:
        """True if *raw*, a Host header, is one of our names, with our port if it has one."""
        found = _AUTHORITY.fullmatch(raw.decode("latin-1").lower())
        if found is None:
            return False
        name, port = found.groups()
        allowed = {each.lower() for each in self.allowed_hosts}
        if name in allowed or found.group() in allowed:  # behind a proxy the port is the proxy's
            return True
        if self._is_public(name, port):
            return True
        return self._is_own_name(name) and port in (None, str(self._port))

    def base_url(self, headers: Headers, peer: str | None) -> str:
        """The address by which the caller reaches this server, without a trailing slash.

        peer: the address that the connection comes from; only a proxy on this machine is trusted to name the scheme. If
        it does not, a name of `allowed_hosts` on a port other than ours is a proxy's, which is expected to speak TLS.
        The daemon itself does not.
        """
        host = b"".join(value for name, value in headers if name == b"host").decode("latin-1").lower()
        found = _AUTHORITY.fullmatch(host)
        if found is not None and self.public_url is not None and self._is_public(*found.groups()):
            return self.public_url
        told = _forwarded_scheme(headers, peer)
        if told is None:
            told = "http" if found is None or self._is_asked_directly(*found.groups()) else "https"
        return f"{told}://{host}"

    def _is_asked_directly(self, name: str, port: str | None) -> bool:
        own_port = str(self._port)
        return (port or "80") == own_port or (port is None and self._is_own_name(name))

    def _is_public(self, name: str, port: str | None) -> bool:
        """True if a Host header of *name* and *port* is that of `public_url`; a proxy may have left its port out."""
        if self.public_url is None:
            return False
        scheme, _, authority = self.public_url.partition("://")
        public_name, _, public_port = _with_port(authority, scheme).rpartition(":")
        return name == public_name and port in (None, public_port)

    def _is_own_name(self, name: str) -> bool:
        """True for the address itself and, if it is a loopback address, for this machine's names.

        A server on every address accepts any IP literal: DNS rebinding needs a name, so a literal cannot be abused.
        """
        if self._host in _EVERYWHERE:
            return name in _LOOPBACK_NAMES or _is_literal(name)
        own = {f"[{each}]" if ":" in each else each.lower() for each in (self._host, self._name)}
        return name in own or (is_loopback(self._host) and name in _LOOPBACK_NAMES)


def cookie_name(headers: Headers) -> str:
    """The name of the login cookie. Cookies ignore ports, so the name holds the port that the browser uses."""
    host = b"".join(value for name, value in headers if name == b"host").decode("latin-1").lower()
    found = _AUTHORITY.fullmatch(host)
    return f"orchestrator-{(found and found[2]) or 'default'}"


def _cookies(headers: Headers, wanted: str) -> Iterator[str]:
    """All values of the cookie *wanted*: a page of another port may have set a second one of that name."""
    for name, value in headers:
        for each in value.decode("latin-1").split(";") if name == b"cookie" else ():
            key, _, text = each.strip().partition("=")
            if key == wanted and len(text) <= _MAX_COOKIE:
                yield text


def _is_own_or_typed(method: str, headers: Headers) -> bool:
    """True if the browser says that our own page sends this, or a person opens the address.

    If it does not say (old browsers, other programs), only requests that change nothing are allowed.
    """
    told = dict(headers)
    site = told.get(b"sec-fetch-site")
    if site is None:
        return method not in _UNSAFE or b"origin" in told  # which `_is_same_origin` has compared
    return site in (b"same-origin", b"none") or (method not in _UNSAFE and told.get(b"sec-fetch-mode") == b"navigate")


def _forwarded_scheme(headers: Headers, peer: str | None) -> str | None:
    """The scheme in X-Forwarded-Proto from a proxy on this machine; None without a proxy or for another scheme."""
    told = [value for name, value in headers if name == b"x-forwarded-proto"]
    if not told or peer is None or not is_loopback(peer.removeprefix("::ffff:")):
        return None
    first = told[0].partition(b",")[0].strip().lower().decode("latin-1")
    return first if first in _DEFAULT_PORTS else None


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _is_same_origin(method: str, headers: Headers, host: bytes) -> bool:
    """False if a browser says that a page of another site sends this; such a page may not even read."""
    origins = [value for name, value in headers if name == b"origin"]
    own = host.decode("latin-1").lower()
    if any(_authority_of(origin) != _with_port(own, _scheme_of(origin)) for origin in origins):
        return False
    sites = [value for name, value in headers if name == b"sec-fetch-site"]
    return method not in _UNSAFE or all(site in (b"same-origin", b"none") for site in sites)


def _scheme_of(origin: bytes) -> str:
    return origin.decode("latin-1").lower().partition("://")[0]


def _authority_of(origin: bytes) -> str | None:
    """host:port of an Origin header; None for `null` and anything else that is not an origin."""
    scheme, separator, authority = origin.decode("latin-1").lower().partition("://")
    return _with_port(authority, scheme) if separator and scheme in _DEFAULT_PORTS else None


def _with_port(authority: str, scheme: str) -> str:
    """*authority* with the scheme's port where it names none."""
    has_port = ":" in authority.rpartition("]")[2]
    return authority if has_port else f"{authority}:{_DEFAULT_PORTS.get(scheme, 0)}"


def _presented_tokens(headers: Headers) -> Iterator[bytes]:
    """Tokens in the request: Bearer, the SDK's own header, and the password of Basic (`curl -u`)."""
    for name, value in headers:
        scheme, _, rest = value.partition(b" ")
        if name == b"x-api-key":
            yield value
        elif name == b"authorization" and scheme.lower() == b"bearer":
            yield rest.strip()
        elif name == b"authorization" and scheme.lower() == b"basic":
            try:
                yield base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
            except binascii.Error:
                continue
