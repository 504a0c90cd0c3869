"""Credentials: found before anything is sent, checked before an HTTP library sees them, never shown.

A key with a newline or a stray character makes httpx2 and h11 print it whole in their exceptions (measured), so a key
is stripped and must be printable ASCII. Order of sources as in SDK 2.12: `ANTHROPIC_API_KEY`, `ANTHROPIC_AUTH_TOKEN`,
then what the SDK finds by itself: `ANTHROPIC_PROFILE`, workload identity federation, the active profile. A gateway's
own key may come in `ANTHROPIC_CUSTOM_HEADERS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from orchestrator.config.safe_files import read_secret
from orchestrator.domain import account, errors

API_KEY: Final = "ANTHROPIC_API_KEY"
AUTH_TOKEN: Final = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105 - the name of a variable
BASE_URL: Final = "ANTHROPIC_BASE_URL"
CUSTOM_HEADERS: Final = "ANTHROPIC_CUSTOM_HEADERS"
PROFILE: Final = "ANTHROPIC_PROFILE"

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_AUTH_HEADERS: Final = frozenset({"authorization", "x-api-key"})


class Secret:
    """A value that prints as `***`; only `reveal` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the HTTP library alone."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        msg = "a secret is not written anywhere"
        raise TypeError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What authenticates us. With neither value the SDK finds them by itself, at *source*.

    source: where they were found, for a person; never the value. base_url: the API's address, if they came with one (a
    profile). file: the file with the key, which may hold another one later.
    """

    source: str
    base_url: str | None = None
    file: Path | None = None
    api_key: Secret | None = None
    auth_token: Secret | None = None

    def is_same(self, other: Credentials) -> bool:
        """Whether both are the same key."""
        ours, theirs = self.api_key, other.api_key
        return ours is not None and theirs is not None and ours.reveal() == theirs.reveal()

    def hide(self, text: str) -> str:
        """*text* with the key masked: a gateway may echo it in its error message."""
        for secret in (self.api_key, self.auth_token):
            if secret is not None:
                text = text.replace(secret.reveal(), "***")
        return text

    def describe(self) -> str:
        """One line for `doctor`: what was found and where, never the value."""
        if self.api_key is not None:
            return f"API key from {self.source}"
        if self.auth_token is not None:
            return f"auth token from {self.source}"
        return f"credentials from {self.source}"


def from_file(path: Path) -> Credentials:
    """The key in the file at *path*, which holds it alone. Raises NeedsPerson, naming the file and never the value."""
    hint = "[api] key_file names a file that holds the API key alone, readable by you alone (mode 0600)"
    raw = read_secret(path, called="the key file", hint=hint, error=errors.NeedsPerson)
    source = f"the file {path}"
    return Credentials(source=source, api_key=_checked(raw, source, f"put the key alone into {path}"), file=path)


def find(environ: Mapping[str, str]) -> Credentials:
    """The credentials that the SDK would use.

    *environ*: the process's environment. Imports the SDK only if no variable holds a key (1.2 s).
    Raises NeedsPerson if there are none or if they cannot be a key, naming the source and never the value; UsageError
    if `ANTHROPIC_CUSTOM_HEADERS` cannot be sent.
    """
    custom = custom_headers(environ)
    if environ.get(API_KEY, "") != "":
        return Credentials(source=f"the environment variable {API_KEY}", api_key=_of_variable(API_KEY, environ))
    if environ.get(AUTH_TOKEN, "") != "":
        token = _of_variable(AUTH_TOKEN, environ)
        return Credentials(source=f"the environment variable {AUTH_TOKEN}", auth_token=token)
    if not _AUTH_HEADERS.isdisjoint(custom):
        return Credentials(source=f"the environment variable {CUSTOM_HEADERS}")
    return _discovered(environ)


def custom_headers(environ: Mapping[str, str]) -> frozenset[str]:
    """The names, in lower case, of the headers in `ANTHROPIC_CUSTOM_HEADERS` (`Name: value`, one a line).

    The SDK sends them by itself; here they are only checked, because httpx2 would print a bad value.
    Raises UsageError, naming the line and never the value.
    """
    names = set()
    for number, name, value in _header_lines(environ.get(CUSTOM_HEADERS, "")):
        if _HEADER_NAME.fullmatch(name) is None or _HEADER_VALUE.fullmatch(value) is None:
            raise errors.UsageError(
                f"line {number} of {CUSTOM_HEADERS} is not a header",
                cause="a header is `Name: value` in printable ASCII",
                hint=f"fix or unset {CUSTOM_HEADERS}",
            )
        names.add(name.lower())
    return frozenset(names)


def _header_lines(text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        name, colon, value = line.partition(":")
        if colon:
            yield number, name.strip(), value.strip()


def _of_variable(name: str, environ: Mapping[str, str]) -> Secret:
    return _checked(environ[name], f"the environment variable {name}", f"set {name} to the key alone")


def _checked(raw: str, source: str, remedy: str) -> Secret:
    value = raw.strip()
    if _PRINTABLE.fullmatch(value) is None:
        raise errors.NeedsPerson(
            f"the key in {source} cannot be a key",
            cause="it is blank"
            if value == ""
            else "it has spaces, line breaks, control or non-ASCII characters inside",
            hint=f"{remedy}, exactly as the Console shows it",
        )
    return Secret(value)


def _discovered(environ: Mapping[str, str]) -> Credentials:
    """What the SDK's own chain finds (it reads the process's environment and the profile files)."""
    from anthropic import AnthropicError
    from anthropic.lib.credentials import WorkloadIdentityCredentials, default_credentials

    try:
        result = default_credentials()
    except AnthropicError as exc:
        problem = errors.NeedsPerson(
            "the SDK's credentials cannot be read", cause=str(exc), hint=account.REMEDIES[account.CREDENTIALS]
        )
    else:
        if result is not None:
            source = f"the profile in {PROFILE}" if environ.get(PROFILE, "") != "" else "the active profile"
            if isinstance(result.provider, WorkloadIdentityCredentials):
                source = "workload identity federation (ANTHROPIC_FEDERATION_RULE_ID)"
            return Credentials(source=source, base_url=result.base_url)
        problem = errors.NeedsPerson(
            "no API key found", cause=_looked_at(environ), hint=account.REMEDIES[account.CREDENTIALS]
        )
    raise problem


def _looked_at(environ: Mapping[str, str]) -> str:
    states = [f"{name} is {'empty' if name in environ else 'not set'}" for name in (API_KEY, AUTH_TOKEN)]
    return f"{', '.join(states)}, and there is no profile or federation that the SDK can use"
