"""`curator.LLM` with `batch=True` over a data set."""

from __future__ import annotations

from bespokelabs import curator
from datasets import Dataset
from job import BASE_URL, BATCH_SIZE, COUNT, FOLDER, MAX_TOKENS, MODEL, POLL_WHOLE_S, finish, prompt


class Ask(curator.LLM):
    """One prompt, one answer."""

    def prompt(self, row: dict[str, str]) -> str:
        """The text of the row."""
        return row["text"]

    def parse(self, row: dict[str, str], response: str) -> dict[str, str]:
        """The answer beside the row's id."""
        return {"id": row["id"], "answer": response}


asking = Ask(
    model_name=MODEL,
    backend="anthropic",
    batch=True,
    generation_params={"max_tokens": MAX_TOKENS},
    backend_params={
        "base_url": BASE_URL,
        "batch_size": BATCH_SIZE,
        "batch_check_interval": POLL_WHOLE_S,
        "require_all_responses": False,
    },
)
rows = Dataset.from_dict(
    {"id": [f"r{number}" for number in range(COUNT)], "text": [prompt(number) for number in range(COUNT)]}
)
answered = asking(rows, working_dir=str(FOLDER / "curator"))
answered = getattr(answered, "dataset", answered)
finish((row["id"], row["answer"]) for row in answered)
