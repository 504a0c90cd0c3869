"""The guide's "Full End-to-End Example": prepare, create, wait, collect; SECONDS_BETWEEN two looks (60)."""

import os
import time

import anthropic
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages.batch_create_params import Request

client = anthropic.Anthropic()

# 1. Prepare requests
items_to_classify = [
    "The product quality is excellent!",
    "Terrible customer service, never again.",
    "It's okay, nothing special.",
]

requests = [
    Request(
        custom_id=f"classify-{i}",
        params=MessageCreateParamsNonStreaming(
            model="claude-haiku-4-5",
            max_tokens=50,
            messages=[
                {"role": "user", "content": f"Classify as positive/negative/neutral (one word): {text}"},
            ],
        ),
    )
    for i, text in enumerate(items_to_classify)
]

# 2. Create batch
batch = client.messages.batches.create(requests=requests)
print(f"Created batch: {batch.id}")

# 3. Wait for completion
while True:
    batch = client.messages.batches.retrieve(batch.id)
    if batch.processing_status == "ended":
        break
    time.sleep(float(os.environ.get("SECONDS_BETWEEN", "60")))

# 4. Collect results
results = {}
for result in client.messages.batches.results(batch.id):
    if result.result.type == "succeeded":
        block = result.result.message.content[0]
        results[result.custom_id] = block.text if block.type == "text" else ""

for custom_id, classification in sorted(results.items()):
    print(f"{custom_id}: {classification}")
