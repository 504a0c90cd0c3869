"""Writes lines in the API's own shape: what reads the API's result files reads ours.

`result` bytes are the API's, byte for byte; the builders make results for requests that it never answered.
Source of the shapes: Message Batches API reference, "results".
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.domain.model import ResultRow

_text: Final = msgspec.json.Encoder().encode


def output_line(custom_id: str, result: bytes) -> bytes:
    """One line of the output, newline included. *custom_id* is the user's; *result* is a JSON object."""
    return b'{"custom_id":%b,"result":%b}\n' % (_text(custom_id), result)


def input_line(custom_id: str, params: bytes) -> bytes:
    """One line of input, without a newline: a request as it can be handed in again."""
    return b'{"custom_id":%b,"params":%b}' % (_text(custom_id), params)


def output_lines(results: Iterable[tuple[str, bytes]]) -> bytes:
    """The lines of many results, in the order given."""
    encode = _text
    return b"".join([b'{"custom_id":%b,"result":%b}\n' % (encode(custom_id), result) for custom_id, result in results])


def result_of(row: ResultRow) -> bytes:
    """The API's own result; a request that was canceled before it was sent gets the API's word for that."""
    return canceled_result() if row.body is None else row.body


def settled_lines(rows: Iterable[ResultRow]) -> bytes:
    """The lines of settled requests, in the order given."""
    return output_lines((row.custom_id, result_of(row)) for row in rows)


def errored_result(error_type: str, message: str, *, request_id: str | None = None) -> bytes:
    """An `errored` result as the API nests it (`result.error.error.type`)."""
    error = {"type": error_type, "message": message, "details": None}
    return msgspec.json.encode(
        {"type": "errored", "error": {"type": "error", "error": error, "request_id": request_id}}
    )


def unreadable_result(error_type: str, message: str, raw: bytes) -> bytes:
    """An `errored` result for a line that cannot be read, with the line's own bytes in `raw_base64`."""
    own = errored_result(error_type, message)
    return b'%b,"raw_base64":"%b"}' % (own[:-1], base64.b64encode(raw))


def expired_result() -> bytes:
    """The result of a request that its batch did not reach within 24 hours."""
    return b'{"type":"expired"}'


def canceled_result() -> bytes:
    """The result of a request that was canceled before it ran."""
    return b'{"type":"canceled"}'
