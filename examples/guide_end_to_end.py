"""The end-to-end example of the Message Batches guide, with this library: no polling loop, and it survives a kill.

    python examples/guide_end_to_end.py --sandbox     # no key, no cost: canned answers
    python examples/guide_end_to_end.py               # the real API, with ANTHROPIC_API_KEY

Kill it anywhere and run it again: it goes on with the same job, and nothing is paid for twice.
"""

from __future__ import annotations

import argparse
import asyncio

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages.batch_create_params import Request

from orchestrator import Orchestrator

ITEMS_TO_CLASSIFY = [
    "The product quality is excellent!",
    "Terrible customer service, never again.",
    "It's okay, nothing special.",
]


def requests() -> list[Request]:
    """1. Prepare requests: the SDK's own dicts, as for `client.messages.batches.create`."""
    return [
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
        for i, text in enumerate(ITEMS_TO_CLASSIFY)
    ]


async def main(db: str | None, *, sandbox: bool) -> None:
    """2. Submit; 3. wait; 4. collect."""
    async with Orchestrator(db, sandbox=sandbox) as orc:
        job = await orc.submit(requests(), name="classify")
        print(f"{'Found' if job.attached else 'Created'} job: {job.id}")

        status = await job.wait()
        counts = status.job.requests
        print(f"Job {status.job.state.value}: {counts.succeeded} succeeded, {counts.failed} failed")

        async for result in job.results():  # in the order they were submitted
            match result.type:
                case "succeeded":
                    print(f"{result.custom_id}: {result.text}")
                case "errored":
                    print(f"{result.custom_id}: {result.error_type}: {result.error_message}")
                case other:  # expired after every attempt, or canceled
                    print(f"{result.custom_id}: {other}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Classify three sentences in a batch.")
    parser.add_argument("--sandbox", action="store_true", help="use the local API: no key, no cost, canned answers")
    parser.add_argument("--db", help="the database file (default: the user's)")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.db, sandbox=arguments.sandbox))
