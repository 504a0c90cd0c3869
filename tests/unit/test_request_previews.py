"""What lists show of a prompt and an answer: a line of each, cut, and the place of what was looked for."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.domain.queries import RequestBodies
from orchestrator.views.request_preview import SaidTexts, TextPreview, texts_of


def said(messages: list[Any], answer: Any = None, **params: Any) -> SaidTexts:
    """The texts of a request with *messages*, and of *answer*."""
    result = None if answer is None else json.dumps({"type": "succeeded", "message": {"content": answer}}).encode()
    return texts_of(RequestBodies(params=json.dumps({"messages": messages, **params}).encode(), result=result))


def test_a_preview_is_one_line_of_what_was_asked_last() -> None:
    """White space is single, what is no text is named, and a long text is cut."""
    image = {"type": "image", "source": {"data": "A" * 9}}
    content = [image, {"type": "text", "text": "What\n\n is  it?"}]
    found = said([{"role": "user", "content": "first"}, {"role": "user", "content": content}], system="Be brief.")
    assert found.prompt_preview() == TextPreview("[image] What is it?")
    assert found.answer_preview() is None
    long = said([{"role": "user", "content": "x" * 1_000_000}], [{"type": "text", "text": "yes"}])
    assert long.prompt_preview() == TextPreview(f"{'x' * 180}…")
    assert long.answer_preview() == TextPreview("yes")


def test_what_was_looked_for_is_shown_where_it_stands() -> None:
    """In whichever turn, in any case, far into a long text too."""
    found = said([{"role": "user", "content": f"{'a ' * 5000}The RED (box) broke"}], "no", system="Be (brief).")
    assert found.holds("red (BOX)")
    assert not found.holds("blue")
    assert found.holds("odd", "an-ODD-id")
    assert found.prompt_preview("red (box)") == TextPreview(f"…{'a ' * 13}The ", "RED (box)", " broke")
    assert found.prompt_preview("(brief)") == TextPreview("Be ", "(brief)", ".")


def test_bodies_that_nobody_can_read_have_no_preview() -> None:
    """Neither what is not there, nor what has another shape than the API's."""
    nothing = texts_of(RequestBodies())
    assert (nothing.prompt_preview(), nothing.answer_preview(), nothing.holds("x")) == (None, None, False)
    odd = texts_of(RequestBodies(params=b'{"messages": [7, {"role": "user", "content": {"type": 3}}]}', result=b"no"))
    assert (odd.prompt_preview(), odd.answer_preview()) == (None, None)
