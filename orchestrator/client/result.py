"""One result: the API's own bytes, parsed when asked for, and only as far as asked for."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.domain import json_text, queries, result_lines, states

if TYPE_CHECKING:
    from anthropic.types import Message
    from anthropic.types.messages import MessageBatchIndividualResponse


class _TextBlock(msgspec.Struct, gc=False):
    type: str
    text: str | None = None


class _MessageText(msgspec.Struct, gc=False):
    content: list[_TextBlock] = []


class _ErrorText(msgspec.Struct, gc=False):
    type: str | None = None
    message: str | None = None


class _ErrorFrame(msgspec.Struct, gc=False):
    """The object around an error; a server that leaves it out has the error itself in its place."""

    error: _ErrorText | None = None
    type: str | None = None
    message: str | None = None

    @property
    def inner(self) -> _ErrorText:
        return _ErrorText(type=self.type, message=self.message) if self.error is None else self.error


class _Shape(msgspec.Struct, gc=False):
    """The part of a result object that the shortcuts read. Source: Message Batches API reference, "results"."""

    type: str
    message: _MessageText | None = None
    error: _ErrorFrame | None = None


_decode: Final = msgspec.json.Decoder(_Shape).decode
#: What became of a request whose result cannot be read, by its state in the store.
_BY_STATE: Final = MappingProxyType(
    {states.RequestState.SUCCEEDED: "succeeded", states.RequestState.CANCELED: "canceled"}
)


class Result:
    """The result of one request.

    custom_id: the user's own. raw: the API's result object, byte for byte (`{"type": "succeeded", "message": …}`).
    number: the position of the request in the input, from 1.

    No property raises, whatever the bytes are: invalid characters become U+FFFD, and what cannot be read is None. `raw`
    has the bytes as they came.
    """

    __slots__ = ("_shape", "_state", "custom_id", "number", "raw")

    def __init__(self, row: queries.ResultRow) -> None:
        self.custom_id, self.number = row.custom_id, row.number
        self.raw = result_lines.result_of(row)
        self._state = row.state
        self._shape: _Shape | None = None

    @property
    def type(self) -> str:
        """One of "succeeded", "errored", "expired", "canceled"."""
        return self._read().type

    @property
    def text(self) -> str | None:
        """The answer's text blocks, joined; None if the request did not succeed."""
        message = self._read().message
        if message is None:
            return None
        return "".join(block.text for block in message.content if block.type == "text" and block.text is not None)

    @property
    def error_type(self) -> str | None:
        """Such as "invalid_request_error"; None if the request was not `errored`."""
        frame = self._read().error
        return None if frame is None else frame.inner.type

    @property
    def error_message(self) -> str | None:
        """The API's message; None if the request was not `errored`."""
        frame = self._read().error
        return None if frame is None else frame.inner.message

    @property
    def line(self) -> bytes:
        """Its line in an output file, newline included."""
        return result_lines.output_line(self.custom_id, self.raw)

    @property
    def response(self) -> MessageBatchIndividualResponse:
        """The SDK's object, as `client.messages.batches.results` yields it. Imports the SDK."""
        from anthropic.types.messages import MessageBatchIndividualResponse

        # As the SDK itself reads answers: what is newer than its types is kept, not refused.
        result: Any = {**json_text.readable_object(self.raw), "type": self.type}
        return MessageBatchIndividualResponse.construct(custom_id=self.custom_id, result=result)

    @property
    def message(self) -> Message | None:
        """The SDK's `Message`; None if the request did not succeed. Imports the SDK."""
        from anthropic.types import Message

        found = getattr(self.response.result, "message", None)
        return found if self.type == "succeeded" and isinstance(found, Message) else None

    def __repr__(self) -> str:
        return f"Result(custom_id={self.custom_id!r}, type={self.type!r})"

    def _read(self) -> _Shape:
        if self._shape is None:
            try:
                self._shape = _decode(self.raw)
            except json_text.UNREADABLE:
                self._shape = self._recovered()
        return self._shape

    def _recovered(self) -> _Shape:
        """What can be read of bytes that do not have the API's shape, piece by piece."""
        found = json_text.readable_object(self.raw)
        kind = found.get("type")
        message, error = found.get("message"), found.get("error")
        return _Shape(
            type=kind if isinstance(kind, str) else _BY_STATE.get(self._state, "errored"),
            message=_MessageText(content=_texts(message.get("content"))) if isinstance(message, dict) else None,
            error=_ErrorFrame(error=_error(error)) if isinstance(error, dict) else None,
        )


def _texts(content: object) -> list[_TextBlock]:
    blocks = content if isinstance(content, list) else []
    texts = [block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
    return [_TextBlock(type="text", text=text) for text in texts if isinstance(text, str)]


def _error(frame: dict[str, Any]) -> _ErrorText:
    """The error in its envelope, or the object itself where a server left the envelope out."""
    inner = frame.get("error")
    told = inner if isinstance(inner, dict) else frame
    kind, message = told.get("type"), told.get("message")
    return _ErrorText(
        type=kind if isinstance(kind, str) else None, message=message if isinstance(message, str) else None
    )
