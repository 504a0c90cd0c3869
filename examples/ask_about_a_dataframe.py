"""A question about every row of a pandas DataFrame, and the answers as a DataFrame.

    pip install pandas
    python examples/ask_about_a_dataframe.py --sandbox
    python examples/ask_about_a_dataframe.py --table reviews.csv     # the real API, with ANTHROPIC_API_KEY

polars, Arrow tables and Hugging Face datasets go the same way: `df.iter_rows(named=True)`, `table.to_pylist()`, the
dataset itself. In a notebook, the same lines work cell by cell.
"""

from __future__ import annotations

import argparse
from io import StringIO

from orchestrator import SyncOrchestrator

REVIEWS = """\
id,product,text
007,kettle,"Boils fast, and looks good."
008,kettle,Broken after a week.
009,lamp,
"""


def main() -> None:
    """Ask, and print a table of the answers."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--sandbox", action="store_true", help="canned answers, without a key and without cost")
    options.add_argument("--db", help="the database file")
    options.add_argument("--table", help="a CSV file with the columns id, product and text")
    chosen = options.parse_args()
    import pandas as pd

    reviews = pd.read_csv(chosen.table or StringIO(REVIEWS), dtype={"id": str})
    with SyncOrchestrator(chosen.db, sandbox=chosen.sandbox) as orc:
        job = orc.submit(
            reviews.dropna(subset="text").to_dict("records"),
            prompt="Is this review of a {{ product }} positive or negative? One word: {{ text }}",
            model="claude-haiku-4-5",
            max_tokens=16,
            id_column="id",
        )
        answers = pd.DataFrame(job.to_dicts())  # waits for the job; a row's own columns, then its answer
    print(answers[["id", "product", "answer", "status"]].to_string(index=False))


if __name__ == "__main__":
    main()
