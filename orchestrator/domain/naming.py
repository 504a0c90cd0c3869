"""What a job is called unless somebody says: the same on the command line, over HTTP and in the library."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

from orchestrator.domain.humanize import readable

_ENDINGS: Final = (".gz", ".zst", ".jsonl", ".ndjson", ".json", ".txt")
_LONGEST_KEY: Final = 255


def is_key(text: str) -> bool:
    """True if *text* may be the key of a hand-over: 1 to 255 printable ASCII characters."""
    return 0 < len(text) <= _LONGEST_KEY and text.isascii() and text.isprintable()


def name_of(source: str) -> str:
    """The file's name without its folder and endings; `<stdin>` gives `stdin`."""
    name = PurePath(readable(source)).name.removeprefix("<").removesuffix(">")
    for ending in _ENDINGS:
        name = name.removesuffix(ending) if len(name) > len(ending) else name
    return name or "input"
