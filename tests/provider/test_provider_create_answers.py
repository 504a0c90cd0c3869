"""What each answer to a create means, over the wire, and that none is ever asked for twice (promise 2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from provider.provider_world import (
    CANARY,
    CHUNK,
    RawServer,
    SizedBody,
    Visit,
    answers,
    batch_json,
    create_at,
    error_json,
    hang_after_the_body,
)

from orchestrator.domain.api_answers import Blocked, Busy, CreateAnswer, Invalid, NotSent, TooLarge, Unclear

pytestmark = pytest.mark.anyio
BIG = 32 << 20  # more than the socket buffers of both ends take


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _is(kind: type[CreateAnswer], **fields: object) -> Callable[[CreateAnswer], bool]:
    return lambda got: isinstance(got, kind) and all(getattr(got, name) == value for name, value in fields.items())


HTML = "<html><body>Please log in</body></html>"
ANSWERS: list[tuple[int, object, dict[str, str], Callable[[CreateAnswer], bool]]] = [
    (200, HTML, {"content-type": "text/html"}, _is(Unclear)),
    (200, "", {}, _is(Unclear)),
    (200, {}, {}, _is(Unclear)),
    (200, batch_json(count=4), {}, _is(Unclear)),
    (200, batch_json(remote_id="batch_1"), {}, _is(Unclear)),
    (200, batch_json(type="message"), {}, _is(Unclear)),
    (200, batch_json(processing_status="dreaming"), {}, _is(Unclear)),
    (200, batch_json(created_at="2026-11-20T18:37:24"), {}, _is(Unclear)),
    (200, batch_json(request_counts={"processing": "3"}), {}, _is(Unclear)),
    (200, b'{"id":"msgbatch_1"}{"id":"msgbatch_1"}', {}, _is(Unclear)),
    (200, b"\xff\xfe{\x00", {}, _is(Unclear)),
    (201, batch_json(), {}, _is(Unclear)),
    (400, error_json("invalid_request_error", "requests.17.params: bad"), {}, _is(Invalid, index=17)),
    (400, error_json("invalid_request_error", "bad"), {}, _is(Invalid, index=None)),
    (
        400,
        error_json("invalid_request_error", "Your credit balance is too low to access the API."),
        {},
        _is(Blocked, code="billing"),
    ),
    (
        400,
        error_json("invalid_request_error", "You have reached your specified workspace API usage limits."),
        {},
        _is(Blocked, code="spend_limit"),
    ),
    (401, error_json("authentication_error", f"API key is invalid: {CANARY}"), {}, _is(Blocked, code="credentials")),
    (402, error_json("billing_error", "pay"), {}, _is(Blocked, code="billing")),
    (403, HTML, {"content-type": "text/html"}, _is(Blocked, code="permission")),
    (404, HTML, {"content-type": "text/html"}, _is(Blocked, code="endpoint")),
    (408, error_json("timeout_error", "slow"), {}, _is(Unclear)),
    (409, error_json("conflict_error", "conflict"), {}, _is(Unclear)),
    (413, HTML, {"content-type": "text/html"}, _is(TooLarge)),
    (422, error_json("invalid_request_error", "no"), {}, _is(Invalid)),
    (429, error_json("rate_limit_error", "slow down"), {"retry-after": "17"}, _is(Busy, retry_after_s=17.0)),
    (429, HTML, {"retry-after": "-5"}, _is(Busy, retry_after_s=None)),
    (
        429,
        error_json("rate_limit_error", "cap", "enforced_spend_limit_reached"),
        {},
        _is(Blocked, code="spend_limit"),
    ),
    (500, error_json("api_error", "Overloaded"), {}, _is(Unclear)),
    (502, HTML, {"content-type": "text/html"}, _is(Unclear)),
    (503, error_json("api_error", "x"), {"retry-after": "1"}, _is(Unclear)),
    (504, error_json("timeout_error", "x"), {}, _is(Unclear)),
    (529, error_json("overloaded_error", "Overloaded"), {}, _is(Busy, retry_after_s=None)),
    (529, HTML, {"content-type": "text/html"}, _is(Unclear)),
]


@pytest.mark.parametrize(("status", "body", "headers", "expected"), ANSWERS)
async def test_each_answer_means_what_the_table_says_and_is_never_asked_for_twice(
    status: int, body: object, headers: dict[str, str], expected: Callable[[CreateAnswer], bool]
) -> None:
    """One POST for every answer: the SDK would send three (x-should-retry asks it to)."""
    talk = partial(answers, status=status, body=body, headers={"x-should-retry": "true", **headers})
    answer, server = await create_at(talk)
    assert not isinstance(answer, BaseException)
    assert expected(answer), answer
    assert server.posts == 1
    assert CANARY not in repr(answer)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_the_key_stays_here(status: int) -> None:
    """Promise 9: another origin never sees a request of ours; what the first one did is unclear."""
    async with RawServer(hang_after_the_body) as other:
        talk = partial(answers, status=status, body="", headers={"location": f"{other.url}/v1/messages/batches"})
        answer, server = await create_at(talk)
        assert other.connections == 0
    assert isinstance(answer, Unclear)
    assert server.posts == 1


async def test_a_5xx_before_the_body_was_sent_is_a_clear_no() -> None:
    """A server that answers early and goes on reading nothing cannot have made the batch."""

    async def talk(visit: Visit) -> None:
        await visit.read_body(CHUNK)
        await visit.answer(503, error_json("api_error", "x"))
        visit.writer.close()

    answer, server = await create_at(talk, SizedBody(BIG))
    assert isinstance(answer, NotSent)
    assert server.posts == 1
