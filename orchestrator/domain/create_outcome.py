"""How a create ended: a clear yes, a clear no, or doubt (promise 2). Paying once rests on this table.

From top to bottom, the first match wins:

| what came back                                                         | means        |
|------------------------------------------------------------------------|--------------|
| 200, a MessageBatch with an id `msgbatch_…` and our total count        | Accepted     |
| a status that names trouble of the account (401 402 403, known codes)  | Blocked      |
| 413                                                                    | TooLarge     |
| 429; 529 with the API's own error body                                 | Busy         |
| 404                                                                    | Blocked      |
| 400, 422                                                               | Invalid      |
| no connection                                                          | NotSent      |
| the body not handed over whole, and no answer or any other status      | NotSent      |
| anything else: timeout, reset, 408, 409, any other 5xx, a foreign 200  | Unclear      |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from orchestrator.domain import api_answers
from orchestrator.domain.account import ENDPOINT, blocked_by

_NAMED: Final = re.compile(r"^requests\.(\d+)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One POST as the client saw it.

    status: None if no answer came. batch: the answer, if it was a readable MessageBatch with an id `msgbatch_…`.
    api_error: the body was the API's own error object. handed_bytes: how much of the body the transport took;
    connected: False only where it is certain that no byte left.
    """

    count: int
    size_bytes: int
    handed_bytes: int
    connected: bool
    status: int | None
    batch: api_answers.RemoteBatch | None
    meta: api_answers.ResponseMeta
    api_error: bool
    error_code: str | None
    message: str
    retry_after_s: float | None


def classify(exchange: Exchange) -> api_answers.CreateAnswer:
    """The outcome of *exchange*, by the table above."""
    if exchange.status is None:
        return _without_answer(exchange)
    if exchange.status == 200:
        batch = exchange.batch
        if batch is not None and batch.counts.total == exchange.count:
            return api_answers.Accepted(batch=batch, meta=exchange.meta)
        return api_answers.Unclear(why=f"a 200 that is not our batch: {exchange.message}")
    if exchange.api_error or exchange.status in (400, 401, 402, 403):
        code = blocked_by(exchange.status, exchange.error_code, exchange.message)
        if code is not None:
            return api_answers.Blocked(code=code, why=exchange.message)
    return _by_status(exchange, exchange.status)


def _without_answer(exchange: Exchange) -> api_answers.CreateAnswer:
    if not exchange.connected:
        return api_answers.NotSent(why=exchange.message, cut=False)
    if exchange.handed_bytes < exchange.size_bytes:
        return api_answers.NotSent(why=exchange.message, cut=exchange.handed_bytes > 0)
    return api_answers.Unclear(why=exchange.message)


def _by_status(exchange: Exchange, status: int) -> api_answers.CreateAnswer:
    if status == 413:
        return api_answers.TooLarge(why=exchange.message)
    if status == 429 or (status == 529 and exchange.api_error):
        return api_answers.Busy(why=exchange.message, retry_after_s=exchange.retry_after_s)
    if status == 404:
        return api_answers.Blocked(code=ENDPOINT, why=exchange.message)
    if status in (400, 422):
        named = _NAMED.match(exchange.message)
        return api_answers.Invalid(why=exchange.message, index=int(named.group(1)) if named else None)
    if exchange.handed_bytes < exchange.size_bytes:
        # The server answered before it had the whole body: whatever it says, it cannot have created the batch.
        return api_answers.NotSent(why=f"{status} before the body was sent: {exchange.message}", cut=True)
    return api_answers.Unclear(why=f"{status}: {exchange.message}")
