"""The guide's "Batch with Prompt Caching": a document that every request shares."""

import anthropic
from anthropic.types import TextBlockParam
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages.batch_create_params import Request

client = anthropic.Anthropic()

large_document_text = "It was a bright cold day in April, and the clocks were striking thirteen. " * 400
questions = ["Who tells the story?", "What are the major themes?", "How does the first chapter end?"]

shared_system: list[TextBlockParam] = [
    {"type": "text", "text": "You are a literary analyst."},
    {
        "type": "text",
        "text": large_document_text,  # Shared across all requests
        "cache_control": {"type": "ephemeral"},
    },
]

message_batch = client.messages.batches.create(
    requests=[
        Request(
            custom_id=f"analysis-{i}",
            params=MessageCreateParamsNonStreaming(
                model="claude-opus-4-5",
                max_tokens=1024,
                system=shared_system,
                messages=[{"role": "user", "content": question}],
            ),
        )
        for i, question in enumerate(questions)
    ]
)

print(f"Batch ID: {message_batch.id}")
