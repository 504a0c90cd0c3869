"""`pydantic_ai.direct.model_request_batch`. It waits once before its first look at a batch."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from job import BATCH_SIZE, COUNT, MAX_TOKENS, MODEL, POLL_S, finish, prompt
from pydantic_ai import ModelRequest, ModelResponse
from pydantic_ai.direct import model_request_batch
from pydantic_ai.models.batch import BatchRequest
from pydantic_ai.settings import ModelSettings

SETTINGS = ModelSettings(max_tokens=MAX_TOKENS)
PAUSE = timedelta(seconds=POLL_S)

requests = [
    BatchRequest(
        custom_id=f"r{number}", messages=[ModelRequest.user_text_prompt(prompt(number))], model_settings=SETTINGS
    )
    for number in range(COUNT)
]
responses = asyncio.run(
    model_request_batch(
        f"anthropic:{MODEL}", requests, max_requests=BATCH_SIZE, poll_interval=PAUSE, max_poll_interval=PAUSE
    )
)
finish(
    (request.custom_id, (response.text or "") if isinstance(response, ModelResponse) else "")
    for request, response in zip(requests, responses, strict=True)
)
