"""One result, raw and parsed."""

from __future__ import annotations

import json

import pytest
from anthropic.types import Message
from anthropic.types.messages import MessageBatchIndividualResponse

from orchestrator.client import Result
from orchestrator.domain.model import ResultRow
from orchestrator.domain.output_lines import errored_result
from orchestrator.domain.states import RequestState

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
