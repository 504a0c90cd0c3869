"""What the provider can be configured with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


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
