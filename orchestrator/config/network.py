"""Proxies and certificates of the environment: checked before a library uses them, and never quoted.

The libraries fail with errors of their own on a value that they cannot use, and quote it, a proxy's password included.
Here the variable is named, and nothing of its value. An address of this machine, or one without TLS, is contacted
directly: what goes there in clear text is not for a proxy.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from orchestrator.domain.errors import UsageError
from orchestrator.domain.urls import has_host, is_loopback, split_address

SSL_CERT_FILE: Final = "SSL_CERT_FILE"
SSL_CERT_DIR: Final = "SSL_CERT_DIR"
SSL_KEY_LOG: Final = "SSLKEYLOGFILE"
#: What `requests` trusts, in its order; it carries the traces.
BUNDLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

_COLLECTOR: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_COLLECTOR_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_LOCAL_COLLECTOR: Final = "localhost"
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_PROXIED: Final = ("http", "https", "all")
_SCHEMES: Final = frozenset({"http", "https"})
_SOCKS: Final = frozenset({"socks5", "socks5h"})
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
#: A name in NO_PROXY, also ".example.com", "*.example.com" and with a port.
_UNPROXIED: Final = re.compile(r"[A-Za-z0-9._*-]+(:[0-9]{1,5})?|https?://[A-Za-z0-9._*-]+(:[0-9]{1,5})?/?")
_PROXY_HINT: Final = "write http://HOST:PORT (in a user name or password, # / ? @ are %23 %2F %3F %40), or unset it"


def client_options(url: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The arguments `trust_env` and `verify` of an httpx2 client for *url* alone.

    environ: the process's own, which the library reads as well. Raises UsageError, naming the variable.
    """
    parts = urlsplit(url)
    if parts.scheme == "http":
        import ssl

        # Certificates take 40 ms to load, for each client; one that trusts none would refuse any https address.
        return {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
    check_certificates(environ)
    if not is_direct(url):
        check_proxies(environ)
        return {"trust_env": True}
    import httpx2

    return {"trust_env": False, "verify": httpx2.create_ssl_context()}


@contextmanager
def client_errors_hidden() -> Iterator[None]:
    """Wraps the construction of a client, so that a library's error about the environment is not shown.

    Raises UsageError.
    """
    import httpx2

    try:
        yield
        return
    except (ImportError, ValueError, OSError, httpx2.InvalidURL) as exc:
        kind = type(exc).__name__
    hint = "look at HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE, the proxies and certificates"
    raise UsageError("the environment lets no HTTP client be made", cause=kind, hint=hint) from None


def is_direct(url: str) -> bool:
    """True where no proxy is used: on this machine, and without TLS."""
    parts = urlsplit(url)
    return parts.scheme == "http" or is_loopback(str(parts.hostname))


def check_proxies(environ: Mapping[str, str]) -> None:
    """Raise UsageError for an unusable proxy variable; NO_PROXY counts where there is a proxy."""
    found = [(name, value) for scheme in _PROXIED for name, value in _named(f"{scheme}_proxy", environ)]
    for name, value in found:
        _check_proxy(name, value)
    for name, value in _named("no_proxy", environ) if found else ():
        for number, entry in enumerate(value.split(","), start=1):
            if entry.strip() and not _is_readable(entry.strip()):
                raise UsageError(
                    f"the environment variable {name} cannot be used",
                    cause=f"entry {number} is no host, address or IPv4 network",
                    hint="write names, and IPv6 addresses without brackets; leave IPv6 networks out",
                )


def check_certificates(environ: Mapping[str, str]) -> None:
    """Raise UsageError for unusable certificates of the environment, or an unusable TLS key log."""
    if file := environ.get(SSL_CERT_FILE, ""):
        _check_bundle(SSL_CERT_FILE, file)
    folders = environ.get(SSL_CERT_DIR, "")
    if folders and not any(_is_folder(part) for part in folders.split(os.pathsep)):
        _refuse(SSL_CERT_DIR, "it names no folder", "name a folder of trusted certificates, or unset it")
    if log := environ.get(SSL_KEY_LOG, ""):
        _check_key_log(log)


def check_exporter(environ: Mapping[str, str]) -> bool:
    """Check the variables for `requests`, which carries traces; True if they stay on this machine, without a proxy.

    Source: OpenTelemetry Protocol Exporter, "Endpoint URLs for OTLP/HTTP" and "Specifying headers via environment
    variables".
    """
    named = {name: environ[name] for name in _COLLECTOR if environ.get(name)}
    hosts = [_collector_host(name, value) for name, value in named.items()]
    host = hosts[0] if hosts else _LOCAL_COLLECTOR
    for name in _COLLECTOR_HEADERS:
        _check_headers(name, environ.get(name, ""))
    for name in BUNDLES:
        if (value := environ.get(name, "")) and not _is_folder(value):
            _check_bundle(name, value)
    if not is_loopback(host):
        check_proxies(environ)
    return is_loopback(host)


def _collector_host(name: str, value: str) -> str:
    """The host of an endpoint.

    The exporter's library shows the endpoint in errors: a password in it would be logged.
    """
    try:
        return str(split_address(value).hostname)
    except ValueError as exc:  # whose words are ours, without the value
        _refuse(
            name, str(exc), "write http://HOST:4318 or https://HOST; a password goes into OTEL_EXPORTER_OTLP_HEADERS"
        )


def _check_headers(name: str, value: str) -> None:
    """Check the headers for the collector: the exporter logs one that it cannot read, with the secret in it."""
    for number, entry in enumerate(value.split(","), start=1):
        key, equals, text = (unquote(part).strip() for part in entry.strip().partition("="))
        is_header = equals and _HEADER_NAME.fullmatch(key) and _HEADER_VALUE.fullmatch(text)
        if entry.strip() and not is_header:
            _refuse(name, f"entry {number} is no header", "write name=value,name=value in printable ASCII, or unset it")


def _named(lower: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The variable that applies, if it is set. Source: urllib.request.getproxies_environment: lower case goes first."""
    names = [lower] if lower in environ else [name for name in environ if name.lower() == lower]
    yield from ((name, environ[name]) for name in names if environ[name])


def _check_proxy(name: str, value: str) -> None:
    parts = _parts(value)
    if parts is None:
        _refuse(name, "it is not the address of a proxy", _PROXY_HINT)
    if parts.scheme not in _SCHEMES | _SOCKS:
        _refuse(name, "a proxy is asked by http, https, socks5 or socks5h", _PROXY_HINT)
    if parts.scheme in _SOCKS and find_spec("socksio") is None:
        hint = f"pip install 'batch-orchestrator[socks]', or unset {name}"
        _refuse(name, "it names a SOCKS proxy, and the package for that is not installed", hint)


def _parts(value: str) -> SplitResult | None:
    """The parts of a proxy's address; None if it is none, or if a library would take a password for its end."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        is_whole = has_host(parts) and parts.port != 0
    except ValueError:
        return None
    is_plain = not (parts.query or parts.fragment or "@" in parts.path)
    return parts if is_whole and is_plain and _VISIBLE.fullmatch(value) is not None else None


def _is_readable(entry: str) -> bool:
    """True for what the SDK's own reader of NO_PROXY accepts (2.12); it fails on anything else."""
    try:
        ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return _UNPROXIED.fullmatch(entry) is not None
    return ":" not in entry or "/" not in entry


def _check_bundle(name: str, value: str) -> None:
    """Raise UsageError unless the file has certificates that OpenSSL can read."""
    why = _why_no_bundle(value)
    if why is not None:
        _refuse(name, why, "name a file of trusted certificates (PEM), or unset it")


def _why_no_bundle(value: str) -> str | None:
    import ssl  # late: a command that asks nobody needs none of it

    try:
        if not stat.S_ISREG(Path(value).stat().st_mode):
            return "it names no regular file"
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=value)
    except ssl.SSLError:
        return "the file holds no certificates"
    except OSError as exc:
        return exc.strerror
    return None


def _check_key_log(value: str) -> None:
    """Raise UsageError unless OpenSSL can write to the file."""
    path = Path(value)
    try:
        writable = stat.S_ISREG(path.stat().st_mode) and os.access(path, os.W_OK)
    except FileNotFoundError:
        writable = os.access(path.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        _refuse(SSL_KEY_LOG, "it names no file that can be written", "name one, or unset it")


def _is_folder(value: str) -> bool:
    return os.path.isdir(value)  # noqa: PTH112 - unlike Path's, it never raises


def _refuse(name: str, cause: str, hint: str) -> NoReturn:
    raise UsageError(f"the environment variable {name} cannot be used", cause=cause, hint=hint)
