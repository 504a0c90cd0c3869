"""The documents for people: their files, their fenced blocks, and what stands before a block."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
#: Pages that a person reads. CHANGELOG has no commands, and docs/proof.md, docs/fault-matrix.md are made elsewhere.
PAGES: Final = [
    *(
        ROOT / name
        for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "deploy/README.md", "examples/guide/README.md")
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]
#: Before a block that is not run: why not, or which test runs it.
_REASON: Final = re.compile(r"<!-- (not run|run by): ((?:(?!-->).)+) -->\n$", re.DOTALL)
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. not_run: the reason that is given for it; run_by: the test file that runs it."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None = None
    run_by: str | None = None


def name_of(page: Path) -> str:
    """As people call it: the path in the project."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of *page*, with the comment just before it."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        before = text[: found.start()]
        reason = _REASON.search(before)
        kind = None if reason is None else reason[1]
        yield Block(
            page=page,
            line=before.count("\n") + 1,
            language=found[1],
            text=found[2],
            not_run=reason[2] if reason and kind == "not run" else None,
            run_by=reason[2] if reason and kind == "run by" else None,
        )


def shell_blocks(page: Path) -> list[Block]:
    """Those of the shell."""
    return [block for block in blocks(page) if block.language == "sh"]
