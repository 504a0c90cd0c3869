"""Many questions about one long document, with prompt caching and without a single `await`.

    python examples/prompt_caching.py --sandbox
    python examples/prompt_caching.py --document book.txt     # the real API, with ANTHROPIC_API_KEY

Requests keep their order on the way into batches, so those that share a cached prefix stay together. The store holds
a shared document about once, not once per request. In a notebook, the same lines work cell by cell.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from anthropic.types import TextBlockParam
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages.batch_create_params import Request

from orchestrator import SyncOrchestrator

QUESTIONS = [
    "Who tells the story?",
    "What are the major themes?",
    "How does the first chapter end?",
    "Which images come back again and again?",
]


def requests(document: str) -> Iterator[Request]:
    """One request per question; a generator, so that a million of them need no more memory than one."""
    shared_system: list[TextBlockParam] = [
        {"type": "text", "text": "You are a literary analyst."},
        {"type": "text", "text": document, "cache_control": {"type": "ephemeral"}},  # shared by all requests
    ]
    for i, question in enumerate(QUESTIONS):
        yield Request(
            custom_id=f"analysis-{i}",
            params=MessageCreateParamsNonStreaming(
                model="claude-opus-4-8",
                max_tokens=1024,
                system=shared_system,
                messages=[{"role": "user", "content": question}],
            ),
        )


def main(db: str | None, document: str, *, sandbox: bool) -> None:
    """Ask, wait, and show the answers with what the cache saved."""
    with SyncOrchestrator(db, sandbox=sandbox) as orc:
        job = orc.submit(requests(document), name="analysis")
        print(f"Job: {job.id}")
        for result in job.results():  # waits for the job by itself
            message = result.message  # the SDK's own object
            if message is None:
                print(f"{result.custom_id}: {result.type} {result.error_message or ''}")
                continue
            cached = message.usage.cache_read_input_tokens or 0
            print(f"{result.custom_id}: {(result.text or '')[:60]!r} ({cached} tokens from the cache)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ask several questions about one document in a batch.")
    parser.add_argument("--sandbox", action="store_true", help="use the local API: no key, no cost, canned answers")
    parser.add_argument("--db", help="the database file (default: the user's)")
    parser.add_argument("--document", type=Path, help="a text file (default: a made-up one)")
    arguments = parser.parse_args()
    text = "It was a bright cold day. " * 2000 if arguments.document is None else arguments.document.read_text("utf-8")
    main(arguments.db, text, sandbox=arguments.sandbox)
