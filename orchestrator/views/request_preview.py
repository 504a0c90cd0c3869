"""What a request says and what was answered, in a line, for lists that show many of them.

All of it is somebody else's text: who shows it, escapes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from orchestrator.domain.json_text import readable_object
from orchestrator.domain.queries import RequestBodies
from orchestrator.views.request_text import turns_of

#: Characters of a preview, and of the text before what was looked for.
_SHOWN: Final = 180
_BEFORE: Final = 30
#: So much of a text is looked at for a preview of its beginning.
_LOOKED_AT: Final = 2_000


@dataclass(frozen=True, slots=True)
class TextPreview:
    """A text on one line, cut. found: what was looked for, as it stands there, between the others."""

    before: str
    found: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class SaidTexts:
    """The texts of one request: every turn of its prompt, and its answer; None: nothing is known of it."""

    turns: tuple[str, ...] | None
    answer: str | None

    def prompt_preview(self, text: str = "") -> TextPreview | None:
        """Of what was asked last; where *text* was looked for, of the first turn that has it, around it.

        None: there is nothing to show.
        """
        turns = [turn for turn in self.turns or () if turn]
        return _preview(next((turn for turn in turns if _place(turn, text)), turns[-1]), text) if turns else None

    def answer_preview(self, text: str = "") -> TextPreview | None:
        """Of the answer, likewise."""
        return _preview(self.answer, text) if self.answer else None

    def holds(self, text: str, *more: str) -> bool:
        """Whether *text* stands in one of them, or in one of *more*, in any case."""
        return not text or any(_place(each, text) for each in (*(self.turns or ()), self.answer or "", *more))


def texts_of(bodies: RequestBodies) -> SaidTexts:
    """The texts in *bodies*; what is no text is named: `[image]`."""
    turns = None if bodies.params is None else tuple(_turns(bodies.params))
    return SaidTexts(turns, None if bodies.result is None else _answer(bodies.result))


def _turns(params: bytes) -> Iterator[str]:
    for _, content in turns_of(readable_object(params)):
        yield _said(content)


def _answer(result: bytes) -> str | None:
    found = readable_object(result)
    message = found.get("message", found.get("answer"))  # an invalid one has it under another name
    return _said(message.get("content")) if isinstance(message, dict) else None


def _said(content: object) -> str:
    blocks = content if isinstance(content, list) else [content]
    return " ".join(filter(None, map(_block, blocks)))


def _block(block: object) -> str:
    match block:
        case str(text) | {"type": "text", "text": str(text)}:
            return text
        case {"type": str(kind)}:
            return f"[{kind}]"
        case _:
            return ""


def _place(text: str, wanted: str) -> re.Match[str] | None:
    return re.search(re.escape(wanted), text, re.IGNORECASE) if wanted else None


def _preview(text: str, wanted: str) -> TextPreview:
    place = _place(text, wanted)
    if place is None:
        return TextPreview(_cut(_line(text[:_LOOKED_AT])))
    start = max(place.start() - _BEFORE, 0)
    before = _line(text[start : place.start()], keep_end=True)
    after = text[place.end() : place.end() + _LOOKED_AT]
    return TextPreview(f"{'…' if start else ''}{before}", _line(place[0]), _cut(_line(after, keep_start=True)))


def _line(text: str, *, keep_start: bool = False, keep_end: bool = False) -> str:
    """*text* on one line, its white space as single spaces."""
    line = " ".join(text.split())
    start = " " if keep_start and text[:1].isspace() else ""
    return f"{start}{line}{' ' if keep_end and text[-1:].isspace() else ''}"


def _cut(line: str) -> str:
    return f"{line[:_SHOWN]}…" if len(line) > _SHOWN else line
