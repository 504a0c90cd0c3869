"""The guide's "Create a Batch": needs ANTHROPIC_BASE_URL, if it is not to be the real API."""

import anthropic
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages.batch_create_params import Request

client = anthropic.Anthropic()

message_batch = client.messages.batches.create(
    requests=[
        Request(
            custom_id="request-1",
            params=MessageCreateParamsNonStreaming(
                model="claude-opus-4-5",
                max_tokens=1024,
                messages=[{"role": "user", "content": "Summarize climate change impacts"}],
            ),
        ),
        Request(
            custom_id="request-2",
            params=MessageCreateParamsNonStreaming(
                model="claude-opus-4-5",
                max_tokens=1024,
                messages=[{"role": "user", "content": "Explain quantum computing basics"}],
            ),
        ),
    ]
)

print(f"Batch ID: {message_batch.id}")
print(f"Status: {message_batch.processing_status}")
