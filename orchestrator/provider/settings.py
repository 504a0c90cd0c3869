"""What the provider is configured with; and the API's address: who named it, and may keys and prompts be sent there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import SplitResult, urlsplit

from orchestrator.domain import errors
from orchestrator.domain.urls import is_loopback, split_address
from orchestrator.provider.credentials import BASE_URL, Credentials

#: Where the SDK asks when nobody says otherwise. Source: SDK 2.12, `anthropic/_client.py`; a test compares the two.
SDK_BASE_URL: Final = "https://api.anthropic.com"
SETTING: Final = "[api] base_url"
ADDRESS_HINT: Final = "use https://HOST, or http:// with localhost, 127.0.0.1 or [::1]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """Where the API is and how long to wait for it.

    base_url: None means `ANTHROPIC_BASE_URL`, else the SDK's own. plain_http_hosts: where the key may go without TLS,
    beside this machine. api_version: the `anthropic-version` of reads; None means the SDK's own (a create has its own
    in its Headers). timeout: how long a create may make no progress, and how long 256 KiB of results may take.
    read_timeout: the whole of one try of any other call; never more than *timeout*. max_uploads, max_downloads: how
    many creates and downloads run at once.
    """

    base_url: str | None = None
    plain_http_hosts: tuple[str, ...] = ()
    api_version: str | None = None
    timeout: timedelta = timedelta(minutes=10)
    read_timeout: timedelta = timedelta(seconds=30)
    connect_timeout: timedelta = timedelta(seconds=10)
    max_uploads: int = 4
    max_downloads: int = 4

    @property
    def read_timeout_s(self) -> float:
        """The effective timeout of one try of a read, in seconds."""
        return min(self.read_timeout, self.timeout).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAddress:
    """An address that the key may be sent to. source: the setting or variable that names it, or the SDK."""

    url: str
    source: str

    @property
    def is_usual(self) -> bool:
        """True for the API's own address, which need not be mentioned."""
        return self.url.rstrip("/").lower() == SDK_BASE_URL

    @property
    def is_readable(self) -> bool:
        """True if the key and the prompts can be read on the way there."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and not is_loopback(str(parts.hostname))

    @property
    def shown(self) -> str:
        """The address for people: without its query, in which some gateways have a key."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    @property
    def words(self) -> str:
        """`the API is at URL (who says so)`, with a warning if what goes there can be read."""
        warning = "; over plain http: the key, the prompts and the answers can be read on the way"
        return f"the API is at {self.shown} ({self.source}){warning if self.is_readable else ''}"


def find_address(
    base_url: str | None,
    environ: Mapping[str, str],
    *,
    plain_http_hosts: tuple[str, ...] = (),
    credentials: Credentials | None = None,
) -> ApiAddress:
    """The address of the settings, else of `ANTHROPIC_BASE_URL`, else the one that the *credentials* came with.

    Raises UsageError for one that the key may not be sent to.
    """
    named = (
        (base_url, SETTING),
        (environ.get(BASE_URL, ""), BASE_URL),
        *(() if credentials is None else ((credentials.base_url, credentials.source),)),
    )
    for url, source in named:
        if url is not None and url != "":
            told = source if source in {SETTING, BASE_URL} else f"the base URL of {source}"
            return ApiAddress(url=checked_base_url(url, told, plain_http_hosts), source=source)
    return ApiAddress(url=SDK_BASE_URL, source="the SDK's own")


def checked_base_url(url: str, source: str, plain_http_hosts: Iterable[str] = ()) -> str:
    """*url*, if a key may be sent there: https, or http to this machine or to one of *plain_http_hosts*.

    *source*: the variable or setting that names it, for the message. Raises UsageError; the message never shows the
    URL, which may hold a password.
    """
    try:
        complaint, hint = _complaint(split_address(url.strip()), plain_http_hosts)
    except ValueError as exc:
        complaint, hint = str(exc), ADDRESS_HINT
    if complaint is not None:
        raise errors.UsageError(f"{source} cannot be used", cause=complaint, hint=hint)
    return url.strip()


def _complaint(parts: SplitResult, plain_http_hosts: Iterable[str]) -> tuple[str | None, str]:
    """Why the key may not be sent there, and the remedy."""
    host = str(parts.hostname)
    if parts.scheme == "https" or is_loopback(host) or _names(plain_http_hosts, host):
        return None, ADDRESS_HINT
    hint = f"{ADDRESS_HINT}. For a gateway in your own private network name its host in [api] plain_http_hosts"
    return "over plain http the key could be read on the way", hint


def _names(hosts: Iterable[str], host: str) -> bool:
    """True if *host* is one of them, in any case and with or without the dot of a whole name."""
    return host.lower().rstrip(".") in {each.lower().rstrip(".").strip("[]") for each in hosts}
