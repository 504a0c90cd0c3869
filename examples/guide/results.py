"""The guide's "Retrieve Results" of the batch whose id is given."""

import sys

import anthropic

client = anthropic.Anthropic()

for result in client.messages.batches.results(sys.argv[1]):
    match result.result.type:
        case "succeeded":
            block = result.result.message.content[0]
            print(f"[{result.custom_id}] {block.text[:100] if block.type == 'text' else block.type}")
        case "errored":
            # (The guide's own line looks one level too high, where the type is always "error".)
            if result.result.error.error.type == "invalid_request_error":
                print(f"[{result.custom_id}] Validation error - fix request and retry")
            else:
                print(f"[{result.custom_id}] Server error - safe to retry")
        case "expired":
            print(f"[{result.custom_id}] Expired - resubmit")
