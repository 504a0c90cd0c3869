"""Canned result lines: the same for the same request, and recognisable as canned.

The shapes are those of live captures (2026-09) and of the types of SDK 2.12.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Final

import msgspec

from orchestrator.sandbox.bill import AnswerUsage, SideCall, TokenCounts, usage_of
from orchestrator.sandbox.faults import FaultPlan
from orchestrator.sandbox.request_rows import CALLS, Fate, Row
from orchestrator.sandbox.sandbox_batch import Outcome, SandboxBatch
from orchestrator.sandbox.seeded import word

#: What lines are spoilt with for good, and where.
RESULT: Final = b'"result":{'
BAD_BYTES: Final = b'"note":"caf\xe9",'
ANSWERED: Final = b'{"type":"succeeded",'
ODD_KIND: Final = b'{"type":"sideways",'
_FLAT: Final = re.compile(
    rb'"error":\{"type":"error","error":(\{"type":"[^"]*","message":"(?:[^"\\]|\\.)*").*\}', re.DOTALL
)
_encode: Final = msgspec.json.Encoder().encode
_GARBAGE: Final = b'{"custom_id":"\xff\xfe", "result": {{{\n'


def result_lines(batch: SandboxBatch, *, seed: int, download: int, plan: FaultPlan) -> Iterator[bytes]:
    """The lines of a batch's results, each with its newline, in an order unrelated to the body's.

    *download* counts from 1; line faults are drawn for each download. Only one block of rows is decoded at a time.
    """
    alter = _LineDamager(batch, download, plan).lines if plan.lines_may_fail else None
    for number in _shuffled(batch.block_count(), word(seed, "blocks", batch.id)):
        rows = batch.block(number)
        for place in _shuffled(len(rows), word(seed, "rows", batch.id, number)):
            row = rows[place]
            if row.hidden == 0 or (row.hidden == 1 and download > 1):
                yield from _altered(render(row, batch.outcome(row), batch), row, alter)


def render(row: Row, outcome: Outcome, batch: SandboxBatch) -> bytes:
    """One line of the results of *batch*, with its newline."""
    if outcome == "succeeded":
        result = _succeeded(row, batch)
    elif outcome == "errored":
        result = _errored(row, batch.id)
    else:
        result = b'{"type":"%b"}' % outcome.encode()
    return b'{"custom_id":"%b","result":%b}\n' % (row.custom_id.encode(), result)


def _succeeded(row: Row, batch: SandboxBatch) -> bytes:
    refused = row.fate is Fate.REFUSED
    usage = usage_of(row, batch)
    return (
        b'{"type":"succeeded","message":{"id":"msg_%b","type":"message","role":"assistant","model":%b,'
        b'"content":[%b],"stop_reason":"%b","stop_sequence":null,"stop_details":%b,"container":null,'
        b'"diagnostics":null,"usage":{%b,"server_tool_use":%b,"service_tier":"batch","inference_geo":%b%b}}}'
    ) % (
        _row_token(row, batch.id),
        _encode(row.model),
        b"" if refused else _content(row, batch.id),
        b"refusal" if refused else row.stop.encode(),
        b"null" if row.extras is None else _stop_details(row.extras.category),
        _counts(usage.tokens),
        b'{"web_fetch_requests":0,"web_search_requests":%d}' % usage.searches if usage.searches else b"null",
        _encode(usage.geo),
        _iterations(usage) if usage.beside else b"",
    )


def _content(row: Row, batch_id: str) -> bytes:
    if row.stop == CALLS:
        return b'{"type":"tool_use","id":"toolu_%b",%b' % (_row_token(row, batch_id), row.text[1:].encode())
    return b'{"type":"text","text":%b,"citations":null}' % _encode(row.text)


def _counts(tokens: TokenCounts) -> bytes:
    """The token lines of a usage."""
    return (
        b'"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"cache_creation":'
        b'{"ephemeral_5m_input_tokens":%d,"ephemeral_1h_input_tokens":%d},"output_tokens":%d'
    ) % (
        tokens.input,
        tokens.write_5m + tokens.write_1h,
        tokens.read,
        tokens.write_5m,
        tokens.write_1h,
        tokens.output,
    )


def _iterations(usage: AnswerUsage) -> bytes:
    """The answer's own iteration, whose tokens are the top level's, and the others."""
    calls = (SideCall("message", usage.model, usage.tokens), *usage.beside)
    return b',"iterations":[%b]' % b",".join(
        b'{"type":"%b",%b%b}' % (call.kind.encode(), _counts(call.tokens), _model_of(call)) for call in calls
    )


def _model_of(call: SideCall) -> bytes:
    """Only an advisor's iteration says its model."""
    return b',"model":%b' % _encode(call.model) if call.kind == "advisor_message" else b""


def _stop_details(category: str) -> bytes:
    return b'{"type":"refusal","category":"%b","explanation":null}' % category.encode() if category else b"null"


def _errored(row: Row, batch_id: str) -> bytes:
    """An errored row. An error before execution has no request id, one during execution has one."""
    kind, message = ("api_error", "Internal server error") if row.error is None else row.error
    error = b'{"type":%b,"message":%b,"details":null}' % (_encode(kind), _encode(message))
    if kind == "invalid_request_error":
        error = error.replace(b'"details":null', b'"details":{"error_visibility":"user_facing"}')
    request_id = b'"workerreq_%b"' % _row_token(row, batch_id) if row.faulted else b"null"
    return b'{"type":"errored","error":{"type":"error","error":%b,"request_id":%b}}' % (error, request_id)


def _row_token(row: Row, batch_id: str) -> bytes:
    return blake2b(f"{batch_id}/{row.custom_id}".encode(), digest_size=12).hexdigest().encode()


def _shuffled(count: int, key: int) -> list[int]:
    """0 … count-1 in an order fixed by *key*."""
    order = list(range(count))
    for place in range(count - 1, 0, -1):
        key = (key * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        other = (key >> 33) % (place + 1)
        order[place], order[other] = order[other], order[place]
    return order


def _altered(line: bytes, row: Row, alter: Callable[[bytes, Row], Iterator[bytes]] | None) -> Iterator[bytes]:
    if alter is None:
        yield line
    else:
        yield from alter(line, row)


class _LineDamager:
    """Damages lines of one download, at the rates of the plan."""

    def __init__(self, batch: SandboxBatch, download: int, plan: FaultPlan) -> None:
        self._about = (plan.life, batch.id, download)
        self._plan = plan

    def lines(self, line: bytes, row: Row) -> Iterator[bytes]:
        """The bytes that are sent in place of *line*."""
        if self._happens("foreign_lines", row):
            yield line.replace(row.custom_id.encode(), b"theirs-%b" % row.digest.hex()[:12].encode(), 1)
        if self._happens("blank_lines", row):
            yield b"\n"
        yield _GARBAGE if self._happens("garbled", row) else self._lasting(line, row)
        if self._happens("duplicated", row):
            yield line

    def _lasting(self, line: bytes, row: Row) -> bytes:
        """*line* with the damage that it has in every download."""
        if self._plan.happens("odd_kind", *self._about[1:2], row.custom_id):
            line = line.replace(ANSWERED, ODD_KIND, 1)
        if self._plan.happens("flat_error", *self._about[1:2], row.custom_id):
            line = _FLAT.sub(rb'"error":\1}}}', line)
        if self._plan.happens("bad_bytes", *self._about[1:2], row.custom_id):
            line = line.replace(RESULT, RESULT + BAD_BYTES, 1)
        return line

    def _happens(self, name: str, row: Row) -> bool:
        return self._plan.happens(name, *self._about, row.custom_id)
