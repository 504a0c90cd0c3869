"""One result: the API's own bytes, parsed when and as far as somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.domain.output_lines import output_line, result_of

if TYPE_CHECKING:
    from anthropic.types import Message
    from anthropic.types.messages import MessageBatchIndividualResponse

    from orchestrator.domain.model import ResultRow


class _Block(msgspec.Struct, gc=False):
    type: str
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: list[_Block] = []


class _Error(msgspec.Struct, gc=False):
    type: str | None = None
    message: str | None = None


class _ErrorFrame(msgspec.Struct, gc=False):
    error: _Error = msgspec.field(default_factory=_Error)


class _Shape(msgspec.Struct, gc=False):
    """As much of a result object as the shortcuts need. Source: Message Batches API reference, "results"."""

    type: str
    message: _Message | None = None
    error: _ErrorFrame | None = None


_decode: Final = msgspec.json.Decoder(_Shape).decode


class Result:
    """What became of one request.

    custom_id: the user's own. raw: the API's result object, byte for byte (`{"type": "succeeded", "message": …}`).
    number: the request's place in the input, from 1.
    """

    __slots__ = ("_shape", "custom_id", "number", "raw")

    def __init__(self, row: ResultRow) -> None:
        self.custom_id = row.custom_id
        self.number = row.number
        self.raw = result_of(row)
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
        return None if frame is None else frame.error.type

    @property
    def error_message(self) -> str | None:
        """The API's words; None if the request was not `errored`."""
        frame = self._read().error
        return None if frame is None else frame.error.message

    @property
    def line(self) -> bytes:
        """The line that an output file has for it, newline included."""
        return output_line(self.custom_id, self.raw)

    @property
    def response(self) -> MessageBatchIndividualResponse:
        """The SDK's own object, as `client.messages.batches.results` gives it; imports the SDK."""
        from anthropic.types.messages import MessageBatchIndividualResponse

        # As the SDK itself reads answers: what is newer than its types is kept, not refused.
        plain = {"custom_id": self.custom_id, "result": msgspec.json.decode(self.raw)}
        return MessageBatchIndividualResponse.construct(**plain)

    @property
    def message(self) -> Message | None:
        """The SDK's `Message`; None if the request did not succeed. Imports the SDK."""
        result = self.response.result
        return result.message if result.type == "succeeded" else None

    def __repr__(self) -> str:
        return f"Result(custom_id={self.custom_id!r}, type={self.type!r})"

    def _read(self) -> _Shape:
        if self._shape is None:
            self._shape = _decode(self.raw)
        return self._shape
