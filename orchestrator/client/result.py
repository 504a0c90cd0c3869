"""One result: the API's own bytes, parsed when asked for, and only as far as asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.client import notebook
from orchestrator.domain import answers, json_text, money, queries, result_lines

if TYPE_CHECKING:
    from decimal import Decimal

    from anthropic.types import Message
    from anthropic.types.messages import MessageBatchIndividualResponse

    from orchestrator.domain.answer_schema import AnswerSchema


class Result:
    """The result of one request.

    custom_id: the user's own. raw: the API's result object, byte for byte (`{"type": "succeeded", "message": …}`).
    number: the position of the request in the input, from 1. row: what the request was made of, if that was handed in.

    No property raises, whatever the bytes are: invalid characters become U+FFFD, and what cannot be read is None. `raw`
    has the bytes as they came.
    """

    __slots__ = ("_answer", "_schema", "_stored", "custom_id", "number", "raw")

    def __init__(self, row: queries.ResultRow, schema: AnswerSchema | None = None) -> None:
        self.custom_id, self.number = row.custom_id, row.number
        self.raw = result_lines.result_of(row)
        self._stored, self._schema = row, schema
        self._answer: answers.Answer | None = None

    @property
    def type(self) -> str:
        """One of "succeeded", "errored", "expired", "canceled"."""
        return self._read().kind

    @property
    def cost(self) -> Decimal | None:
        """What it cost, in dollars; None if that is not known."""
        nanos = self._stored.cost_nanos
        return None if nanos is None else money.as_decimal(nanos)

    @property
    def reused_from(self) -> str | None:
        """The custom_id of the identical request whose answer this is (`dedupe`); None: it is its own."""
        return self._stored.reused_from

    @property
    def row(self) -> dict[str, Any] | None:
        """The `row` that was handed in with the request; None if there was none."""
        row = self._stored.row
        return json_text.readable_object(row) if row else None

    @property
    def text(self) -> str | None:
        """The answer's text blocks, joined; None if the request did not succeed."""
        return self._read().text

    @property
    def parsed(self) -> Any:  # noqa: ANN401 - whatever the schema says, mostly a dict
        """The answer as the job's schema has it, mostly a dict; None without a schema, or if it does not fit."""
        text = self.text
        return None if self._schema is None or text is None else self._schema.parsed(text)

    @property
    def stop_reason(self) -> str | None:
        """Why the answer ended, such as "end_turn" or "refusal"; None if the request did not succeed."""
        return self._read().stop_reason

    @property
    def error_type(self) -> str | None:
        """Such as "invalid_request_error"; None if the request was not `errored`."""
        return self._read().error_type

    @property
    def error_message(self) -> str | None:
        """The API's message; None if the request was not `errored`."""
        return self._read().error_message

    @property
    def line(self) -> bytes:
        """Its line in an output file, newline included."""
        return result_lines.output_line(self.custom_id, self.raw, self.reused_from)

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

    def _repr_html_(self) -> str:
        """For notebooks."""
        return notebook.result_card(self)

    def _read(self) -> answers.Answer:
        if self._answer is None:
            self._answer = answers.answer_of(self._stored)
        return self._answer
