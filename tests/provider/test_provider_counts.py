"""Counting tokens: what is sent, and what is not; a limit of its own that is obeyed."""

from __future__ import annotations

import json

import httpx2
import pytest
from provider.provider_world import HEADERS, error_json
from provider.test_provider_reads import Api

from orchestrator.domain.errors import ProviderBusy, ProviderRefused, ProviderUnreadable

pytestmark = pytest.mark.anyio
MESSAGES = [{"role": "user", "content": "caf\u00e9"}]
PARAMS = {
    "model": "claude-haiku-4-5",
    "max_tokens": 64,
    "messages": MESSAGES,
    "system": "Be brief.",
    "tools": [{"name": "t", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "low"},
    "cache_control": {"type": "ephemeral"},
    "temperature": 0.5,
    "metadata": {"user_id": "u"},
    "stop_sequences": ["END"],
    "inference_geo": "us",
    "service_tier": "auto",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_only_the_fields_that_a_count_takes_are_sent() -> None:
    """The API refuses any other, so params never go there as they are; headers are those of the job's batches."""
    api = Api(httpx2.Response(200, json={"input_tokens": 2095}))
    assert await api.provider.count_tokens(json.dumps(PARAMS).encode(), HEADERS) == 2095
    (request,) = api.asked
    assert (request.method, request.url.path) == ("POST", "/v1/messages/count_tokens")
    refused = {"max_tokens", "temperature", "metadata", "stop_sequences", "inference_geo", "service_tier"}
    assert json.loads(request.content) == {key: value for key, value in PARAMS.items() if key not in refused}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["anthropic-version"] == HEADERS.api_version
    assert request.headers["anthropic-beta"] == "a-beta,b-beta"


async def test_its_own_limit_is_obeyed() -> None:
    """A 429 is not asked again: who counts a sample goes on without, or waits as long as the API says."""
    limited = httpx2.Response(429, headers={"retry-after": "7"}, json=error_json("rate_limit_error", "slow down"))
    api = Api(limited)
    with pytest.raises(ProviderBusy) as raised:
        await api.provider.count_tokens(json.dumps(PARAMS).encode(), HEADERS)
    assert raised.value.retry_after_s == 7
    assert len(api.asked) == 1


@pytest.mark.parametrize("body", [{}, {"input_tokens": "many"}, {"input_tokens": -1}, {"input_tokens": 10**12}])
async def test_a_count_that_is_none_is_no_answer(body: dict[str, object]) -> None:
    """A number of tokens that no request can have is not believed."""
    with pytest.raises(ProviderUnreadable):
        await Api(httpx2.Response(200, json=body)).provider.count_tokens(json.dumps(PARAMS).encode(), HEADERS)


async def test_a_refusal_is_told_as_that_of_other_reads() -> None:
    """A model that the account does not have, for example."""
    api = Api(httpx2.Response(400, json=error_json("invalid_request_error", "no such model")))
    with pytest.raises(ProviderRefused):
        await api.provider.count_tokens(json.dumps(PARAMS).encode(), HEADERS)
