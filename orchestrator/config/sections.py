"""Every setting: its section, key, default, kind and meaning.

Checks, `config show` and the example are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from orchestrator.config import values
from orchestrator.config.money_sections import BudgetSection, CacheSection, PricesSection
from orchestrator.config.setting import ALLOWED, META, REFUSED, Key, means
from orchestrator.config.store_sections import DatabaseSection, FleetSection
from orchestrator.config.table_sections import DefaultsSection
from orchestrator.domain.api_versions import API_VERSIONS
from orchestrator.domain.limits import API_MAX_BYTES, API_MAX_REQUESTS

#: `[server] listen` when nothing is set.
DEFAULT_LISTEN: Final = "127.0.0.1:8787"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSection:
    """`[api]`: how the Message Batches API is called. The SDK's own variables keep their meaning."""

    version: str | None = field(
        default=None,
        metadata=means(
            values.api_version(),
            f"The API version (`anthropic-version`) of new jobs: {' or '.join(API_VERSIONS)}.",
            unset="the newest, or the older for a job with requests that need it",
            example='"2023-06-01"',
            project=ALLOWED,
        ),
    )
    base_url: str | None = field(
        default=None,
        metadata=means(
            values.url(),
            "Where the API is.",
            unset="ANTHROPIC_BASE_URL, else the SDK's own",
            example='"https://gateway.example.com"',
            project=REFUSED,
        ),
    )
    plain_http_hosts: tuple[str, ...] = field(
        default=(),
        metadata=means(
            values.hosts(),
            "Hosts that the address of the API may name with http://: a gateway in your own private network.\n"
            "The key, the prompts and the answers travel there in clear text, for everybody on the way to read.",
            example='["litellm", "10.1.2.3"]',
            project=REFUSED,
        ),
    )
    timeout: timedelta = field(
        default=timedelta(minutes=10),
        metadata=means(
            values.duration(),
            "How long one call may take, an upload or a download of a batch included.",
            project=ALLOWED,
        ),
    )
    delete_after_collect: bool = field(
        default=False,
        metadata=means(
            values.yes_or_no(),
            "Delete a batch at the API once every result of it is stored here, for privacy.",
            project=REFUSED,
        ),
    )
    key_file: Path | None = field(
        default=None,
        metadata=means(
            values.path(),
            "A file that holds the API key and nothing else, readable by you alone (mode 0600).",
            unset="ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN",
            example='"~/.config/orchestrator/key"',
            project=REFUSED,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingSection:
    """`[batching]`: how requests are packed into batches."""

    max_requests: int | None = field(
        default=None,
        metadata=means(
            values.whole_number(1, API_MAX_REQUESTS),
            "The most requests in one batch.",
            unset="100,000 minus a number from 1 to 999 that the store keeps",
            example="50000",
            project=ALLOWED,
        ),
    )
    max_bytes: int = field(
        default=API_MAX_BYTES,
        metadata=means(
            values.size(API_MAX_BYTES),
            "The most bytes in the body of one batch: a number, or a text with KB, MB, GB (decimal) or KiB, MiB, GiB.",
            project=ALLOWED,
        ),
    )
    linger: timedelta = field(
        default=timedelta(seconds=5),
        metadata=means(
            values.duration(zero=True),
            "How long a batch that is not full waits for more requests while its job still grows.",
            project=ALLOWED,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSection:
    """`[limits]`: how much is asked of the API at once, and how often it is asked."""

    max_in_flight_requests: int = field(
        default=200_000,
        metadata=means(
            values.whole_number(1),
            "The most requests at the API that have not ended, over all jobs: your account's queue limit.",
            project=ALLOWED,
        ),
    )
    max_in_flight_batches: int = field(
        default=1000,
        metadata=means(
            values.whole_number(1), "The most batches at the API that have not ended, over all jobs.", project=ALLOWED
        ),
    )
    max_uploads: int = field(
        default=4,
        metadata=means(values.whole_number(1), "The most batches that are sent at the same time.", project=ALLOWED),
    )
    max_downloads: int = field(
        default=4,
        metadata=means(
            values.whole_number(1), "The most result files that are read at the same time.", project=ALLOWED
        ),
    )
    poll_interval: timedelta = field(
        default=timedelta(seconds=30),
        metadata=means(
            values.duration(),
            "The pause between two looks at the API while a batch is young (sandbox mode: 0.2s).",
            project=ALLOWED,
        ),
    )
    poll_interval_max: timedelta = field(
        default=timedelta(minutes=5),
        metadata=means(
            values.duration(),
            "The longest pause between two looks; it grows with the age of the batches (sandbox mode: 1s).",
            project=ALLOWED,
        ),
    )
    doubt_wait: timedelta = field(
        default=timedelta(minutes=20),
        metadata=means(
            values.duration(),
            "How long to wait before a batch whose sending got no clear answer is looked for at the API; and two\n"
            "minutes more (as long again, if that is less) for what was still on its way. Shorter is less safe:\n"
            "a batch that shows up later than this may be sent, and paid for, twice.",
            project=REFUSED,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySection:
    """`[retry]`: how often a request is sent again."""

    max_attempts: int = field(
        default=5,
        metadata=means(
            values.whole_number(1),
            "How many batches a request may go through that expire or fail on the server's side.",
            project=ALLOWED,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSection:
    """`[server]`: the HTTP API and the dashboard of `serve`, on TCP."""

    listen: str = field(
        default=DEFAULT_LISTEN,
        metadata=means(
            values.address(),
            "The address that `serve` listens on; port 0 takes any that is free, an empty text none at all.\n"
            "One that others can reach needs a token_file. The default, unless you name it, gives way to a free port.",
            project=REFUSED,
        ),
    )
    token_file: Path | None = field(
        default=None,
        metadata=means(
            values.path(),
            "A file that holds the token which callers must show, readable by you alone (mode 0600).\n"
            "`orchestrator service token FILE` makes one.",
            unset="one that the first start makes, in DATABASE.token, or with a url below ~/.local/state/orchestrator; "
            "none in sandbox mode and with --no-token",
            example='"~/.config/orchestrator/token"',
            project=REFUSED,
        ),
    )
    allowed_hosts: tuple[str, ...] = field(
        default=(),
        metadata=means(
            values.texts('a list of host names such as ["localhost"]'),
            "Host names that callers may use for this server, beside the address it listens on: those of a proxy.",
            example='["batches.example.com"]',
            project=REFUSED,
        ),
    )
    public_url: str | None = field(
        default=None,
        metadata=means(
            values.origin(),
            "The address that callers use where it is not the one above: that of a proxy. Its host is allowed; links\n"
            "and the dashboard's cookie are made for it. It has no path: the daemon needs a host name of its own.",
            unset="the Host that is asked for, with https where a proxy says so or the name is one of allowed_hosts",
            example='"https://batches.example.com"',
            project=REFUSED,
        ),
    )
    max_connections: int = field(
        default=512,
        metadata=means(
            values.whole_number(8, 100_000),
            "The most connections at once; past that the one that waits longest without a request is closed. Half of "
            "them may be streams and long polls. Fewer where the limit of open files is low: the log then says so.",
            project=REFUSED,
        ),
    )
    max_body: int = field(
        default=10_000_000_000,
        metadata=means(
            values.size(1_000_000_000_000),
            "The most bytes that one upload may have, as they arrive and unpacked.",
            project=REFUSED,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSection:
    """`[sandbox]`: the local API of `--sandbox`.

    `faults` is checked by the sandbox itself.
    """

    speed: float = field(
        default=360.0,
        metadata=means(
            values.positive_number(1_000_000),
            "Seconds of sandbox time in one real second: 360 makes an hour ten seconds.",
            project=ALLOWED,
        ),
    )
    seed: int = field(
        default=0,
        metadata=means(
            values.whole_number(0), "The seed of everything that is random in the sandbox.", project=ALLOWED
        ),
    )
    faults: str = field(
        default="",
        metadata=means(
            values.text('faults such as "429=.05,expire=.01"'),
            "Faults to provoke, with their probability.",
            example='"429=.05"',
            project=ALLOWED,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection:
    """`[log]`: what is logged to stderr, and how."""

    level: str = field(
        default="info",
        metadata=means(
            values.choice("debug", "info", "warning", "error"),
            'The least important events to log: "debug", "info", "warning" or "error".',
            project=ALLOWED,
        ),
    )
    format: str = field(
        default="auto",
        metadata=means(
            values.choice("auto", "console", "json"),
            '"console" for people, "json" for machines, "auto": console on a terminal, else json.',
            project=ALLOWED,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySection:
    """`[telemetry]`: traces for your own collector. Nothing is ever sent to anybody else."""

    otel: bool = field(
        default=False,
        metadata=means(
            values.yes_or_no(),
            "Send OpenTelemetry traces to where OTEL_EXPORTER_OTLP_ENDPOINT says; needs the extra\n"
            "batch-orchestrator[otel]. /metrics for Prometheus is there in any case.",
            project=REFUSED,
        ),
    )


SECTIONS: Final[Mapping[str, type]] = MappingProxyType(
    {
        "api": ApiSection,
        "database": DatabaseSection,
        "fleet": FleetSection,
        "batching": BatchingSection,
        "limits": LimitsSection,
        "retry": RetrySection,
        "prices": PricesSection,
        "budget": BudgetSection,
        "cache": CacheSection,
        "defaults": DefaultsSection,
        "server": ServerSection,
        "sandbox": SandboxSection,
        "log": LogSection,
        "telemetry": TelemetrySection,
    }
)


def _keys() -> Mapping[str, Key]:
    found = (
        Key(section=section, key=each.name, default=each.default, meaning=each.metadata[META])
        for section, cls in SECTIONS.items()
        for each in fields(cls)
    )
    return MappingProxyType({key.name: key for key in found})


#: Every setting by its name, in the order of the example file.
KEYS: Final[Mapping[str, Key]] = _keys()
