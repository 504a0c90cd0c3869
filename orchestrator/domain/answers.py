"""What an answer says: its text, why it ended, what it took; read from a stored `result`, whatever its bytes are.

Invalid characters become U+FFFD, and what cannot be read is None: nothing here raises.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.domain.json_text import UNREADABLE, readable_object
from orchestrator.domain.result_lines import result_of
from orchestrator.domain.states import RequestState

if TYPE_CHECKING:
    from orchestrator.domain.queries import ResultRow


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One result, read. kind: "succeeded", "errored", "expired", "canceled", or whatever the API says.

    text: the text blocks, joined; None if there is no message. The others are None where it does not say.
    """

    kind: str
    text: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def error(self) -> str:
        """`type: message` of what did not succeed, as far as it is known; empty for what did, or was canceled."""
        if self.error_type is None and self.error_message is None:
            return "" if self.kind in {"succeeded", "canceled"} else self.kind
        return ": ".join(part for part in (self.error_type, self.error_message) if part is not None)


class _TextPart(msgspec.Struct, gc=False):
    type: str
    text: str | None = None


class _Taken(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Said(msgspec.Struct, gc=False):
    content: list[_TextPart] = []
    model: str | None = None
    stop_reason: str | None = None
    usage: _Taken | None = None


class _Words(msgspec.Struct, gc=False):
    type: str | None = None
    message: str | None = None


class _Frame(msgspec.Struct, gc=False):
    """The object around an error; a server that leaves it out has the error itself in its place."""

    error: _Words | None = None
    type: str | None = None
    message: str | None = None


class _Shape(msgspec.Struct, gc=False):
    """The part of a result object that is read. Source: Message Batches API reference, "results"."""

    type: str
    message: _Said | None = None
    error: _Frame | None = None
    answer: _Said | None = None  #: the message of one that is invalid (`result_lines.invalid_result`)


_decode: Final = msgspec.json.Decoder(_Shape).decode
_NO_WORDS: Final = _Words()
#: What became of a request whose result cannot be read, by its state in the store.
_BY_STATE: Final = MappingProxyType({RequestState.SUCCEEDED: "succeeded", RequestState.CANCELED: "canceled"})


def answer_of(row: ResultRow) -> Answer:
    """What the result of *row* says."""
    raw = result_of(row)
    try:
        shape = _decode(raw)
    except UNREADABLE:
        return _recovered(raw, row.state)
    said = shape.answer if shape.message is None else shape.message
    words = _words_of(shape)
    if said is None:
        return Answer(shape.type, None, words.type, words.message)
    taken = _Taken() if said.usage is None else said.usage
    return Answer(
        shape.type,
        _joined(said.content),
        words.type,
        words.message,
        said.model,
        said.stop_reason,
        taken.input_tokens,
        taken.output_tokens,
    )


def text_of(result: bytes) -> str | None:
    """The text blocks of the answer in a `result` object that succeeded, joined; None if there is no message."""
    try:
        said = _decode(result).message
    except UNREADABLE:
        return _recovered(result, RequestState.SUCCEEDED).text
    return None if said is None else _joined(said.content)


def _joined(content: list[_TextPart]) -> str:
    return "".join([block.text for block in content if block.type == "text" and block.text is not None])


def _words_of(shape: _Shape) -> _Words:
    frame = shape.error
    if frame is None:
        return _NO_WORDS
    return _Words(type=frame.type, message=frame.message) if frame.error is None else frame.error


def _recovered(raw: bytes, state: RequestState) -> Answer:
    """What can be read of bytes that do not have the API's shape, piece by piece."""
    found = readable_object(raw)
    kind, frame, said = _text(found.get("type")), found.get("error"), found.get("message", found.get("answer"))
    kind = _BY_STATE.get(state, "errored") if kind is None else kind
    words: dict[str, Any] = {}
    if isinstance(frame, dict):
        words = frame["error"] if isinstance(frame.get("error"), dict) else frame
    error_type, error_message = _text(words.get("type")), _text(words.get("message"))
    if not isinstance(said, dict):
        return Answer(kind, None, error_type, error_message)
    usage = said.get("usage")
    taken = usage if isinstance(usage, dict) else {}
    return Answer(
        kind,
        _texts(said.get("content")),
        error_type,
        error_message,
        _text(said.get("model")),
        _text(said.get("stop_reason")),
        _count(taken.get("input_tokens")),
        _count(taken.get("output_tokens")),
    )


def _texts(content: object) -> str:
    blocks = content if isinstance(content, list) else []
    texts = [block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
