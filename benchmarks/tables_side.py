"""One side of the part `tables`, in a process of its own: reads a file to its end, and drops what it gives.

Usage: python -m benchmarks.tables_side FILE; with FILE.jsonl FILE.parquet it writes the first anew as the second.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path

from orchestrator.domain.api_versions import STRICTER_API_VERSION
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import open_source
from orchestrator.ports.streams import InputLine, Source
from orchestrator.tables import Recipe, RowSource, TableInput


async def main(path: Path) -> None:
    """Every row must become a request."""
    async with aclosing(_source(path).chunks()) as chunks:
        async for chunk in chunks:
            assert all(isinstance(item, InputLine) for item in chunk), chunk[0]


def _source(path: Path) -> Source:
    rules = ParamRules(api_version=STRICTER_API_VERSION)
    if path.name == "requests.jsonl":
        return open_source(path, rules=rules, max_line_bytes=1 << 20)
    recipe = Recipe(prompt="Positive or negative? {{ text }}", model="claude-haiku-4-5", max_tokens=64, id_column="id")
    return RowSource(TableInput(paths=(str(path),)), recipe, rules)


def _write_parquet(lines: Path, path: Path) -> None:
    from arro3.io import infer_json_schema, read_json, write_parquet

    with lines.open("rb") as source:
        schema = infer_json_schema(source, max_records=10)
    with lines.open("rb") as source:
        write_parquet(read_json(source, schema), path, compression="zstd(3)")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _write_parquet(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        asyncio.run(main(Path(sys.argv[1])))
