"""What answers of structured jobs have to match, judged by other code than the product's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from jsonschema import Draft202012Validator

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["label", "score"],
    "additionalProperties": False,
}
_VALIDATOR: Final = Draft202012Validator(SCHEMA)


@lru_cache(maxsize=10_000)
def is_invalid(result: bytes) -> bool:
    """True for a `result` object that succeeded and is neither a refusal nor a whole answer of `SCHEMA`."""
    message = json.loads(result)["message"]
    if message["stop_reason"] == "refusal":
        return False
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    try:
        fits = _VALIDATOR.is_valid(json.loads(text))
    except ValueError:
        return True
    return message["stop_reason"] == "max_tokens" or not fits


def is_rightly_again(answers: Sequence[bytes], retry_invalid: int | None) -> bool:
    """True if every answer but the last one is invalid, and there are no more than may be."""
    return retry_invalid is not None and len(answers) <= retry_invalid + 1 and all(map(is_invalid, answers[:-1]))


def keeps(shown: bytes | None, served: bytes) -> bool:
    """True if what is *shown* of a request is an error with the message of the invalid answer *served*, as it came."""
    if shown is None:
        return False
    message = served[served.index(b'"message":') + len(b'"message":') : -1]
    return is_invalid(served) and shown.startswith(b'{"type":"errored"') and shown.endswith(b'"answer":%b}' % message)
