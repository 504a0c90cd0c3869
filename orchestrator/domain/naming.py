"""What a job is called unless somebody says: the same on the command line, over HTTP and in the library."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

_ENDINGS: Final = (".gz", ".zst", ".jsonl", ".ndjson", ".json", ".txt")


def name_of(source: str) -> str:
    """The file's name without its folder and endings; `<stdin>` gives `stdin`."""
    name = PurePath(source).name.removeprefix("<").removesuffix(">")
    for ending in _ENDINGS:
        name = name.removesuffix(ending) if len(name) > len(ending) else name
    return name or "input"
