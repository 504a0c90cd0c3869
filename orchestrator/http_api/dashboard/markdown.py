"""A model's Markdown as blocks for a template: paragraphs, headings, list items, code. None of it becomes markup.

Only structure is parsed. Links and images stay text: a page never loads what an answer names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FENCE: Final = re.compile(r"\s{0,3}```")
_HEADING: Final = re.compile(r"(#{1,6})\s+(.*)")
_ITEM: Final = re.compile(r"\s{0,8}(?:[-*+]|\d{1,3}[.)])\s+(.*)")
_SPAN: Final = re.compile(r"`([^`\n]{1,2000})`|\*\*([^*\n]{1,2000})\*\*")


@dataclass(frozen=True, slots=True)
class MarkdownBlock:
    """kind: "text", "heading", "item" or "code". spans: (kind, text), kind "plain", "code" or "strong"."""

    kind: str
    spans: tuple[tuple[str, str], ...]


def pieces(text: str) -> list[MarkdownBlock]:
    """*text* as blocks; an unclosed fence reaches to the end."""
    found: list[MarkdownBlock] = []
    held: list[str] = []
    code: list[str] | None = None
    for line in [*text.split("\n"), None]:
        if code is not None:
            if line is None or _FENCE.match(line):
                found.append(MarkdownBlock("code", (("plain", "\n".join(code)),)))
                code = None
            else:
                code.append(line)
            continue
        if line is None or line.strip() == "" or _FENCE.match(line) or _ITEM.match(line) or _HEADING.match(line):
            found += _paragraph(held)
            held = []
            if line is not None and _FENCE.match(line):
                code = []
            elif line is not None:
                found += _special(line)
        else:
            held.append(line)
    return found


def _paragraph(lines: list[str]) -> list[MarkdownBlock]:
    return [MarkdownBlock("text", tuple(spans("\n".join(lines))))] if lines else []


def _special(line: str) -> list[MarkdownBlock]:
    if heading := _HEADING.match(line):
        return [MarkdownBlock("heading", tuple(spans(heading[2])))]
    if item := _ITEM.match(line):
        return [MarkdownBlock("item", tuple(spans(item[1])))]
    return []


def spans(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of the parts of *text* with no structure but these: "plain", "code" or "strong"."""
    at = 0
    for match in _SPAN.finditer(text):
        if match.start() > at:
            yield "plain", text[at : match.start()]
        yield ("code", match[1]) if match[1] is not None else ("strong", match[2])
        at = match.end()
    if at < len(text):
        yield "plain", text[at:]
