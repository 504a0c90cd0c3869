"""What the end of a create means: every row of the table, and the edges of "handed over whole" (promise 2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest

from orchestrator.domain.api_answers import (
    Accepted,
    ApiCounts,
    Blocked,
    Busy,
    CreateAnswer,
    Invalid,
    NotSent,
    RemoteBatch,
    RemoteStatus,
    ResponseMeta,
    TooLarge,
    Unclear,
)
from orchestrator.domain.create_outcome import Exchange, classify

SIZE: Final = 1000
META: Final = ResponseMeta(request_id="req_1")
BATCH: Final = RemoteBatch(
    id="msgbatch_1",
    status=RemoteStatus.IN_PROGRESS,
    counts=ApiCounts(processing=3),
    created_at=datetime(2026, 11, 20, tzinfo=UTC),
    expires_at=datetime(2026, 11, 21, tzinfo=UTC),
)
SILENT: Final = Exchange(
    count=3,
    size_bytes=SIZE,
    handed_bytes=SIZE,
    connected=True,
    status=None,
    batch=None,
    meta=META,
    api_error=False,
    error_code=None,
    message="words",
    retry_after_s=None,
)


def _said(status: int, message: str = "words", *, api_error: bool = True, code: str | None = None) -> Exchange:
    return replace(SILENT, status=status, message=message, api_error=api_error, error_code=code)


def test_a_200_with_our_count_is_a_clear_yes() -> None:
    """The only clear yes; the account in the headers comes with it."""
    assert classify(replace(_said(200), batch=BATCH)) == Accepted(batch=BATCH, meta=META)


@pytest.mark.parametrize(
    "counts", [ApiCounts(processing=2), ApiCounts(processing=4), ApiCounts(), ApiCounts(processing=2, succeeded=2)]
)
def test_a_200_with_another_count_is_a_doubt(counts: ApiCounts) -> None:
    """A foreign answer proves nothing about our batch."""
    assert isinstance(classify(replace(_said(200), batch=replace(BATCH, counts=counts))), Unclear)


@pytest.mark.parametrize("counts", [ApiCounts(succeeded=3), ApiCounts(processing=1, errored=1, expired=1)])
def test_a_batch_that_has_begun_to_end_is_still_ours(counts: ApiCounts) -> None:
    """The sum of the counts is the batch's size, however they are spread."""
    assert isinstance(classify(replace(_said(200), batch=replace(BATCH, counts=counts))), Accepted)


@pytest.mark.parametrize("handed", [0, 1, SIZE])
def test_a_200_that_is_no_batch_is_a_doubt_however_much_was_handed_over(handed: int) -> None:
    """A captive portal says 200 to anything."""
    assert isinstance(classify(replace(_said(200, api_error=False), handed_bytes=handed)), Unclear)


BLOCKED: Final = [
    (_said(401), "credentials"),
    (_said(401, api_error=False), "credentials"),
    (_said(402), "billing"),
    (_said(402, api_error=False), "billing"),
    (_said(403), "permission"),
    (_said(403, api_error=False), "permission"),
    (_said(404), "endpoint"),
    (_said(404, api_error=False), "endpoint"),
    (_said(400, "Your credit balance is too low to access the API."), "billing"),
    (_said(400, "You have reached your specified API usage limits."), "spend_limit"),
    (_said(400, "You have reached your specified workspace API usage limits."), "spend_limit"),
    (_said(400, code="organization_on_hold"), "on_hold"),
    (_said(400, code="claude_code_key_creator_not_member"), "permission"),
    (_said(400, code="cmek_key_disabled"), "permission"),
    (_said(402, code="linked_organization_spend_limit_reached"), "spend_limit"),
    (_said(402, code="linked_organization_billing_unavailable"), "billing"),
    (_said(429, code="enforced_spend_limit_reached"), "spend_limit"),
    (_said(429, code="contract_spend_limit_reached"), "spend_limit"),
]


@pytest.mark.parametrize(("exchange", "code"), BLOCKED)
def test_what_only_a_person_can_mend_blocks(exchange: Exchange, code: str) -> None:
    """Promise 6: the job pauses and nothing is failed."""
    assert classify(exchange) == Blocked(code=code, why=exchange.message)


REST: Final[list[tuple[Exchange, CreateAnswer]]] = [
    (_said(413), TooLarge(why="words")),
    (_said(413, api_error=False), TooLarge(why="words")),
    (replace(_said(413, api_error=False), handed_bytes=10), TooLarge(why="words")),
    (replace(_said(429), retry_after_s=7.0), Busy(why="words", retry_after_s=7.0)),
    (_said(429, api_error=False), Busy(why="words", retry_after_s=None)),
    (_said(529), Busy(why="words", retry_after_s=None)),
    (_said(400), Invalid(why="words", index=None)),
    (_said(400, api_error=False), Invalid(why="words", index=None)),
    (_said(422), Invalid(why="words", index=None)),
    (_said(400, "requests.0.custom_id: Field required"), Invalid(why="requests.0.custom_id: Field required", index=0)),
    (_said(422, "requests.99999: bad"), Invalid(why="requests.99999: bad", index=99_999)),
    (_said(400, "see requests.3: bad"), Invalid(why="see requests.3: bad", index=None)),
    (_said(400, "requests: List should have"), Invalid(why="requests: List should have", index=None)),
    (_said(400, "requests.3x: bad"), Invalid(why="requests.3x: bad", index=None)),
]


@pytest.mark.parametrize(("exchange", "answer"), REST)
def test_a_clear_no_says_what_to_do_next(exchange: Exchange, answer: CreateAnswer) -> None:
    """Each clear no leads back to `planned` by its own way."""
    assert classify(exchange) == answer


@pytest.mark.parametrize(
    "status", [100, 201, 202, 204, 206, 301, 302, 303, 307, 308, 405, 408, 409, 410, 412, 418, 431]
)
@pytest.mark.parametrize("api_error", [True, False])
def test_any_other_answer_to_a_whole_body_is_a_doubt(status: int, api_error: bool) -> None:
    """What is not in the table proves nothing."""
    assert classify(_said(status, api_error=api_error)) == Unclear(why=f"{status}: words")


@pytest.mark.parametrize("status", [499, 500, 501, 502, 503, 504, 520, 524, 530, 599])
def test_every_other_5xx_to_a_whole_body_is_a_doubt(status: int) -> None:
    """A 500 may come after the batch was made."""
    assert isinstance(classify(_said(status)), Unclear)


def test_a_529_of_a_proxy_is_a_doubt() -> None:
    """Only the API's own error body says that the API refused."""
    assert isinstance(classify(_said(529, api_error=False)), Unclear)


@pytest.mark.parametrize("status", [307, 408, 409, 500, 503, 529])
@pytest.mark.parametrize("handed", [0, 1, SIZE - 1])
def test_an_unclear_answer_before_the_last_byte_is_a_clear_no(status: int, handed: int) -> None:
    """The API cannot have made a batch out of a part of its body."""
    answer = classify(replace(_said(status, api_error=False), handed_bytes=handed))
    assert isinstance(answer, NotSent)
    assert answer.cut


@pytest.mark.parametrize(
    ("handed", "size", "answer"),
    [
        (0, SIZE, NotSent(why="words", cut=False)),
        (1, SIZE, NotSent(why="words", cut=True)),
        (SIZE - 1, SIZE, NotSent(why="words", cut=True)),
        (SIZE, SIZE, Unclear(why="words")),
        (SIZE + 1, SIZE, Unclear(why="words")),
        (0, 0, Unclear(why="words")),
    ],
)
def test_silence_is_a_clear_no_exactly_while_a_byte_is_missing(handed: int, size: int, answer: CreateAnswer) -> None:
    """Classified by what was handed over, never by the class of the error (measured: it misleads)."""
    assert classify(replace(SILENT, handed_bytes=handed, size_bytes=size)) == answer


@pytest.mark.parametrize("handed", [0, SIZE])
def test_no_connection_is_a_clear_no_and_never_a_cut(handed: int) -> None:
    """Where it is certain that nothing left, three in a row are no 413."""
    assert classify(replace(SILENT, connected=False, handed_bytes=handed)) == NotSent(why="words", cut=False)
