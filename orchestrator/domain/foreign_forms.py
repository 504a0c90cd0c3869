"""Requests in forms of other APIs, told by the keys of a line: `orchestrator convert` makes requests of ours."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class LineForm(StrEnum):
    """How a line is written. OWN: a request of the API's own form."""

    OWN = "own"
    OPENAI_BATCH = "openai_batch"
    BEDROCK_BATCH = "bedrock_batch"
    CHAT_ROW = "chat_row"
    PROMPT_ROW = "prompt_row"


#: What a file of such lines is called, as in "is an OpenAI batch file".
CALLED: Final[Mapping[LineForm, str]] = MappingProxyType(
    {
        LineForm.OPENAI_BATCH: "an OpenAI batch file (custom_id, method, url, body)",
        LineForm.BEDROCK_BATCH: "a Bedrock batch file (recordId, modelInput)",
        LineForm.CHAT_ROW: "a file of chat rows (messages)",
        LineForm.PROMPT_ROW: "a file of rows with a prompt",
    }
)
_OF_OPENAI: Final = frozenset({"custom_id", "method", "url"})


def form_of(keys: Collection[str]) -> LineForm | None:
    """The form of a line with these *keys*; None: it is none of them."""
    if "params" in keys:
        return LineForm.OWN if "custom_id" in keys else None
    if "body" in keys and not _OF_OPENAI.isdisjoint(keys):
        return LineForm.OPENAI_BATCH
    if "modelInput" in keys:
        return LineForm.BEDROCK_BATCH
    if "messages" in keys:
        return LineForm.CHAT_ROW
    return LineForm.PROMPT_ROW if "prompt" in keys else None
