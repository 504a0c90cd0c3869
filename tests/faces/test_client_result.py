"""One result, raw and parsed."""

from __future__ import annotations

import json

import pytest
from anthropic.types import Message
from anthropic.types.messages import MessageBatchIndividualResponse

from orchestrator import Result
from orchestrator.domain.queries import ResultRow
from orchestrator.domain.result_lines import errored_result
from orchestrator.domain.states import RequestState
from orchestrator.views.request_views import ResultPageView, ResultRowView

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "yes, "},
        {"type": "block_of_next_year", "shape": 3},
        {"type": "text", "text": "it is"},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 5},
}
SUCCEEDED = json.dumps({"type": "succeeded", "message": MESSAGE}).encode()


def result(raw: bytes | None) -> Result:
    return Result(ResultRow(number=7, custom_id="é/1", state=RequestState.SUCCEEDED, body=raw))


def test_an_answer_is_there_raw_as_text_and_as_the_sdks_own_object() -> None:
    """Bytes in = bytes out; the SDK's object is what `client.messages.batches.results` gives, newer blocks included."""
    found = result(SUCCEEDED)
    assert (found.custom_id, found.number, found.type, found.raw) == ("é/1", 7, "succeeded", SUCCEEDED)
    assert found.text == "yes, it is"
    assert isinstance(found.response, MessageBatchIndividualResponse)
    assert found.response.custom_id == "é/1"
    assert isinstance(found.message, Message)
    assert found.message.usage.output_tokens == 5
    assert [block.type for block in found.message.content][1] == "text"
    assert (found.error_type, found.error_message) == (None, None)
    assert repr(found) == "Result(custom_id='é/1', type='succeeded')"


@pytest.mark.parametrize("raw", [b'{"type":"expired"}', b'{"type":"canceled"}', errored_result("api_error", "oops")])
def test_what_did_not_succeed_has_no_text(raw: bytes) -> None:
    """Absence is None, for each of the API's other three types."""
    found = result(raw)
    assert (found.text, found.message) == (None, None)
    assert found.response.result.type == found.type == json.loads(raw)["type"]


SUCCESS = b'{"type":"succeeded","message":{"content":[{"type":"text","text":"%b"}],"usage":{}}}'
ODD: dict[str, tuple[bytes, RequestState, str, str | None, str | None]] = {
    "half a surrogate pair": (SUCCESS % rb"cut \ud83d", RequestState.SUCCEEDED, "succeeded", "cut \ufffd", None),
    "bytes that are no UTF-8": (SUCCESS % b"A\xe4A", RequestState.SUCCEEDED, "succeeded", "A\ufffdA", None),
    "a control character": (SUCCESS % b"a\x01b", RequestState.SUCCEEDED, "succeeded", "a\x01b", None),
    "a number out of range": (
        SUCCESS.replace(b"{}", b'{"input_tokens":1e400}') % b"x",
        RequestState.SUCCEEDED,
        "succeeded",
        "x",
        None,
    ),
    "NaN": (SUCCESS.replace(b"{}", b'{"n":NaN}') % b"x", RequestState.SUCCEEDED, "succeeded", "x", None),
    "a message that is no object": (
        b'{"type":"succeeded","message":"x"}',
        RequestState.SUCCEEDED,
        "succeeded",
        None,
        None,
    ),
    "no message": (b'{"type":"succeeded"}', RequestState.SUCCEEDED, "succeeded", None, None),
    "content that is no list": (
        b'{"type":"succeeded","message":{"content":{"a":1}}}',
        RequestState.SUCCEEDED,
        "succeeded",
        "",
        None,
    ),
    "blocks that are no objects": (
        b'{"type":"succeeded","message":{"content":["x",{"type":"text","text":7},{"type":"text","text":"y"}]}}',
        RequestState.SUCCEEDED,
        "succeeded",
        "y",
        None,
    ),
    "a truncated line": (SUCCESS[:40], RequestState.SUCCEEDED, "succeeded", None, None),
    "a truncated failure": (b'{"type":"err', RequestState.FAILED, "errored", None, None),
    "nothing": (b"", RequestState.CANCELED, "canceled", None, None),
    "no object": (b"[1]", RequestState.FAILED, "errored", None, None),
    "no type": (b'{"message":{"content":[]}}', RequestState.SUCCEEDED, "succeeded", "", None),
    "a type that is no text": (b'{"type":5}', RequestState.FAILED, "errored", None, None),
    "a kind of next year": (b'{"type":"paused_for_ever","x":1}', RequestState.FAILED, "paused_for_ever", None, None),
    "a flat error": (
        b'{"type":"errored","error":{"type":"api_error","message":"m \\ud83d"}}',
        RequestState.FAILED,
        "errored",
        None,
        "api_error",
    ),
    "a flat error that can be read": (
        b'{"type":"errored","error":{"type":"api_error","message":"m"}}',
        RequestState.FAILED,
        "errored",
        None,
        "api_error",
    ),
    "an error that is no object": (b'{"type":"errored","error":"no"}', RequestState.FAILED, "errored", None, None),
    "nested without end": (
        b'{"type":"succeeded","message":' + b"[" * 5000 + b"]" * 5000 + b"}",
        RequestState.SUCCEEDED,
        "succeeded",
        None,
        None,
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_a_settled_request_never_raises_when_it_is_read(name: str) -> None:
    """F5: the answer is paid for, and a loop over results must not end at one of them."""
    raw, state, kind, text, error_type = ODD[name]
    found = Result(ResultRow(number=1, custom_id="a", state=state, body=raw))
    assert (found.type, found.text, found.error_type) == (kind, text, error_type)
    assert found.raw == raw
    assert found.error_message is None or isinstance(found.error_message, str)
    assert found.message is None or isinstance(found.message, Message)
    assert found.response.result.type == kind
    assert repr(found) == f"Result(custom_id='a', type={kind!r})"
    assert found.line.endswith(raw + b"}\n")


def test_a_page_of_a_server_keeps_the_bytes_of_half_a_character() -> None:
    """F5: the library of another machine reads it as well, and its result file has the API's own bytes."""
    odd = SUCCESS % rb"cut \ud83d"
    row = b'{"number":%d,"custom_id":"\\"result\\":%d","state":"succeeded","result":%b}'
    page = b'{"results":[' + b",".join(row % (n, n, odd) for n in (1, 2)) + b'],"next":null}'
    rows = ResultPageView.decode(page).results
    assert [(found.number, found.body) for found in map(ResultRowView.to_row, rows)] == [(1, odd), (2, odd)]


def test_an_error_is_told_with_the_apis_type_and_words() -> None:
    """The error path of a batch result is `result.error.error.type`."""
    found = result(errored_result("overloaded_error", "Overloaded"))
    assert (found.error_type, found.error_message) == ("overloaded_error", "Overloaded")
    assert found.response.result.type == "errored"
    assert found.response.result.error.error.type == "overloaded_error"


def test_a_request_that_never_ran_is_canceled_and_its_line_is_the_apis() -> None:
    """Whatever reads the API's result files reads ours."""
    found = result(None)
    assert found.type == "canceled"
    assert json.loads(found.line) == {"custom_id": "é/1", "result": {"type": "canceled"}}
