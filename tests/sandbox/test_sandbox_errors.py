"""Every error of the endpoints, in the API's own words (live captures of 2026-09)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sandbox.sandbox_world import BATCHES, HEADERS, HOUR, World, body, http_client, params, run, still_sandbox

from orchestrator.sandbox import ApiError


def wrong(*requests: object) -> bytes:
    return json.dumps({"requests": requests}).encode()


ITEM = {"custom_id": "a", "params": params()}
PLACE = "requests.0.custom_id: "

WRONG_BODIES = {
    "not json": (b"{nope", "The request body is not valid JSON: "),
    "nothing": (b"", "The request body is not valid JSON: "),
    "cut short": (body(3)[:-1], "The request body is not valid JSON: "),
    "rubbish behind": (body(3) + b"x", "The request body is not valid JSON: "),
    "comma at the end": (b'{"requests":[{"custom_id":"a","params":{}},]}', "The request body is not valid JSON: "),
    "comma left out": (
        b'{"requests":[{"custom_id":"a","params":{}}{"custom_id":"b","params":{}}]}',
        "The request body is not valid JSON: ",
    ),
    "broken in the middle": (body(900).replace(b'"r-450"', b'"r-450'), "The request body is not valid JSON: "),
    "empty list": (wrong(), "requests: List should have at least 1 item after validation, not 0"),
    "no list": (b"{}", "requests: Field required"),
    "another field": (
        b'{"requests":[{"custom_id":"a","params":{}}],"name":"x"}',
        "name: Extra inputs are not permitted",
    ),
    "another field first": (
        b'{"name":"x","requests":[{"custom_id":"a","params":{}}]}',
        "name: Extra inputs are not permitted",
    ),
    "no id": (wrong({"params": {}}), f"{PLACE}Field required"),
    "long id": (wrong({**ITEM, "custom_id": "x" * 65}), f"{PLACE}String should have at most 64 characters"),
    "bad id": (
        wrong({**ITEM, "custom_id": "a b"}),
        f"{PLACE}String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'",
    ),
    "id with a newline": (
        wrong({**ITEM, "custom_id": "a\n"}),
        f"{PLACE}String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'",
    ),
    "id of another type": (wrong({**ITEM, "custom_id": 1}), f"{PLACE}Input should be a valid string"),
    "no params": (wrong({"custom_id": "a"}), "requests.0.params: Field required"),
    "params of another type": (wrong({**ITEM, "params": []}), "requests.0.params: Input should be a valid dictionary"),
    "a field beside params": (wrong({**ITEM, "note": 1}), "requests.0.note: Extra inputs are not permitted"),
    "second is wrong": (wrong(ITEM, {"custom_id": "b"}), "requests.1.params: Field required"),
    "twice the same": (
        wrong(ITEM, {**ITEM, "custom_id": "b"}, ITEM),
        "requests: custom_id's must be unique within a batch. Duplicate custom_id found: a",
    ),
}


@pytest.mark.parametrize("case", WRONG_BODIES)
@pytest.mark.parametrize("piece", [1, 64, 1_000_000])
def test_a_wrong_body_is_refused_whole_in_the_words_of_the_api(case: str, piece: int) -> None:
    """However the body is cut on its way, the answer is the same, and no batch exists afterwards."""
    content, message = WRONG_BODIES[case]
    world = World()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), piece):
            yield content[start : start + piece]

    with pytest.raises(ApiError) as refused:
        world.machine.create(pieces())
    assert refused.value.status == 400
    assert refused.value.kind == "invalid_request_error"
    assert refused.value.message.startswith(message)
    assert world.machine.list().data == []
    assert world.machine.bodies_received == 1


def test_limits_are_exact() -> None:
    """100,000 requests and 256,000,000 bytes, here in small: the limit itself passes, one more does not."""
    world = World(max_requests=10, max_body_bytes=len(body(10)))
    world.machine.create(body(10))
    with pytest.raises(ApiError, match="Request exceeds the maximum size") as too_long:
        world.machine.create(body(10) + b" ")
    assert (too_long.value.status, too_long.value.kind) == (413, "request_too_large")
    wide = World(max_requests=10)
    with pytest.raises(ApiError, match="List should have at most 10 items after validation, not 11"):
        wide.machine.create(body(11))


BAD_CALLS = {
    "no key": ("GET", BATCHES, {"x-api-key": ""}, 401, "authentication_error", "x-api-key header is required"),
    "wrong key": ("GET", BATCHES, {"x-api-key": "sk-z"}, 401, "authentication_error", "API key is invalid."),
    "wrong version": (
        "GET",
        BATCHES,
        {"anthropic-version": "2024-01-01"},
        400,
        "invalid_request_error",
        'anthropic-version: "2024-01-01" is not a valid version',
    ),
    "no such batch": (
        "GET",
        f"{BATCHES}/msgbatch_x",
        {},
        404,
        "not_found_error",
        "Message Batch msgbatch_x not found.",
    ),
    "no such path": ("GET", "/v1/nothing", {}, 404, "not_found_error", "Not found"),
    "wrong method": ("PUT", BATCHES, {}, 405, "invalid_request_error", "Method Not Allowed"),
    "limit 0": (
        "GET",
        f"{BATCHES}?limit=0",
        {},
        400,
        "invalid_request_error",
        "limit: Input should be greater than or equal to 1",
    ),
    "limit 1001": (
        "GET",
        f"{BATCHES}?limit=1001",
        {},
        400,
        "invalid_request_error",
        "limit: Input should be less than or equal to 1000",
    ),
    "limit x": (
        "GET",
        f"{BATCHES}?limit=x",
        {},
        400,
        "invalid_request_error",
        "limit: Input should be a valid integer, unable to parse string as an integer",
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_wrong_call_gets_the_answer_of_the_api(case: str) -> None:
    """Status, type, message and request id as the API gives them."""
    method, path, headers, status, kind, message = BAD_CALLS[case]

    async def story() -> None:
        async with http_client(still_sandbox(valid_keys={"sk-test": "w"}), "in process") as client:
            answer = await client.request(method, path, headers={**HEADERS, **headers})
            content: dict[str, Any] = answer.json()
            assert answer.status_code == status
            assert content["error"] == {"type": kind, "message": message, "details": None}
            assert content["request_id"] == answer.headers["request-id"]
            if status == 404:
                assert answer.headers["x-should-retry"] == "false"

    run(story())


def test_a_body_announced_too_long_is_refused_before_it_is_read() -> None:
    """The CDN answers 413 on the content-length alone."""

    async def story() -> None:
        taken = 0

        async def pieces() -> Any:
            nonlocal taken
            for _ in range(10):
                taken += 1
                yield b" " * 100

        sandbox = still_sandbox(max_body_bytes=999)
        async with http_client(sandbox, "in process") as client:
            answer = await client.post(BATCHES, content=pieces(), headers={"content-length": "1000"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")
        assert (taken, sandbox.machine.bodies_received) == (0, 0)

    run(story())


def test_results_and_delete_are_refused_while_a_batch_runs() -> None:
    """The texts a client meets when it is too early."""
    world = World()
    batch = world.machine.create(body(1))
    with pytest.raises(
        ApiError, match=rf"^404 not_found_error: Message Batch {batch.id} has no available results\.$"
    ) as early:
        world.machine.results(batch.id)
    assert early.value.status == 404
    with pytest.raises(ApiError, match=r"batches cannot be deleted\. Consider canceling the batch instead\.$"):
        world.machine.delete(batch.id)


def test_a_full_queue_is_refused_until_batches_end() -> None:
    """Requests not yet processed count against the account's limit."""
    world = World(queue_limit=10)
    world.machine.create(body(6))
    with pytest.raises(ApiError) as full:
        world.machine.create(body(5))
    assert (full.value.status, full.value.kind, full.value.headers) == (
        429,
        "rate_limit_error",
        (("retry-after", "1"),),
    )
    world.advance(HOUR)
    world.machine.create(body(5))
