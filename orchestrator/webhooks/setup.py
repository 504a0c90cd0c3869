"""The courier that the settings ask for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from orchestrator.config import WebhookSection
from orchestrator.domain.notices import EndpointSpec
from orchestrator.webhooks.courier import HttpCourier, Target
from orchestrator.webhooks.signing import secret_from


def courier_for(webhooks: Sequence[WebhookSection], environ: Mapping[str, str] | None = None) -> HttpCourier | None:
    """None without webhooks. Raises UsageError if a secret is missing: better now than at the first notice."""
    if not webhooks:
        return None
    env = os.environ if environ is None else environ
    return HttpCourier(
        {
            webhook.url: Target(
                secret=secret_from(webhook.secret_env, webhook.secret_file, env), allow_private=webhook.allow_private
            )
            for webhook in webhooks
        }
    )


def specs_of(webhooks: Sequence[WebhookSection]) -> list[EndpointSpec]:
    """The endpoints, as the store keeps them."""
    return [EndpointSpec(url=webhook.url, events=webhook.events) for webhook in webhooks]
