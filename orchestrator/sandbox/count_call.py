"""`POST /v1/messages/count_tokens`: an estimate of what a prompt will be billed, free, and limited by the minute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from math import ceil
from typing import Final

import msgspec

from orchestrator.domain.batches_api import ApiError, invalid_request, not_found
from orchestrator.sandbox.model_catalog import ModelCard
from orchestrator.sandbox.seeded import unit
from orchestrator.sandbox.token_count import CountedParams, diagnose, prompt_tokens

#: The bill is within this share of the count, in thousandths, either way.
_OFF_BY: Final = 20
_decode: Final = msgspec.json.Decoder(CountedParams)


class TokenCounting:
    """Counts prompts, and how many calls each workspace has left."""

    def __init__(self, *, seed: int, models: Mapping[str, ModelCard]) -> None:
        self._seed = seed
        self._models = models
        self._left: dict[str, tuple[datetime, float]] = {}

    def admit(self, workspace: str, now: datetime, *, a_minute: int) -> None:
        """Take one call from the workspace's allowance, which fills up steadily. Raises ApiError 429."""
        then, left = self._left.get(workspace, (now, float(a_minute)))
        left = min(float(a_minute), left + (now - then).total_seconds() * a_minute / 60)
        if left < 1:
            self._left[workspace] = (now, left)
            message = f"This request would exceed your organization's rate limit of {a_minute} requests per minute."
            wait_s = max(1, ceil((1 - left) * 60 / a_minute))
            raise ApiError(429, "rate_limit_error", message, headers=(("retry-after", str(wait_s)),))
        self._left[workspace] = (now, left - 1)

    def count(self, body: bytes) -> int:
        """The estimate for a prompt: up to 2 % beside the bill, the same each time. Raises ApiError 400, 404."""
        try:
            billed = self._billed(_decode.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise invalid_request(diagnose(body, str(exc), CountedParams)) from exc
        off = round(_OFF_BY * (2 * unit(self._seed, "count", blake2b(body).hexdigest()) - 1))
        return -(-billed * 1000 // (1000 + off))

    def _billed(self, params: CountedParams) -> int:
        if not params.messages:
            raise invalid_request("messages: at least one message is required")
        card = self._models.get(params.model)
        if card is None:
            raise not_found(f"model: {params.model}")
        return prompt_tokens(params, card.tokenizer)
