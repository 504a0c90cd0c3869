"""`[[webhooks]]`: a list of tables, one for each endpoint. Read from files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from orchestrator.config import values
from orchestrator.config.block_settings import BlockPlace, blocks_key, example_block, read_blocks
from orchestrator.config.setting import META, NOT_HERE, REFUSED, Key, Meaning, means
from orchestrator.config.values import SettingOrigin, toml_text
from orchestrator.domain.notices import SUBSCRIBABLE

#: The name of the setting, in files and in `config show`.
WEBHOOKS: Final = "webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSection:
    """`[[webhooks]]`: a program that is told when a job or a batch needs to be known of.

    The secret itself is never here: it is in the environment or in a file.
    """

    url: str = field(
        default="",
        metadata=means(
            values.url(),
            "Where the notices go: https, on the public internet.",
            example='"https://example.com/hook"',
            project=REFUSED,
        ),
    )
    secret_env: str | None = field(
        default=None,
        metadata=means(
            values.text("the name of an environment variable"),
            "The environment variable that holds the secret (whsec_…) which signs them; or secret_file.",
            unset="secret_file says it",
            example='"HOOK_SECRET"',
            project=REFUSED,
        ),
    )
    secret_file: Path | None = field(
        default=None,
        metadata=means(
            values.path(),
            "A file that holds the secret and nothing else, readable by you alone (mode 0600).",
            unset="secret_env says it",
            example='"~/.config/orchestrator/hook_secret"',
            project=REFUSED,
        ),
    )
    events: tuple[str, ...] = field(
        default=(),
        metadata=means(
            values.choices(*SUBSCRIBABLE),
            f"What is told: {', '.join(SUBSCRIBABLE)}. Empty or not set: all of it.",
            example='["job.finished", "job.attention"]',
            project=REFUSED,
        ),
    )
    allow_private: bool = field(
        default=False,
        metadata=means(
            values.yes_or_no(),
            "The address may lie in a private network or on this machine, and speak plain http.",
            project=REFUSED,
        ),
    )


_FIELDS: Final[Mapping[str, Meaning]] = {each.name: each.metadata[META] for each in fields(WebhookSection)}


def webhooks_key() -> Key:
    """The setting of webhooks, for `load_settings`."""
    return blocks_key(WEBHOOKS, _read)


def example_lines() -> Iterator[str]:
    """What the example file says of webhooks."""
    yield "# Webhooks: programs that are told of what happens, one block for each. None, unless you add one."
    yield f"# {NOT_HERE}."
    yield from example_block(WEBHOOKS, _FIELDS)


def webhook_settings() -> Iterator[tuple[str, Meaning]]:
    """Every key of a block, with what is known of it."""
    yield from _FIELDS.items()


def inline_table(webhook: WebhookSection) -> str:
    """One endpoint as an inline table, for `config show`, without default values."""
    told = [(each.name, getattr(webhook, each.name), each.default) for each in fields(WebhookSection)]
    return "{" + ", ".join(f"{name} = {toml_text(value)}" for name, value, default in told if value != default) + "}"


def _read(raw: object, source: SettingOrigin) -> tuple[WebhookSection, ...]:
    found: list[WebhookSection] = []
    for place, read in read_blocks(WEBHOOKS, raw, _FIELDS, source):
        webhook = WebhookSection(**read)  # type: ignore[arg-type]  # each was read by the kind of its field
        _check(webhook, place)
        if webhook.url in [each.url for each in found]:
            place.refuse("has the url of an earlier one", "give both one block, with the events of both")
        found.append(webhook)
    return tuple(found)


def _check(webhook: WebhookSection, place: BlockPlace) -> None:
    if webhook.url == "":
        place.refuse("has no url", 'write for instance: url = "https://example.com/hook"')
    if webhook.url.startswith("http:") and not webhook.allow_private:
        place.refuse("has a url without https", "use https; or allow_private = true, inside your own network")
    if (webhook.secret_env is None) == (webhook.secret_file is None):
        place.refuse(
            "needs a secret from one place", 'write one of: secret_env = "NAME-OF-A-VARIABLE", secret_file = "PATH"'
        )
