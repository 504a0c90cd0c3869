"""Whether an answer is what its job's schema asks: decided before it settles, since a settled request never changes.

An answer that is not was paid for all the same. A refusal is none of them: to ask again gets the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.domain.answers import text_of
from orchestrator.domain.error_text import NO_MATCH
from orchestrator.domain.result_outcome import CUT_STOPS, REFUSAL

if TYPE_CHECKING:
    from orchestrator.domain.answer_schema import AnswerSchema

_MOST_CHARS: Final = 500


def problem_of(result: bytes, stop_reason: str | None, schema: AnswerSchema) -> str | None:
    """Why the answer in a `result` object that succeeded is invalid, in a sentence; None if it is not.

    stop_reason: why it ended. The same result always has the same problem: a download that is repeated decides alike.
    """
    if stop_reason == REFUSAL:
        return None
    if stop_reason is not None and stop_reason in CUT_STOPS:
        return cut_problem(stop_reason)
    text = text_of(result)
    if text is None or not text.strip():
        return f"the answer has no text, so it cannot match the schema (stop_reason {stop_reason})"
    problem = schema.problem(text)
    return None if problem is None else f"{NO_MATCH}{problem}"[:_MOST_CHARS]


def cut_problem(stop_reason: str) -> str:
    """The problem of an answer that ended by *stop_reason*, one of `CUT_STOPS`."""
    return f"the answer was cut ({stop_reason}), so it cannot match the schema"
