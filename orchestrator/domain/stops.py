"""Why answers ended: the `stop_reason` of a request that succeeded. A refusal or a cut answer is a success too.

Names are an open set: what the API says is counted by its own name, made safe and bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestrator.domain import humanize

#: What is counted by no name of its own.
OTHER: Final = "other"
#: The names that a store knows from its beginning, by their numbers in it (a test compares). The first three are the
#: usual ends of whole answers. Source: Messages API reference, "stop_reason".
KNOWN: Final = (
    "end_turn",
    "stop_sequence",
    "tool_use",
    "max_tokens",
    "refusal",
    "pause_turn",
    "model_context_window_exceeded",
    OTHER,
)
USUAL: Final = frozenset(KNOWN[:3])
#: So many different names a store has, these included.
MOST_NAMES: Final = 32
_LONGEST: Final = 64
#: What the best known ones are called in a sentence.
_WORDS: Final = {
    "refusal": "refused",
    "max_tokens": "cut at max_tokens",
    "model_context_window_exceeded": "cut at the context window",
    "pause_turn": "paused (pause_turn)",
}
_SAFE: Final = frozenset(KNOWN)


def stop_name(stop_reason: str | None) -> str | None:
    """*stop_reason* as it is stored: printable ASCII without blanks, at most 64 characters. None for none."""
    if stop_reason is None or stop_reason in _SAFE:
        return stop_reason
    text = stop_reason[:_LONGEST].encode("ascii", "backslashreplace").decode()
    safe = "".join(c if "!" <= c <= "~" else "_" if c == " " else f"\\x{ord(c):02x}" for c in text)
    return safe[:_LONGEST] if safe else None


def stop_words(counts: Mapping[str, int]) -> list[str]:
    """`1 refused`, `2 cut at max_tokens`, `3 tool_use`: every end but `end_turn`, the best known ones first."""
    rest = sorted((name for name in counts if name not in _WORDS and name != KNOWN[0]), key=lambda n: (-counts[n], n))
    return [
        f"{counts[name]:,} {humanize.plain(_WORDS.get(name, name))}" for name in (*_WORDS, *rest) if counts.get(name)
    ]
