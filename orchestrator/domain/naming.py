"""What a job is called unless somebody says: the same on the command line, over HTTP and in the library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from orchestrator.domain.errors import GuardRefused

_ENDINGS: Final = (".gz", ".zst", ".jsonl", ".ndjson", ".json", ".txt")


_LONGEST_KEY: Final = 255
_LISTED: Final = 10
_STDOUT: Final = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


def is_key(text: str) -> bool:
    """True if *text* may be the key of a hand-over: 1 to 255 printable ASCII characters."""
    return 0 < len(text) <= _LONGEST_KEY and text.isascii() and text.isprintable()


def refuse_several(name: str, ids: Sequence[str]) -> None:
    """Raise GuardRefused if *ids*, newest first, are several jobs of one *name*: nobody can tell which is meant."""
    if len(ids) > 1:
        more = f" and {len(ids) - _LISTED:,} more" if len(ids) > _LISTED else ""
        raise GuardRefused(
            f"{name!r} is the name of {len(ids):,} jobs; nothing was changed",
            cause=f"the newest first: {', '.join(ids[:_LISTED])}{more}",
            hint="name one by its id, or the newest of all by @last",
        )


def is_stdout(output: str) -> bool:
    """True if *output*, as a person wrote it after `-o`, is standard output: "-", or one of its names on Linux."""
    return output in _STDOUT


def readable(path: str) -> str:
    r"""*path* as text that can be stored and shown: a file's name may have bytes that are no UTF-8, shown as `\xNN`."""
    try:
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # no name of a file: half a surrogate pair that a program made
        return path.encode("utf-8", "backslashreplace").decode()


def name_of(source: str) -> str:
    """The file's name without its folder and endings; `<stdin>` gives `stdin`."""
    name = PurePath(readable(source)).name.removeprefix("<").removesuffix(">")
    for ending in _ENDINGS:
        name = name.removesuffix(ending) if len(name) > len(ending) else name
    return name or "input"
