"""Which answers are invalid, and what is shown of those that are left over."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from orchestrator.domain.answer_schema import AnswerSchema
from orchestrator.domain.answers import answer_of
from orchestrator.domain.error_text import cause_of
from orchestrator.domain.invalid_answers import problem_of
from orchestrator.domain.queries import ResultRow
from orchestrator.domain.result_lines import invalid_result
from orchestrator.domain.result_outcome import INVALID_ANSWER
from orchestrator.domain.states import RequestState

SCHEMA: Final = AnswerSchema.from_dsl("label, score int")
GOOD: Final = '{"label":"a","score":1}'


def result(*blocks: object, stop: str | None = "end_turn") -> bytes:
    """A `result` object that succeeded, with these blocks; a text is a block of it."""
    content = [{"type": "text", "text": each} if isinstance(each, str) else each for each in blocks]
    usage = {"input_tokens": 3, "output_tokens": 5}
    message = {"id": "m", "content": content, "model": "claude-x", "stop_reason": stop, "usage": usage}
    return json.dumps({"type": "succeeded", "message": message}).encode()


THINKING: Final = {"type": "thinking", "thinking": "{}", "signature": "x"}
TOOL: Final = {"type": "tool_use", "id": "t", "name": "n", "input": {"label": "a", "score": 1}}


@pytest.mark.parametrize(
    ("body", "stop"),
    [
        (result(GOOD), "end_turn"),
        (result(GOOD), None),
        (result(THINKING, GOOD), "end_turn"),
        (result('{"label":"a",', '"score":1}'), "end_turn"),
        (result(" \n" + GOOD), "stop_sequence"),
        (result(stop="refusal"), "refusal"),
        (result("I cannot", stop="refusal"), "refusal"),
        (result('{"label":"\\ud83d","score":1}').replace(b"\\\\ud83d", b"\\ud83d"), "end_turn"),  # cut in an emoji
    ],
)
def test_an_answer_that_matches_and_a_refusal_are_not_invalid(body: bytes, stop: str | None) -> None:
    """Its text is that of the text blocks, whatever else is there; a refusal gets no better by asking again."""
    assert problem_of(body, stop, SCHEMA) is None


@pytest.mark.parametrize(
    ("body", "stop", "words"),
    [
        (result('{"label":"a"'), "end_turn", "the answer does not match the schema: not JSON: it ends too early"),
        (result('{"label":"a","score":"x"}'), "end_turn", "the answer does not match the schema: /score: "),
        (result("[]"), "end_turn", "the answer does not match the schema: "),
        (result(GOOD, GOOD), "end_turn", "the answer does not match the schema: not JSON: "),
        (result(GOOD), "max_tokens", "the answer was cut (max_tokens)"),
        (result(GOOD), "model_context_window_exceeded", "the answer was cut (model_context_window_exceeded)"),
        (result(THINKING), "end_turn", "the answer has no text"),
        (result(TOOL), "tool_use", "the answer has no text, so it cannot match the schema (stop_reason tool_use)"),
        (result("  "), "end_turn", "the answer has no text"),
        (b'{"type":"succeeded"}', None, "the answer has no text"),
        (b'{"type":"succeeded","message":[]}', None, "the answer has no text"),
    ],
)
def test_everything_else_is_with_what_is_wrong(body: bytes, stop: str | None, words: str) -> None:
    """The sentence says where, by its JSON pointer."""
    found = problem_of(body, stop, SCHEMA)
    assert found is not None
    assert found.startswith(words)
    assert len(found) <= 500


ODD: Final = AnswerSchema.from_text(
    '{"type":"object","properties":{"label":{"enum":["a","b","c","d"]},"n":{"type":"integer"},"l":{"type":"array",'
    '"items":{"type":"string","pattern":"^a"}}},"required":["label"],"additionalProperties":false}'
)


@pytest.mark.parametrize(
    ("texts", "cause"),
    [
        (['{"label":"x y"}', '{"label":"is not one of"}', '{"label":5}'], "/label: VALUE is not one of "),
        (['{"label":"a","n":"one"}', '{"label":"a","n":{"is not of type ":2}}'], "/n: VALUE is not of type "),
        ([f'{{"label":"a","n":"{"long " * 99}"}}', '{"label":"a","n":null}'], "/n: VALUE is not of type "),
        (['{"label":"a","l":["abc",1]}', '{"label":"a","l":["a","a",["b"]]}'], "/l/N: VALUE is not of type "),
        (['{"label":"a","l":["x"]}', '{"label":"a","l":["a","y"]}'], "/l/N: VALUE does not match "),
        (['{"label":"a","m":1}', '{"label":"a","b c":1,"d":2}'], "Additional properties are not allowed (NAME unexp"),
        (['{"n":1}', "{}"], '"label" is a required property'),
        (["Sure!", "It is {}"], "not JSON: invalid character (byte N)"),
    ],
)
def test_answers_with_the_same_fault_are_of_one_cause_whatever_their_values(texts: list[str], cause: str) -> None:
    """Ten thousand labels that are none are one group; the field that is wrong, or missing, tells causes apart."""
    messages = [problem_of(result(text), "end_turn", ODD) for text in texts]
    assert len(set(messages)) == len(texts) or "required" in cause or "not JSON" in cause
    (found,) = {cause_of(message) for message in messages}
    assert found.startswith(f"the answer does not match the schema: {cause}")


@pytest.mark.parametrize("spoilt", ['{"label": "é \\ud83d', "no JSON"])
def test_what_is_shown_is_an_error_with_the_answer_byte_for_byte(spoilt: str) -> None:
    """It is no success for any reader: `type` is errored, and there is no `message`; the paid text is in `answer`."""
    body = result(spoilt).replace(b"\\\\ud83d", b"\\ud83d")
    shown = invalid_result(INVALID_ANSWER, 'at /score: "x"', body)
    assert shown.startswith(b'{"type":"errored","error":{"type":"error","error":{"type":"invalid_answer",')
    message = body[len(b'{"type": "succeeded", "message": ') : -1]
    assert shown.endswith(b',"answer":' + message + b"}")
    facts: dict[str, Any] = json.loads(shown)
    assert set(facts) == {"type", "error", "answer"}
    answer = answer_of(ResultRow(1, "a", RequestState.FAILED, shown))
    assert (answer.kind, answer.error_type, answer.error_message) == ("errored", "invalid_answer", 'at /score: "x"')
    assert answer.text == spoilt.replace("\\ud83d", "\ufffd")
    assert (answer.model, answer.stop_reason, answer.output_tokens) == ("claude-x", "end_turn", 5)


@pytest.mark.parametrize("body", [b'{"type":"succeeded"}', b"no JSON"])
def test_an_answer_without_a_message_has_none_to_show(body: bytes) -> None:
    """Nothing is made up."""
    facts = json.loads(invalid_result(INVALID_ANSWER, "m", body))
    assert (facts["type"], facts["answer"]) == ("errored", None)
