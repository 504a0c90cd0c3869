"""The guide's "Cancel a Batch" of the batch whose id is given."""

import sys

import anthropic

client = anthropic.Anthropic()

cancelled = client.messages.batches.cancel(sys.argv[1])
print(f"Status: {cancelled.processing_status}")  # "canceling"
