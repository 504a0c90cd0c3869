"""The guide's "Poll for Completion" of the batch whose id is given; SECONDS_BETWEEN two looks (60)."""

import os
import sys
import time

import anthropic

client = anthropic.Anthropic()

while True:
    batch = client.messages.batches.retrieve(sys.argv[1])
    if batch.processing_status == "ended":
        break
    print(f"Status: {batch.processing_status}, processing: {batch.request_counts.processing}")
    time.sleep(float(os.environ.get("SECONDS_BETWEEN", "60")))

print("Batch complete!")
print(f"Succeeded: {batch.request_counts.succeeded}")
print(f"Errored: {batch.request_counts.errored}")
